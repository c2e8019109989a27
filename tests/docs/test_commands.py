"""Every command that a page or a help text shows is one that the program takes; marked slow, all of them are done in a
furnished folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nas.cli import COMMANDS, build_parser, main
from tests.docs import limits
from tests.docs.pages import ROOT, Shown, named, pages, shown
from tests.nas.process import nas
from tests.test_foundation import subcommands

DISTINCT = list({one.text: one for one in reversed(shown())}.values())[::-1]
"""Each once, on the first page that shows it."""


PARSER = build_parser()


@pytest.mark.parametrize("command", shown(), ids=str)
def test_is_understood(command: Shown) -> None:
    for words in (command.words, command.all_words):
        assert callable(PARSER.parse_args(words).run)


def test_many_are_found() -> None:
    found = {one.page for one in shown()}
    assert {"README.md", "docs/cli.md", "docs/training.md", "docs/tutorial/index.md", "nas search --help"} <= found
    assert {one.words[0] for one in shown()} == set(COMMANDS), "every command is shown somewhere"


def test_the_tables_of_limits_speak_of_commands_that_are_shown() -> None:
    for needed in limits.LIMITS:
        assert any(limits.begins(one.words, needed) for one in DISTINCT), needed
    for word in limits.NOT_HERE:
        assert any(word in one.words for one in DISTINCT), word


def test_limits_replace_and_add() -> None:
    given = ["train", "yolox-s", "--epochs", "50"]
    assert limits.limited(given) == [
        "train",
        "yolox-s",
        "--epochs",
        "1",
        "--input",
        "64",
        "--data-workers",
        "0",
        "--fresh",
    ]
    assert given == ["train", "yolox-s", "--epochs", "50"]
    assert limits.limited(["zoo", "show", "yolo26n"]) == ["zoo", "show", "yolo26n"]
    assert limits.why_not(["calibrate"]) and not limits.why_not(["zoo"])


@pytest.mark.parametrize("page", pages(), ids=named)
def test_commands_in_running_text_name_what_there_is(page: Path) -> None:
    """Those between single backticks: the command exists, and so do its options."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    parsers = subcommands(PARSER)
    for found in re.findall(r"`nas ([a-z][^`\n]*)`", text):
        first, options = found.split()[0], re.findall(r"--[a-z][a-z0-9-]*", found)
        for name in first.split("|"):
            assert name in parsers, found
            known = {
                option
                for one in (parsers[name], *subcommands(parsers[name]).values())
                for action in one._actions
                for option in action.option_strings
            }
            assert set(options) <= known, found


@pytest.mark.slow
@pytest.mark.parametrize("command", DISTINCT, ids=str)
def test_is_done(command: Shown, here: Path) -> None:
    """In this process; where Ray works along in one of its own, since Ray reads its settings when it is imported, and
    another test may have done that."""
    words = limits.limited(command.words)
    if reason := limits.why_not(words):
        pytest.skip(reason)
    for made in new_folders(words):
        shutil.rmtree(made, ignore_errors=True)
    if words[0] == "board":
        serves(words, here)
        return
    if "--workers" in command.words or "--jobs" in command.words:
        done = nas(*words, cwd=here)
        out, err = done.communicate(timeout=600)
        assert done.returncode == 0, out + err
        return
    assert main(words) == 0


def new_folders(words: list[str]) -> list[str]:
    """Folders that the command makes and does not write over: they are there if another page has named them before."""
    if words[:2] == ["data", "synth"]:
        return [words[2]]
    return [words[words.index("--fix") + 1]] if "--fix" in words else []


def serves(words: list[str], folder: Path) -> None:
    """A server says where it is; then it is stopped."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with subprocess.Popen(
        [sys.executable, "-m", "nas.cli", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            assert any("http://localhost:" in line or "http://127.0.0.1:" in line for line in server.stdout)
        finally:
            server.terminate()
