"""Limits that keep the code readable: length of functions, number of parameters."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.test_imports import FILES, IDS, ROOT

MOST_LINES = 60
MOST_PARAMETERS = 8

PUBLIC_API = ("nas/api/",)
"""Folders whose public functions mirror a command option by option and may take as many parameters."""

FunctionNode = (ast.FunctionDef, ast.AsyncFunctionDef)


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Number of parameters, without ``self`` or ``cls``."""
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    return len(names) - (bool(names) and names[0] in ("self", "cls"))


def beyond_limits(source: str, public_api: bool = False) -> list[str]:
    """What is too long or takes too much, one line each."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, FunctionNode):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MOST_LINES:
                found.append(f"{node.name}: {lines} lines, at most {MOST_LINES}")
            if parameters(node) > MOST_PARAMETERS and not (public_api and not node.name.startswith("_")):
                found.append(f"{node.name}: {parameters(node)} parameters, at most {MOST_PARAMETERS}")
    return found


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_functions_are_short(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    assert beyond_limits(path.read_text(encoding="utf-8"), name.startswith(PUBLIC_API)) == []


def test_limits_are_seen() -> None:
    long = "def f():\n" + "    pass\n" * 60
    many = "class A:\n    def g(self, a, b, c, d, e, f, g, h, *, i): ..."
    assert beyond_limits(long) == ["f: 61 lines, at most 60"]
    assert beyond_limits(many) == ["g: 9 parameters, at most 8"]
    assert beyond_limits(many, public_api=True) == []
    assert beyond_limits("def f(self, a, b, c, d, e, f, g, h): ...") == []
