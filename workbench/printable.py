"""Foreign text made fit for a terminal: what moves the cursor, changes colors or hides text becomes an escape."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
"""Control characters but tab and new line, marks of direction and width, separators of lines, lone surrogates."""
MOST_SHOWN = 120
"""Longest value in an error, in characters."""


def printable(text: str) -> str:
    """``text`` with every hidden character as its escape; tabs and new lines stay."""
    return HIDDEN.sub(lambda match: ascii(match[0])[1:-1], text)


def one_line(text: object) -> str:
    """``text`` as one printable line: runs of white space become one space."""
    return printable(" ".join(str(text).split()))


def shown(value: object, most: int = MOST_SHOWN) -> str:
    """The representation of a foreign value for an error: one printable line of at most ``most`` characters."""
    try:
        if isinstance(value, str) and len(value) > most:
            return f"{printable(repr(value[: most // 2]))}... ({len(value):,} characters)"
        return cut(printable(repr(value)), most)
    except (ValueError, RecursionError):  # an integer of too many digits, or a value that contains itself
        return f"a {type(value).__name__}"


def cut(text: str, most: int) -> str:
    """``text``, without its middle where it is longer than ``most`` characters."""
    if len(text) <= most:
        return text
    tail = most // 3
    return f"{text[: most - tail - 3]}...{text[len(text) - tail :]}"


class PrintableStream:
    """A text stream that shows hidden characters as escapes. Everything but ``write`` is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write ``text``, made printable."""
        return self.stream.write(printable(text))

    def writelines(self, lines: Any) -> None:
        """Write every line, made printable."""
        for line in lines:
            self.write(line)

    def write_raw(self, text: str) -> int:
        """Write ``text`` as it is: for our own control characters."""
        return self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def printable_output() -> Iterator[None]:
    """Make standard output and error printable, whoever writes to them."""
    before = sys.stdout, sys.stderr
    for name, stream in (("stdout", before[0]), ("stderr", before[1])):
        if stream is not None and not isinstance(stream, PrintableStream):
            setattr(sys, name, PrintableStream(stream))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
