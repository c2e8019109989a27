"""Detectors that were really trained: a folder of graphs, accuracies and latencies becomes columns of points.

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
"""The accuracy that scores are held against unless another is named: trained from nothing, as scores assume."""


@dataclass(frozen=True)
class TrainedDetectors:
    """Points (architecture x input size), columns ``[n]``: accuracy as fractions and latency in ms, NaN where unknown."""

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
        """The points whose mask ``[n]`` is True."""
        names = set(self.arch[keep])
        return TrainedDetectors(
            self.source, self.arch[keep], self.family[keep], self.input_px[keep],
            {name: graph for name, graph in self.graphs.items() if name in names},
            {name: column[keep] for name, column in self.accuracy.items()},
            {name: column[keep] for name, column in self.latency.items()},
        )  # fmt: skip

    def target(self, name: str) -> np.ndarray:
        """One accuracy column."""
        if name not in self.accuracy:
            raise unknown_name("target", name, self.accuracy)
        return self.accuracy[name]

    def devices(self, wanted: Sequence[str] = ()) -> dict[str, np.ndarray]:
        """Latency columns by device (the column without ``_ms``): those that each begin with one of ``wanted``, else all."""
        named = {name.removesuffix("_ms"): column for name, column in self.latency.items()}
        if not wanted:
            return named
        found = {}
        for prefix in wanted:
            exact = [name for name in named if name == prefix.removesuffix("_ms")]
            fits = exact or [name for name in named if name.startswith(prefix)]
            if not fits:
                raise unknown_name("latency column", prefix, named)
            if len(fits) > 1:
                raise BadInput(f"latency column {prefix!r} could be {', '.join(fits)}: write more of the name")
            found[fits[0]] = named[fits[0]]
        return found


def read_trained(folder: str | Path) -> TrainedDetectors:
    """Everything in a folder of trained detectors; a point is a line of ``accuracy.csv``."""
    root = Path(folder)
    if not root.is_dir():
        raise BadInput(f"{str(root)!r} is not a folder: it must hold accuracy.csv, latency.csv and graphs.jsonl.gz or *.onnx files")
    keys, accuracy, family = _table(root / "accuracy.csv", "")
    if not keys:
        raise BadInput("accuracy.csv has no points")
    places = {key: i for i, key in enumerate(keys)}
    own, latency, _ = _table(root / "latency.csv", "_ms")
    aligned = {name: np.full(len(keys), np.nan) for name in latency}
    rows = [(places[key], i) for i, key in enumerate(own) if key in places]
    for name, column in latency.items():
        for place, i in rows:
            aligned[name][place] = column[i]
    names = {arch for arch, _ in keys}
    graphs = {name: graph for name, graph in graphs_of(root, names).items() if name in names}
    missing = sorted(names - graphs.keys())
    if missing:
        raise BadInput(f"accuracy.csv: {missing[0]!r} has no graph in graphs.jsonl.gz and no file {missing[0]}.onnx")
    arch = np.array([arch for arch, _ in keys])
    return TrainedDetectors(str(folder), arch, np.array(family), np.array([px for _, px in keys]), graphs, accuracy, aligned)


def _table(path: Path, suffix: str) -> tuple[list[tuple[str, int]], dict[str, np.ndarray], list[str]]:
    """Keys (arch, input_px), number columns whose name ends in ``suffix``, and families of one CSV."""
    header, rows = csv_rows(path)
    named = next((key for key in ("arch", "model") if key in header), None)
    if named is None or "input_px" not in header:
        raise BadInput(f"{path.name} needs the columns 'arch' (or 'model') and 'input_px'; it has {', '.join(header)}")
    wanted = [name for name in header if name not in (named, "input_px", "family") and name.endswith(suffix)]
    if not wanted:
        raise BadInput(f"{path.name} has no column of figures{' ending in ' + suffix if suffix else ''}")
    keys: dict[tuple[str, int], int] = {}
    families = []
    columns: dict[str, list[float]] = {name: [] for name in wanted}
    for line, row in enumerate(rows, start=2):
        where = f"{path.name}, line {line}"
        px = positive(row["input_px"], "input_px", where)
        if px != int(px):
            raise BadInput(f"{where}: input_px={row['input_px']!r} must be a whole number of pixels")
        key = (row[named], int(px))
        if key in keys:
            raise BadInput(f"{where}: {key[0]!r} at {key[1]} px stands in line {keys[key]} already")
        keys[key] = line
        families.append((row.get("family") or "").strip() or family_of(row[named]))
        for name in wanted:
            text = (row[name] or "").strip()
            columns[name].append(math.nan if not text else positive(text, name, where) if suffix else _share(text, name, where))
    return list(keys), {name: np.array(values) for name, values in columns.items()}, families


def _share(text: str, name: str, where: str) -> float:
    """An accuracy; a detector that finds nothing has 0."""
    value = 0.0 if text.strip("0") in ("", ".") else positive(text, name, where)
    if value > 1:
        raise BadInput(f"{where}: {name}={text!r} must be a fraction of at most 1, not a percentage")
    return value
