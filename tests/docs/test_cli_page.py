"""``docs/cli.md`` states the defaults and the choices that the parser has. That it names every option,
tests/test_foundation.py checks."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

import pytest

from nas.cli import COMMANDS, build_parser
from tests.docs.pages import ROOT
from tests.test_foundation import subcommands

SECTIONS = dict(
    re.findall(
        r"^## nas ([\w-]+)\n(.*?)(?=^## |\Z)",
        (ROOT / "docs" / "cli.md").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
)
PARSER = build_parser()


def options(command: str) -> Iterator[argparse.Action]:
    """The options of a command and of its own commands."""
    parser = subcommands(PARSER)[command]
    for one in (parser, *subcommands(parser).values()):
        yield from (
            action for action in one._actions if action.option_strings and not isinstance(action, argparse._HelpAction)
        )


def line(command: str, option: str) -> str:
    """The row of a table that is about this option alone; empty where it shares one, or stands in running text."""
    for row in re.findall(r"^\| (.*) \|$", SECTIONS[command], re.MULTILINE):
        first = row.split(" | ")[0]
        if re.findall(r"--[a-z][a-z0-9-]*", first) == [option]:
            return str(row)
    return ""


@pytest.mark.parametrize("command", COMMANDS)
def test_defaults_are_stated(command: str) -> None:
    for action in options(command):
        row, value = line(command, action.option_strings[-1]), action.default
        if not row or value is True or value in (None, False, [], "", argparse.SUPPRESS):
            continue
        stated = (
            ", ".join(value) if isinstance(value, list) else f"{value:g}" if isinstance(value, float) else str(value)
        )
        assert re.search(rf"(?<![\w.]){re.escape(stated)}(?![\w.]\w)", row), f"{row}: the default is {stated}"


@pytest.mark.parametrize("command", COMMANDS)
def test_choices_are_stated(command: str) -> None:
    for action in options(command):
        for choice in action.choices or ():
            assert re.search(
                rf"\b{re.escape(str(choice))}\b", line(command, action.option_strings[-1]) or SECTIONS[command]
            ), f"{action.option_strings[-1]} {choice}"


def test_rows_are_found() -> None:
    assert "200000" in line("search", "--steps") and line("train", "--data") and not line("train", "--no-such")
