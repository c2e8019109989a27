"""Tables of accuracies and latencies, ``accuracy.csv`` and ``latency.csv``: one line a network at an input size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nas.devices.measured.csv_file import csv_rows, positive
from nas.devices.measured.networks import family_of
from workbench.errors import BadInput


@dataclass(frozen=True)
class NumberTable:
    """Numbers by (network, input size in pixels) and column, NaN where a cell is empty; families of the networks."""

    rows: Mapping[tuple[str, int], Mapping[str, float]]
    columns: tuple[str, ...]
    families: Mapping[tuple[str, int], str]


def read_accuracies(path: Path) -> NumberTable:
    """Every column of ``accuracy.csv`` but the keys, as fractions."""
    return _read(path, "", fraction)


def read_latencies(path: Path) -> NumberTable:
    """The columns of ``latency.csv`` whose name ends in ``_ms``."""
    return _read(path, "_ms", positive)


def fraction(text: str | None, name: str, where: str) -> float:
    """An accuracy from 0 (a detector without detections) to 1."""
    value = 0.0 if (text or "-").strip("0") in ("", ".") else positive(text, name, where)
    if value > 1:
        raise BadInput(f"{where}: {name}={text!r} must be a fraction of at most 1, not a percentage")
    return value


def whole_px(text: str | None, where: str) -> int:
    """An input side in pixels."""
    px = positive(text, "input_px", where)
    if px != int(px):
        raise BadInput(f"{where}: input_px={text!r} must be a whole number of pixels")
    return int(px)


def _read(path: Path, suffix: str, read: Callable[[str, str, str], float]) -> NumberTable:
    header, rows = csv_rows(path)
    name_column = next((key for key in ("arch", "model") if key in header), None)
    if name_column is None or "input_px" not in header:
        raise BadInput(f"{path.name} needs the columns 'arch' (or 'model') and 'input_px'; it has {', '.join(header)}")
    others = (name for name in header if name not in (name_column, "input_px", "family"))
    columns = tuple(name for name in others if name.endswith(suffix))
    if not columns:
        raise BadInput(f"{path.name} has no column of figures{' ending in ' + suffix if suffix else ''}")
    lines: dict[tuple[str, int], int] = {}
    numbers: dict[tuple[str, int], dict[str, float]] = {}
    families = {}
    for line, row in enumerate(rows, start=2):
        where = f"{path.name}, line {line}"
        key = (row[name_column], whole_px(row["input_px"], where))
        if key in lines:
            raise BadInput(f"{where}: {key[0]!r} at {key[1]} px stands in line {lines[key]} already")
        lines[key] = line
        families[key] = (row.get("family") or "").strip() or family_of(row[name_column])
        texts = {name: (row[name] or "").strip() for name in columns}
        numbers[key] = {name: read(text, name, where) if text else math.nan for name, text in texts.items()}
    return NumberTable(numbers, columns, families)
