"""Every command and its function in Python have the same options with the same defaults, but for those listed here."""

from __future__ import annotations

import argparse
import inspect
import subprocess
import sys
from typing import Any

import pytest

import nas
from nas.cli import build_parser
from tests.test_foundation import ROOT, subcommands

COMMANDS = {name: "eval" if name == "evaluate" else name for name in nas.FUNCTIONS}
"""Function to command: ``eval`` is a function of Python's own."""
PARSERS = subcommands(build_parser())

RENAMED = {
    "search set": "options", "set": "changes", "train_set": "train_changes", "input": "input_px",
    "teacher_input": "teacher_input_px", "train_input": "train_input_px", "time_limit": "time_limit_s",
    "no_pictures": "pictures", "no_zoo": "zoo", "no_report": "report",
}  # fmt: skip
"""Option to parameter: units are named, a flag that turns something off is True by default, and ``set`` is a type.
A command in front makes it that command's alone."""

ONLY_PRINTED = {
    "eval": {"per_class": "result.per_class_table()", "confusion": "result.confusion_table()"},
    "latency": {"layers": "result.text(all_layers=True)"},
}
"""Options that choose what is printed, and where a result has it. ``--json`` is ``to_dict`` everywhere."""

ONLY_PYTHON = {
    "search": {
        "callback": "the command prints the search before a shortlist is trained",
        "on_data": "the command prints the boxes of the data before the search",
    }
}

OTHER_DEFAULTS: dict[tuple[str, str], Any] = {
    ("predict", "out"): None,  # the result shows the pictures: nothing need be written
    ("score", "weights"): (0.0, 0.0, 1.0, 1.0, 16.0),  # numbers in Python, a text on the command line
}


def options_of(command: str) -> dict[str, argparse.Action]:
    """Actions of a command by their names on the command line, ``-`` as ``_``."""
    actions = [a for a in PARSERS[command]._actions if not isinstance(a, argparse._HelpAction)]
    return {(a.option_strings[0] if a.option_strings else a.dest).lstrip("-").replace("-", "_"): a for a in actions}


def parameter_of(command: str, option: str) -> str:
    """The parameter that stands for an option."""
    return RENAMED.get(f"{command} {option}", RENAMED.get(option, option))


def plain(value: Any) -> Any:
    """Lists of the parser and tuples of a signature alike."""
    return tuple(value) if isinstance(value, list) else value


@pytest.mark.parametrize("function", nas.FUNCTIONS)
def test_parameters_are_the_options(function: str) -> None:
    command = COMMANDS[function]
    parameters = set(inspect.signature(getattr(nas, function)).parameters)
    options = {parameter_of(command, name) for name in options_of(command)} - {"json"}
    assert options - set(ONLY_PRINTED.get(command, {})) == parameters - set(ONLY_PYTHON.get(command, {}))


@pytest.mark.parametrize("function", nas.FUNCTIONS)
def test_defaults_are_the_same(function: str) -> None:
    command = COMMANDS[function]
    parameters = inspect.signature(getattr(nas, function)).parameters
    for name, action in options_of(command).items():
        parameter = parameters.get(parameter_of(command, name))
        if parameter is None:
            continue
        assert action.dest == parameter.name, "the command passes its options on by their names"
        required = parameter.default is inspect.Parameter.empty
        optional = action.nargs in ("*", "?")
        assert required == (action.required and not optional), name
        if not required:
            expected = OTHER_DEFAULTS.get((command, parameter.name), plain(() if optional else action.default))
            if optional and action.option_strings:
                expected = plain(action.default)
            assert parameter.default == expected, name


@pytest.mark.parametrize("function", nas.FUNCTIONS)
def test_functions_are_plain_typed_and_documented(function: str) -> None:
    called = getattr(nas, function)
    assert inspect.isfunction(called) and called.__module__ == f"nas.api.{function}" and inspect.getdoc(called)
    signature = inspect.signature(called)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values())


def test_exceptions_are_needed() -> None:
    for command, names in (*ONLY_PRINTED.items(), *ONLY_PYTHON.items()):
        function = next(f for f, c in COMMANDS.items() if c == command)
        both = set(options_of(command)) | set(inspect.signature(getattr(nas, function)).parameters)
        assert set(names) <= both
    assert all(any(name.split()[-1] in options_of(command) for command in COMMANDS.values()) for name in RENAMED)


def test_the_namespace_lists_its_functions_and_stays_light() -> None:
    assert set(nas.FUNCTIONS) <= set(dir(nas))
    with pytest.raises(AttributeError, match="no attribute 'serch'"):
        nas.serch  # noqa: B018
    code = "import sys, nas; print(*sorted({'numpy', 'torch', 'yaml'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
