"""CSV files of measurements. Every error names the file or the line, and the rule."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from workbench.doors.bytes import read_text
from workbench.errors import BadInput

MOST_BYTES = 256 * 2**20
"""Largest table, unpacked."""
MOST_COLUMNS = 1000


def csv_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Header and rows of a CSV file, plain or gzipped."""
    text = read_text(path, "table", MOST_BYTES)
    try:
        with io.StringIO(text, newline="") as lines:
            reader = csv.DictReader(lines)
            header, rows = list(reader.fieldnames or []), list(reader)
    except csv.Error as error:
        raise BadInput(f"cannot read {str(path)!r}: {' '.join(str(error).split())}") from error
    if not header:
        raise BadInput(f"{path.name} is empty: its first line must name the columns")
    if len(header) > MOST_COLUMNS:
        raise BadInput(f"{path.name} has {len(header):,} columns: {MOST_COLUMNS:,} at most")
    return header, rows


def number(text: str | None) -> float:
    """The number in a cell; NaN if it holds none."""
    try:
        return float(text or "")
    except ValueError:
        return math.nan


def positive(text: str | None, field: str, where: str) -> float:
    """A number above 0 from a cell, or an error that names the field."""
    value = number(text)
    if not math.isfinite(value) or value <= 0:
        raise BadInput(f"{where}: {field}={text!r} must be a finite number above 0")
    return value
