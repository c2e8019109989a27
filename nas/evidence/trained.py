"""Detectors that were really trained, as arrays of points, and the reader of a folder of them.

The folder holds ``accuracy.csv`` (``arch``, ``input_px``, columns of mAP as fractions), ``latency.csv`` (``arch``,
``input_px``, columns of milliseconds ending in ``_ms``) and the graphs, as ``graphs.jsonl.gz`` or ``NAME.onnx``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.devices.measured.csv_file import csv_rows, positive
from nas.devices.measured.networks import family_of, graphs_of
from search_spaces.graph import Graph
from workbench.errors import BadInput, unknown_name

TARGET = "voc_scratch_map50_95"
"""Default accuracy column: trained from scratch, as zero-shot scores assume."""
NEEDED = "accuracy.csv, latency.csv and graphs.jsonl.gz or *.onnx files"


@dataclass(frozen=True)
class TrainedDetectors:
    """Points (architecture x input size) as arrays ``[n]``: accuracy as fractions and latency in ms, NaN if unknown."""

    source: str
    arch: np.ndarray
    family: np.ndarray
    input_px: np.ndarray
    graphs: dict[str, Graph]
    accuracy: dict[str, np.ndarray]
    latency: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.arch)

    def part(self, keep: np.ndarray) -> TrainedDetectors:
        """The points at which the mask ``[n]`` is True."""
        names = set(self.arch[keep])
        return TrainedDetectors(
            source=self.source,
            arch=self.arch[keep],
            family=self.family[keep],
            input_px=self.input_px[keep],
            graphs={name: graph for name, graph in self.graphs.items() if name in names},
            accuracy={name: column[keep] for name, column in self.accuracy.items()},
            latency={name: column[keep] for name, column in self.latency.items()},
        )

    def at_sizes(self, sizes: Sequence[int]) -> TrainedDetectors:
        """The points of these input sizes (pixels)."""
        part = self.part(np.isin(self.input_px, sizes))
        if not len(part):
            raise BadInput(f"--px {' '.join(map(str, sizes))}: {self.source} has no point of these sizes")
        return part

    def target(self, name: str) -> np.ndarray:
        """One accuracy column ``[n]``."""
        if name not in self.accuracy:
            raise unknown_name("target", name, self.accuracy)
        return self.accuracy[name]

    def default_target(self) -> str:
        """``TARGET`` if it is there, else the first accuracy column."""
        return TARGET if TARGET in self.accuracy else next(iter(self.accuracy))

    def devices(self, prefixes: Sequence[str] = ()) -> dict[str, np.ndarray]:
        """Latency columns ``[n]`` by device (column name without ``_ms``): one for each prefix, or all without any."""
        columns = {name.removesuffix("_ms"): column for name, column in self.latency.items()}
        if not prefixes:
            return columns
        selected = {}
        for prefix in prefixes:
            exact = [name for name in columns if name == prefix.removesuffix("_ms")]
            matches = exact or [name for name in columns if name.startswith(prefix)]
            if not matches:
                raise unknown_name("latency column", prefix, columns)
            if len(matches) > 1:
                raise BadInput(f"latency column {prefix!r} could be {', '.join(matches)}: write more of the name")
            selected[matches[0]] = columns[matches[0]]
        return selected


def read_trained(folder: str | Path) -> TrainedDetectors:
    """Read a folder of trained detectors; every line of ``accuracy.csv`` is a point."""
    root = Path(folder)
    if not root.is_dir():
        raise BadInput(f"{str(root)!r} is not a folder: it must hold {NEEDED}")
    keys, accuracy, family = _read_table(root / "accuracy.csv", "")
    if not keys:
        raise BadInput("accuracy.csv has no points")
    places = {key: i for i, key in enumerate(keys)}
    timed_keys, latency, _ = _read_table(root / "latency.csv", "_ms")
    aligned = {name: np.full(len(keys), np.nan) for name in latency}
    rows = [(places[key], i) for i, key in enumerate(timed_keys) if key in places]
    for name, column in latency.items():
        for place, i in rows:
            aligned[name][place] = column[i]
    names = {arch for arch, _ in keys}
    graphs = {name: graph for name, graph in graphs_of(root, names).items() if name in names}
    missing = sorted(names - graphs.keys())
    if missing:
        raise BadInput(f"accuracy.csv: {missing[0]!r} has no graph in graphs.jsonl.gz and no file {missing[0]}.onnx")
    arch, sizes = np.array([arch for arch, _ in keys]), np.array([px for _, px in keys])
    return TrainedDetectors(str(folder), arch, np.array(family), sizes, graphs, accuracy, aligned)


def _read_table(path: Path, suffix: str) -> tuple[list[tuple[str, int]], dict[str, np.ndarray], list[str]]:
    """Keys (arch, input_px), number columns whose name ends in ``suffix``, and families of one CSV."""
    header, rows = csv_rows(path)
    name_column = next((key for key in ("arch", "model") if key in header), None)
    if name_column is None or "input_px" not in header:
        raise BadInput(f"{path.name} needs the columns 'arch' (or 'model') and 'input_px'; it has {', '.join(header)}")
    others = (name for name in header if name not in (name_column, "input_px", "family"))
    selected = [name for name in others if name.endswith(suffix)]
    if not selected:
        raise BadInput(f"{path.name} has no column of figures{' ending in ' + suffix if suffix else ''}")
    keys: dict[tuple[str, int], int] = {}
    families = []
    columns: dict[str, list[float]] = {name: [] for name in selected}
    for line, row in enumerate(rows, start=2):
        where = f"{path.name}, line {line}"
        px = positive(row["input_px"], "input_px", where)
        if px != int(px):
            raise BadInput(f"{where}: input_px={row['input_px']!r} must be a whole number of pixels")
        key = (row[name_column], int(px))
        if key in keys:
            raise BadInput(f"{where}: {key[0]!r} at {key[1]} px stands in line {keys[key]} already")
        keys[key] = line
        families.append((row.get("family") or "").strip() or family_of(row[name_column]))
        for name in selected:
            text = (row[name] or "").strip()
            read = positive if suffix else _fraction
            columns[name].append(read(text, name, where) if text else math.nan)
    return list(keys), {name: np.array(values) for name, values in columns.items()}, families


def _fraction(text: str, name: str, where: str) -> float:
    """An accuracy from 0 (a detector without detections) to 1."""
    value = 0.0 if text.strip("0") in ("", ".") else positive(text, name, where)
    if value > 1:
        raise BadInput(f"{where}: {name}={text!r} must be a fraction of at most 1, not a percentage")
    return value
