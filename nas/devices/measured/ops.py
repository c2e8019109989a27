"""Tables of measured convolutions: one CSV, plain or gzipped, one convolution a line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.devices.measured.csv_file import csv_rows, number
from search_spaces.op_table import OpTable
from workbench.errors import BadInput

OP_COLUMNS = ("type", "batch", "cin", "h", "w", "cout", "k", "stride", "fused_add", "latency_ms")
"""Header of a table of ops. ``h`` and ``w`` are those of the input; ``type`` is Regular or Depthwise."""
NOT_MEASURED = -1.0
"""Latency of a row that the runtime could not run; such rows are skipped and counted."""


def is_op_table(path: str | Path) -> bool:
    """Whether a path is a table of ops: a file, not a folder."""
    return Path(path).is_file()


@dataclass(frozen=True)
class MeasuredOps:
    """Single convolutions with their latencies in ms, ``[rows]`` each; ``skipped`` rows could not be run."""

    table: OpTable
    ms: np.ndarray
    batch: np.ndarray
    skipped: int


def read_ops(path: str | Path) -> MeasuredOps:
    """A table of single FP convolutions (``OP_COLUMNS``), plain or gzipped."""
    file = Path(path)
    header, rows = csv_rows(file)
    missing = [name for name in OP_COLUMNS if name not in header]
    if missing:
        raise BadInput(
            f"{file.name}: a table of ops has the columns {', '.join(OP_COLUMNS)}; missing: {', '.join(missing)}"
        )
    numbers = np.empty((len(rows), len(OP_COLUMNS) - 1))
    depthwise = np.zeros(len(rows), dtype=bool)
    for i, row in enumerate(rows):
        numbers[i] = _checked_row(row, f"{file.name}, line {i + 2}")
        depthwise[i] = row["type"] == "Depthwise"
    measured = numbers[:, 8] > 0 if len(rows) else np.zeros(0, dtype=bool)
    if not measured.any():
        raise BadInput(f"{file.name} has no measured ops")
    values = {name: numbers[measured, j] for j, name in enumerate(OP_COLUMNS[1:])}
    table = _op_table(values, depthwise[measured])
    return MeasuredOps(table, values["latency_ms"], values["batch"], int((~measured).sum()))


def _checked_row(row: Mapping[str, str], where: str) -> np.ndarray:
    """The numbers of one row, in the order of ``OP_COLUMNS`` after ``type``."""
    if row["type"] not in ("Regular", "Depthwise"):
        raise BadInput(f"{where}: type={row['type']!r} must be Regular or Depthwise")
    numbers = np.array([number(row[name]) for name in OP_COLUMNS[1:]])
    if not np.isfinite(numbers).all() or (numbers[:7] < 1).any() or numbers[7] not in (0, 1):
        bad = {name: row[name] for name in OP_COLUMNS[1:-1]}
        raise BadInput(f"{where}: {bad} must be whole numbers of at least 1, fused_add 0 or 1, latency_ms a number")
    if numbers[8] <= 0 and numbers[8] != NOT_MEASURED:
        raise BadInput(
            f"{where}: latency_ms={row['latency_ms']!r} must be above 0, or -1 where the op could not be run"
        )
    return numbers


def _op_table(values: Mapping[str, np.ndarray], depthwise: np.ndarray) -> OpTable:
    """Columns of same-padded convolutions; pixels are those of the whole batch."""
    batch, cin, cout, k = values["batch"], values["cin"], values["cout"], values["k"]
    in_pixels = batch * values["h"] * values["w"]
    pixels = batch * np.ceil(values["h"] / values["stride"]) * np.ceil(values["w"] / values["stride"])
    groups = np.where(depthwise, cin, 1.0)
    weights = cin / groups * cout * k * k
    none = ("none",) * len(cin)
    return OpTable(
        kinds=("conv",) * len(cin),
        acts=none,
        parts=("",) * len(cin),
        names=("",) * len(cin),
        cin=cin,
        cout=cout,
        k=k,
        kernel_area=k * k,
        stride=values["stride"],
        groups=groups,
        pixels=pixels,
        in_pixels=in_pixels,
        macs=weights * pixels,
        params=weights,
        in_elems=in_pixels * cin + values["fused_add"] * pixels * cout,
        out_elems=pixels * cout,
        weight_elems=weights,
        fused=np.zeros(len(cin)),
        count=np.ones(len(cin)),
    )
