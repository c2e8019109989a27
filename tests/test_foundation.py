"""Licence, version, pins, and pages that quote the code: what must agree across the repository."""

from __future__ import annotations

import argparse
import hashlib
import re
from pathlib import Path

import pytest

import nas
from nas.cli import COMMANDS, build_parser
from search_spaces.space_file import load_space, read_space, space_names
from workbench.errors import BadInput

ROOT = Path(__file__).resolve().parent.parent


def test_licence_is_apache() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "Version 2.0, January 2004" in text
    assert (
        hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() == "3b83ef96387f14655fc854ddc3c6bd57"
    ), "the unchanged text"
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_version_is_in_the_changelog() -> None:
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert re.fullmatch(r"\d+\.\d+\.\d+", nas.__version__)
    assert "Unreleased" in headings or nas.__version__ in headings


def test_spaces_page_tells_the_truth() -> None:
    """The example of ``docs/spaces.md`` has the size it names, and the table the sizes of the shipped spaces."""
    page = (ROOT / "docs" / "spaces.md").read_text(encoding="utf-8")
    example = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert example is not None
    assert f"holds {read_space(example[1]).size():,} architectures".replace(",", " ") in page
    for name in space_names():
        assert f"{load_space(name).size():,}".replace(",", " ") in page, name
    kernel = example[1].replace("btn: 32..96,", "btn: 32..96, k: 4,")
    field = example[1].replace("btn: 16..64, depth", "btn: 16..64, deph")
    shallow = "".join(line for line in example[1].splitlines(keepends=True) if "[192" not in line)
    for text in (kernel, field, shallow):
        with pytest.raises(BadInput) as error:
            read_space(text, "mine.yaml")
        assert f"```\n{error.value}\n```" in page


def test_command_line_page_tells_the_truth() -> None:
    """``docs/cli.md`` has a section for every command that names all its long options, and names no others."""
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## nas ([\w-]+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert tuple(sections) == COMMANDS
    commands = subcommands(build_parser())
    for name, text in sections.items():
        nested = subcommands(commands[name]).values()
        actions = [action for parser in (commands[name], *nested) for action in parser._actions]
        known = {option for action in actions for option in action.option_strings if option.startswith("--")} - {
            "--help"
        }
        assert set(re.findall(r"--[a-z][a-z0-9-]*", text)) <= known, name
        assert known - {"--json"} <= set(re.findall(r"--[a-z][a-z0-9-]*", text)), name


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers below ``parser``, by name."""
    return {
        name: sub
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, sub in action.choices.items()
    }


def test_constraints_are_exact_pins() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [
        p
        for p in pins
        if not re.fullmatch(r"[a-z0-9._-]+==[a-z0-9.]+( ; python_full_version.*| ; (sys_platform|platform_).*)?", p)
    ] == []
    assert "torch==2.13.0" in pins


def test_every_dependency_is_pinned() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = text[text.index("dependencies = [") : text.index("[project.scripts]")]
    named = {m.lower() for m in re.findall(r'"([A-Za-z0-9-]+)[^"]*"', project)} - {"nas-workbench"}
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = set(re.findall(r"^([a-z0-9._-]+)==", constraints, re.MULTILINE))
    assert named and named <= pinned
