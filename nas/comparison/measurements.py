"""Measured latencies from ``nas search --measure`` and ``nas bench --json``, and the rows they belong to."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.comparison.rows import MEASURED, Axis, ComparisonRow, Reading
from nas.comparison.run_files import finite, read_json, text
from workbench.errors import BadInput


@dataclass(frozen=True, slots=True)
class MeasuredModel:
    """One measured network: known by the digest of its architecture, or else by its name or what it was called on the command line."""

    name: str
    named: str
    digest: str
    input_px: tuple[int, int]
    reading: Reading


@dataclass(frozen=True, slots=True)
class Measurements:
    """What was measured on one machine with one runtime."""

    where: str
    setup: str
    networks: tuple[MeasuredModel, ...]

    @property
    def axis(self) -> Axis:
        """The axis these readings lie on; the same setup gives the same key."""
        key = "measured-" + hashlib.sha256(self.setup.encode()).hexdigest()[:8]
        return Axis(key, MEASURED, self.setup, "ms", "p50; the interval is where another run puts its p50, 19 times in 20")


def bench_measurements(path: str | Path) -> Measurements:
    """What ``nas bench --json`` printed into a file."""
    file = Path(path)
    data = read_json(file)
    rows = data.get("networks")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or "hardware" not in data or "runtime" not in data:
        raise BadInput(f"--bench {str(file)!r} is not what nas bench --json prints: it needs hardware, runtime and networks")
    threads = f", {data['threads']} threads" if data.get("device") == "cpu" and data.get("threads") and "thread" not in str(data["runtime"]) else ""
    setup = text(f"{data['hardware']}; {data['runtime']}{threads}; {data.get('precision', '')}".rstrip("; "))
    found = []
    for row in rows:
        size = (int(finite(row.get("height"), "height", file, 1)), int(finite(row.get("width"), "width", file, 1)))
        found.append(MeasuredModel(text(row.get("name", "")), str(row.get("model", "")), "", size, _reading(row, file)))
    return Measurements(file.name, setup, tuple(found))


def run_measurements(folder: Path) -> Measurements | None:
    """The measured finalists of a search, if there are any."""
    file = folder / "measured.json"
    if not file.is_file():
        return None
    data = read_json(file)
    rows, anchor = data.get("finalists"), data.get("anchor")
    if data.get("format") != "nas-measured-1" or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadInput(f"{str(file)!r} is not what nas search --measure writes: measure again with --fresh")
    px = int(finite(data.get("input_px"), "input_px", file, 32))
    everyone = [*rows, *([anchor] if isinstance(anchor, dict) else [])]
    found = [MeasuredModel(text(row.get("name", "")), "", text(row.get("digest", "")), (px, px), _reading(row, file)) for row in everyone]
    return Measurements(f"{folder.resolve().name}/measured.json", text(f"{data.get('hardware', '?')}; {data.get('runtime', '?')}"), tuple(found))


def _reading(row: dict[str, object], file: Path) -> Reading:
    interval = row.get("interval_ms")
    if not isinstance(interval, list) or len(interval) != 2:
        raise BadInput(f"{str(file)!r}: interval_ms {interval!r} must be two numbers")
    low, high = (finite(value, "interval_ms", file) for value in interval)
    p50 = finite(row.get("p50_ms"), "p50_ms", file)
    if not low <= p50 <= high:
        raise BadInput(f"{str(file)!r}: p50_ms {p50!r} lies outside its interval {interval!r}")
    return Reading(p50, low, high)


def attach(rows: Sequence[ComparisonRow], measurements: Sequence[Measurements]) -> tuple[list[ComparisonRow], list[Axis], list[str]]:
    """Rows with their measured readings, the new axes, and notes on what fitted no row. A later file wins over an earlier."""
    held = [dict(row.values) for row in rows]
    axes: dict[str, Axis] = {}
    notes: list[str] = []
    for measured in measurements:
        lost = []
        for one in measured.networks:
            fits = [i for i, row in enumerate(rows) if _same(row, one)]
            for i in fits:
                held[i][measured.axis.key] = one.reading
                axes[measured.axis.key] = measured.axis
            if not fits:
                lost.append(f"{one.name} at {one.input_px[0]} px")
        if lost:
            notes.append(f"{measured.where}: measured but not among the rows at that input size: {', '.join(lost)}")
    return [dataclasses.replace(row, values=values) for row, values in zip(rows, held, strict=True)], list(axes.values()), notes


def _same(row: ComparisonRow, one: MeasuredModel) -> bool:
    if one.input_px != (row.input_px, row.input_px):
        return False
    if one.digest:
        return one.digest == row.digest
    return one.name == row.name or (one.named != "" and one.named == row.named)
