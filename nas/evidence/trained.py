"""Detectors that were really trained, as arrays of points: the view of the atlas on which scores are judged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.detectors.atlas import Atlas, Key
from nas.detectors.entry import Entry
from nas.detectors.read import read_atlas
from nas.detectors.sources.zoo_cards import ZOO
from search_spaces.graph import Graph
from workbench.errors import BadInput, unknown_name

TARGET = "voc_scratch_map50_95"
"""Default accuracy column: trained from scratch, as zero-shot scores assume."""


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
    recipe: np.ndarray | None = None
    """Recipes (``nas.detectors.recipes.Recipe``) of the points, ``[n]``; None if nobody told."""
    publisher: np.ndarray | None = None
    """Who published the figures of each point, ``[n]``."""

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
            recipe=None if self.recipe is None else self.recipe[keep],
            publisher=None if self.publisher is None else self.publisher[keep],
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


def read_trained(data: str | Path | Sequence[str | Path]) -> TrainedDetectors:
    """Read one or more folders of trained detectors, or ``zoo``; every line of ``accuracy.csv`` is a point."""
    several = [data] if isinstance(data, str | Path) else data
    return trained_points(read_atlas([str(item) for item in several]))


def trained_points(atlas: Atlas) -> TrainedDetectors:
    """One point per network and input size, with the recipe and source of the training whose AP it lists."""
    shown: dict[Key, Entry] = {}
    for entry in sorted(atlas.entries, key=lambda entry: atlas.points[entry.key].get(entry.column) != entry.ap):
        shown.setdefault(entry.key, entry)
    entries = [shown[key] for key in atlas.points]
    return _arrays(atlas, entries, [atlas.points[key] for key in atlas.points])


def trained_entries(atlas: Atlas) -> TrainedDetectors:
    """One point per entry: a network with several trainings stands there several times, once with each recipe."""
    return _arrays(atlas, atlas.entries, [entry.figures for entry in atlas.entries])


def _arrays(atlas: Atlas, entries: Sequence[Entry], figures: Sequence[Mapping[str, float]]) -> TrainedDetectors:
    """The entries as arrays, with these accuracies by column."""

    def column(name: str, of: Sequence[Mapping[str, float]]) -> np.ndarray:
        return np.array([row.get(name, math.nan) for row in of], dtype=float)

    latency = [atlas.latency.get(entry.key, {}) for entry in entries]
    recipe, publisher = np.empty(len(entries), dtype=object), np.empty(len(entries), dtype=object)
    recipe[:], publisher[:] = [entry.recipe for entry in entries], [entry.source for entry in entries]
    return TrainedDetectors(
        source=" and ".join("zoo/cards" if data == ZOO else data for data in atlas.data),
        arch=np.array([entry.name for entry in entries]),
        family=np.array([entry.family for entry in entries]),
        input_px=np.array([entry.input_px for entry in entries]),
        graphs={name: atlas.graphs[name] for name in dict.fromkeys(entry.name for entry in entries)},
        accuracy={name: column(name, figures) for name in atlas.accuracy_columns},
        latency={name: column(name, latency) for name in atlas.latency_columns},
        recipe=recipe,
        publisher=publisher,
    )
