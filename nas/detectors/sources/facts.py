"""Published single figures of a folder: ``latency_facts.csv`` and ``int8.csv``. Lines without a graph are skipped."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from nas.detectors.atlas import Key
from nas.detectors.entry import Int8Pair, LatencyFact
from nas.detectors.sources.accuracy_table import fraction, whole_px
from nas.devices.measured.csv_file import csv_rows, number, positive
from workbench.errors import BadInput

ANY_PX = 0
"""Input size of a figure whose publisher does not state it."""


def read_facts(path: Path) -> dict[Key, list[LatencyFact]]:
    """Latencies by network and input size; nothing without the file."""
    facts: dict[Key, list[LatencyFact]] = defaultdict(list)
    for where, row in _rows(path, ("graph", "input_px", "device", "ms")):
        batch = number(row.get("batch"))
        facts[row["graph"], _px(row["input_px"], where)].append(
            LatencyFact(
                ms=positive(row["ms"], "ms", where),
                device=row["device"],
                runtime=row.get("runtime") or "",
                precision=row.get("precision") or "",
                batch=int(batch) if batch == batch else None,
                what=row.get("what") or "",
                source=row.get("source") or "",
            )
        )
    return facts


def read_int8(root: Path) -> dict[Key, list[Int8Pair]]:
    """Pairs of ``int8.csv`` by network and input size; nothing without the file."""
    pairs: dict[Key, list[Int8Pair]] = defaultdict(list)
    for where, row in _rows(root / "int8.csv", ("graph", "input_px", "float_map", "int8_map")):
        pairs[row["graph"], _px(row["input_px"], where)].append(
            Int8Pair(
                device_tool=row.get("device_tool") or "",
                method=row.get("method") or "",
                float_ap=fraction(row["float_map"], "float_map", where),
                int8_ap=fraction(row["int8_map"], "int8_map", where),
                source=row.get("source") or "",
            )
        )
    return pairs


def _px(text: str | None, where: str) -> int:
    return whole_px(text, where) if (text or "").strip() else ANY_PX


def _rows(path: Path, needed: tuple[str, ...]) -> list[tuple[str, dict[str, str]]]:
    """Lines that name a graph, each with where it stands."""
    if not path.exists():
        return []
    header, rows = csv_rows(path)
    missing = [name for name in needed if name not in header]
    if missing:
        raise BadInput(f"{path.name} needs the column {missing[0]!r}; it has {', '.join(header)}")
    return [(f"{path.name}, line {line}", row) for line, row in enumerate(rows, start=2) if row["graph"]]
