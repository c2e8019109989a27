"""Output of commands: text tables, a progress line (terminal, pipe or notebook), JSON."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from typing import Any, TextIO

from workbench.notebook import NotebookLine, in_notebook
from workbench.printable import PrintableStream, one_line, printable


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A plain text table: numbers to the right, other values to the left, two spaces between columns."""
    cells = [[cell(value) for value in row] for row in rows]
    widths = [max(len(h), *(len(r[i]) for r in cells)) if cells else len(h) for i, h in enumerate(header)]
    numeric = numeric_columns(header, rows)

    def line(values: Sequence[str]) -> str:
        parts = [v.rjust(w) if right else v.ljust(w) for v, w, right in zip(values, widths, numeric, strict=True)]
        return "  ".join(parts).rstrip()

    return "\n".join([line(header), line(["-" * w for w in widths]), *(line(row) for row in cells)])


def numeric_columns(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[bool]:
    """For each column whether it holds numbers (or None) alone."""
    return [
        bool(rows) and all(isinstance(row[i], (int, float)) or row[i] is None for row in rows)
        for i in range(len(header))
    ]


def cell(value: Any) -> str:
    """One value as text: four significant digits, thousands grouped, dash for none."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        digits = 0 if value == 0 else max(0, 3 - math.floor(math.log10(abs(value))))
        return f"{value:,.{min(digits, 6)}f}"
    return printable(" ".join(str(value).splitlines()))


def print_json(data: Any) -> None:
    """Indented JSON on stdout; NaN and infinities are refused rather than written."""
    print(json.dumps(data, indent=2, allow_nan=False, default=_plain))


def _plain(value: Any) -> Any:
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return value.item()
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


class Progress:
    """One line of progress on stderr.

    A terminal rewrites the line in place, a notebook shows it beside a progress bar, a pipe gets a line every few
    seconds. Nothing is shown when ``quiet``.
    """

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.stream: TextIO = stream or sys.stderr
        self.quiet = quiet
        self.notebook = NotebookLine() if stream is None and in_notebook() else None
        self.live = self.notebook is None and self.stream.isatty()
        self.every_s = 5.0 if self.notebook is None and not self.live else 0.1
        self._last = 0.0
        self._width = 0

    def show(self, text: str, force: bool = False) -> None:
        """Show ``text``, unless the line before was shown a moment ago and ``force`` is off."""
        now = time.monotonic()
        if self.quiet or (not force and now - self._last < self.every_s):
            return
        self._last = now
        if self.notebook is not None:
            self.notebook.show(text)
            return
        if self.live:
            text = one_line(text)
            write = self.stream.write_raw if isinstance(self.stream, PrintableStream) else self.stream.write
            write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            self.stream.write(text + "\n")
        self.stream.flush()

    def done(self) -> None:
        """End the line, which stays visible."""
        if self.live and self._width and not self.quiet:
            self.stream.write("\n")
            self.stream.flush()
