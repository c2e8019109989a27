"""Foreign text never reaches a terminal as it is."""

from __future__ import annotations

import io
import sys

import pytest

from workbench.console import Progress, cell
from workbench.errors import MOST_LETTERS, BadInput, unknown_name
from workbench.printable import PrintableStream, cut, one_line, printable, printable_output, shown

HOSTILE = "a\x1b[31mb\x07\x9b2J\u202ec\udcffd\x00\x7f\u2028"


def test_hidden_characters_become_escapes() -> None:
    assert printable(HOSTILE) == r"a\x1b[31mb\x07\x9b2J\u202ec\udcffd\x00\x7f\u2028"
    assert printable("tab\tline\nµ × – 漢字 é") == "tab\tline\nµ × – 漢字 é"
    assert one_line(" a\n\tb  c\x1b ") == r"a b c\x1b"
    assert cell("a\n\x1b") == r"a \x1b"


def test_values_are_cut() -> None:
    assert shown("x") == "'x'" and shown([1, 2]) == "[1, 2]"
    assert len(shown("x" * 10**6)) < 120 and "1,000,000 characters" in shown("x" * 10**6)
    assert shown(10**5000) == "a int"
    assert len(shown(list(range(10**4)))) == 120
    assert cut("abcdefghij", 9) == "abc...hij"
    own: list[object] = []
    own.append(own)
    assert shown(own) == "[[...]]"


def test_errors_are_printable_and_short() -> None:
    error = str(BadInput(f"before {HOSTILE} {'x' * 10**6} and after"))
    assert error.isprintable() and len(error) == MOST_LETTERS and error.endswith("and after")
    assert len(str(unknown_name("op", "x" * 10**5, ["a", "b"]))) < 200


def test_streams_show_escapes_whoever_writes(capsys: pytest.CaptureFixture[str]) -> None:
    with printable_output():
        print(HOSTILE)
        sys.stderr.writelines([HOSTILE, "\n"])
    print("\x1b as before")
    out, err = capsys.readouterr()
    assert out == printable(HOSTILE) + "\n\x1b as before\n" and err == printable(HOSTILE) + "\n"


def test_only_progress_moves_the_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = io.StringIO()
    monkeypatch.setattr(inner, "isatty", lambda: True)
    progress = Progress(stream=PrintableStream(inner))  # type: ignore[arg-type]
    progress.show(f"reading {HOSTILE}\r", force=True)
    assert inner.getvalue() == "\r" + f"reading {printable(HOSTILE)}"[: len(inner.getvalue()) - 1].rstrip()
