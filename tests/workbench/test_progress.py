"""Progress in a terminal, on a pipe, and in a notebook whose IPython is made up here."""

from __future__ import annotations

import io
import sys
import types
from typing import Any

import pytest

from workbench import notebook
from workbench.console import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Shell:
    kernel = object()


class Handle:
    def __init__(self, outputs: list[str]) -> None:
        self.outputs = outputs

    def update(self, output: str) -> None:
        self.outputs.append(output)


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A fake IPython kernel; the list holds what it was asked to display."""
    shown: list[str] = []

    def display(output: str, display_id: bool = False) -> Handle:
        assert display_id
        shown.append(output)
        return Handle(shown)

    ipython: Any = types.ModuleType("IPython")
    displays: Any = types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: Shell()
    displays.HTML, displays.display = str, display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", displays)
    return shown


def test_a_terminal_rewrites_its_line() -> None:
    stream = Terminal()
    progress = Progress(stream=stream)
    progress.show("longer", force=True)
    progress.show("end", force=True)
    progress.done()
    assert stream.getvalue() == "\rlonger\rend   \n"


def test_a_pipe_gets_whole_lines_now_and_then() -> None:
    stream = io.StringIO()
    progress = Progress(stream=stream)
    for n in range(9):
        progress.show(f"step {n}", force=n == 8)
    progress.done()
    assert stream.getvalue() == "step 0\nstep 8\n"


def test_quiet_shows_nothing(outputs: list[str]) -> None:
    progress = Progress(quiet=True)
    progress.show("x", force=True)
    progress.done()
    assert outputs == []


def test_a_notebook_shows_one_bar_that_moves(outputs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    progress.show("epoch 1 of 4", force=True)
    progress.show("exact <x> 50%", force=True)
    progress.done()
    assert len(outputs) == 2 and 'value="0.250"' in outputs[0] and 'value="0.500"' in outputs[1]
    assert "&lt;x&gt;" in outputs[1] and capsys.readouterr() == ("", "")


def test_ipython_without_a_kernel_is_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    ipython: Any = types.ModuleType("IPython")
    ipython.get_ipython = lambda: object()
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert not notebook.in_notebook()
    ipython.get_ipython = lambda: None
    assert not notebook.in_notebook()


def test_ipython_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not notebook.in_notebook() and "IPython" not in sys.modules


@pytest.mark.parametrize(
    ("text", "fraction"),
    [("exact  labels   7%  3 s", 0.07), ("12 of 48 images", 0.25), ("1,000 of 2,000 pictures", 0.5), ("writing", None),
     ("0 of 0 images", None), ("140%", 1.0), ("epoch 2 of 3, step 15 of 60: waiting 7 %", 0.25), ("trial 1 of 2, up to epoch 3 of 4", 0.5), ("epoch 3 of 2", 1.0)],
)  # fmt: skip
def test_how_much_is_done_is_read_from_the_text(text: str, fraction: float | None) -> None:
    assert notebook.fraction_in(text) == fraction
