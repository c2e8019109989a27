"""The atlas: entries of all sources with their graphs, and the figures by network and input size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from nas.atlas.entry import Entry
from nas.atlas.own_sizes import OWN_SIZES
from search_spaces.graph import Graph
from workbench.errors import BadInput

Key = tuple[str, int]
"""Network and input size in pixels."""


@dataclass(frozen=True)
class Atlas:
    """Entries in the order of their sources, and what the networks have in common.

    ``points`` holds the accuracies of a network at an input size by column, one figure where it has several trainings:
    what ``accuracy.csv`` lists, which is that of the plain recipe. ``latency`` holds milliseconds by column.
    """

    entries: tuple[Entry, ...]
    graphs: Mapping[str, Graph]
    points: Mapping[Key, Mapping[str, float]]
    latency: Mapping[Key, Mapping[str, float]]
    accuracy_columns: tuple[str, ...]
    latency_columns: tuple[str, ...]
    data: tuple[str, ...]
    """The sources that it was read from, as given to ``--data``."""
    _sizes: dict[Key, dict[str, float]] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.entries)

    def part(self, keep: Callable[[Entry], bool]) -> Atlas:
        """The entries for which ``keep`` is true, with their graphs and points."""
        entries = tuple(entry for entry in self.entries if keep(entry))
        keys, names = {entry.key for entry in entries}, {entry.name for entry in entries}
        return replace(
            self,
            entries=entries,
            graphs={name: graph for name, graph in self.graphs.items() if name in names},
            points={key: figures for key, figures in self.points.items() if key in keys},
            latency={key: ms for key, ms in self.latency.items() if key in keys},
        )

    def own_size(self, entry: Entry, name: str) -> float:
        """One of ``OWN_SIZES`` of the entry's network at its input size; counted once."""
        sizes = self._sizes.setdefault(entry.key, {})
        if name not in sizes:
            sizes[name] = OWN_SIZES[name](self.graphs[entry.name], entry.input_px)
        return sizes[name]


def combined(parts: Sequence[Atlas]) -> Atlas:
    """One atlas of several; the same name for two different networks is refused, as is one source twice."""
    owner: dict[str, str] = {}
    graphs: dict[str, Graph] = {}
    points: dict[Key, dict[str, float]] = {}
    latency: dict[Key, dict[str, float]] = {}
    for part in parts:
        source = part.data[0]
        for name, graph in part.graphs.items():
            if name in graphs and graphs[name].digest() != graph.digest():
                raise BadInput(
                    f"{name!r} is another network in {source} than in {owner[name]}: rename one of them"
                )
            graphs.setdefault(name, graph)
            owner.setdefault(name, source)
        _merge(points, part.points, f"accuracies of {source}")
        _merge(latency, part.latency, f"latencies of {source}")
    return Atlas(
        entries=tuple(entry for part in parts for entry in part.entries),
        graphs=graphs,
        points=points,
        latency=latency,
        accuracy_columns=_unique(column for part in parts for column in part.accuracy_columns),
        latency_columns=_unique(column for part in parts for column in part.latency_columns),
        data=tuple(source for part in parts for source in part.data),
    )


def _merge(whole: dict[Key, dict[str, float]], part: Mapping[Key, Mapping[str, float]], what: str) -> None:
    """Add the figures of one source; a second, different figure for the same cell is refused."""
    for key, figures in part.items():
        cells = whole.setdefault(key, {})
        for column, value in figures.items():
            old = cells.get(column, math.nan)
            if not math.isnan(old) and not math.isnan(value) and old != value:
                raise BadInput(
                    f"{what}: {key[0]!r} at {key[1]} px has {column}={value:g}, another source has {old:g}: name the "
                    "column otherwise, or leave one of them out"
                )
            if math.isnan(old):
                cells[column] = value


def _unique(names: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))  # type: ignore[call-overload]
