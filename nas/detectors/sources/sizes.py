"""``sizes.csv``: the published parameters and FLOPs of the networks, beside those of their graphs, with a verdict."""

from __future__ import annotations

import math
from pathlib import Path

from nas.detectors.atlas import Key
from nas.detectors.entry import PublishedSize
from nas.detectors.sources.accuracy_table import whole_px
from nas.devices.measured.csv_file import csv_rows, number
from workbench.errors import BadInput

NEEDED = ("graph", "input_px", "verdict")


def read_sizes(path: Path) -> dict[Key, PublishedSize]:
    """Published sizes by network and input size; nothing without the file."""
    if not path.exists():
        return {}
    header, rows = csv_rows(path)
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise BadInput(f"{path.name} needs the column {missing[0]!r}; it has {', '.join(header)}")
    sizes = {}
    for line, row in enumerate(rows, start=2):
        sizes[row["graph"], whole_px(row["input_px"], f"{path.name}, line {line}")] = PublishedSize(
            params_m=_known(row.get("published_params_m")),
            gflops=_known(row.get("published_gflops")),
            params_diff_percent=_known(row.get("params_diff_percent")),
            gflops_diff_percent=_known(row.get("gflops_diff_percent")),
            verdict=(row["verdict"] or "").strip(),
            reason=(row.get("reason") or "").strip(),
        )
    return sizes


def _known(text: str | None) -> float | None:
    value = number(text)
    return None if math.isnan(value) else value
