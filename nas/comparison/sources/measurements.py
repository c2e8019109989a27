"""Measured latencies from ``nas search --measure`` and ``nas bench --json``, and the rows that they belong to."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from nas.comparison.rows import MEASURED, Axis, ComparisonRow, Reading
from nas.comparison.sources.files import finite, one_line, read_json
from workbench.errors import BadInput


@dataclass(frozen=True, slots=True)
class MeasuredModel:
    """One measured network, identified by its architecture's digest, else by its name or its command-line argument."""

    name: str
    named: str
    digest: str
    input_px: tuple[int, int]
    reading: Reading

    def matches(self, row: ComparisonRow) -> bool:
        """Whether ``row`` is this network at this input size."""
        if self.input_px != (row.input_px, row.input_px):
            return False
        if self.digest:
            return self.digest == row.digest
        return self.name == row.name or (self.named != "" and self.named == row.named)


@dataclass(frozen=True, slots=True)
class Measurements:
    """The networks measured on one machine with one runtime (``setup``); ``source`` is the file."""

    source: str
    setup: str
    networks: tuple[MeasuredModel, ...]

    @property
    def axis(self) -> Axis:
        """The axis of these readings; the same setup has the same key."""
        key = "measured-" + hashlib.sha256(self.setup.encode()).hexdigest()[:8]
        return Axis(key, MEASURED, self.setup, "ms", "p50; the interval holds the p50 of another run 19 times in 20")


def bench_measurements(path: str | Path) -> Measurements:
    """What ``nas bench --json`` printed into a file."""
    file = Path(path)
    data = read_json(file)
    rows = data.get("networks")
    if not _is_list_of_dicts(rows) or "hardware" not in data or "runtime" not in data:
        needed = "it needs hardware, runtime and networks"
        raise BadInput(f"--bench {str(file)!r} is not what nas bench --json prints: {needed}")
    threads = ""
    if data.get("device") == "cpu" and data.get("threads") and "thread" not in str(data["runtime"]):
        threads = f", {data['threads']} threads"
    setup = one_line(f"{data['hardware']}; {data['runtime']}{threads}; {data.get('precision', '')}".rstrip("; "))
    networks = []
    for row in rows:
        size = (int(finite(row.get("height"), "height", file, 1)), int(finite(row.get("width"), "width", file, 1)))
        name, named = one_line(row.get("name", "")), str(row.get("model", ""))
        networks.append(MeasuredModel(name, named, "", size, _reading(row, file)))
    return Measurements(file.name, setup, tuple(networks))


def run_measurements(folder: Path) -> Measurements | None:
    """The measured finalists of a search, if there are any."""
    file = folder / "measured.json"
    if not file.is_file():
        return None
    data = read_json(file)
    rows, anchor = data.get("finalists"), data.get("anchor")
    if data.get("format") != "nas-measured-1" or not _is_list_of_dicts(rows):
        raise BadInput(f"{str(file)!r} is not what nas search --measure writes: measure again with --fresh")
    px = int(finite(data.get("input_px"), "input_px", file, 32))
    networks = []
    for row in [*rows, *([anchor] if isinstance(anchor, dict) else [])]:
        name, digest = one_line(row.get("name", "")), one_line(row.get("digest", ""))
        networks.append(MeasuredModel(name, "", digest, (px, px), _reading(row, file)))
    setup = one_line(f"{data.get('hardware', '?')}; {data.get('runtime', '?')}")
    return Measurements(f"{folder.resolve().name}/measured.json", setup, tuple(networks))


def _is_list_of_dicts(value: object) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _reading(row: dict[str, object], file: Path) -> Reading:
    interval = row.get("interval_ms")
    if not isinstance(interval, list) or len(interval) != 2:
        raise BadInput(f"{str(file)!r}: interval_ms {interval!r} must be two numbers")
    low, high = (finite(value, "interval_ms", file) for value in interval)
    p50 = finite(row.get("p50_ms"), "p50_ms", file)
    if not low <= p50 <= high:
        raise BadInput(f"{str(file)!r}: p50_ms {p50!r} lies outside its interval {interval!r}")
    return Reading(p50, low, high)


def attach_measurements(
    rows: Sequence[ComparisonRow], measurements: Sequence[Measurements]
) -> tuple[list[ComparisonRow], list[Axis], list[str]]:
    """Rows with their measured readings, the new axes, and notes on what matched no row. Later files win."""
    values = [dict(row.values) for row in rows]
    axes: dict[str, Axis] = {}
    notes: list[str] = []
    for measured in measurements:
        unmatched = []
        for network in measured.networks:
            matches = [i for i, row in enumerate(rows) if network.matches(row)]
            for i in matches:
                values[i][measured.axis.key] = network.reading
                axes[measured.axis.key] = measured.axis
            if not matches:
                unmatched.append(f"{network.name} at {network.input_px[0]} px")
        if unmatched:
            names = ", ".join(unmatched)
            notes.append(f"{measured.source}: measured but not among the rows at that input size: {names}")
    with_readings = [dataclasses.replace(row, values=of) for row, of in zip(rows, values, strict=True)]
    return with_readings, list(axes.values()), notes
