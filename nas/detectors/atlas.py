"""The atlas: entries of all sources with their graphs, and the figures by network and input size."""

from __future__ import annotations

import math
import re
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from nas.detectors.entry import Entry
from nas.detectors.own_sizes import OWN_SIZES
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
    """Graph by network; those of the zoo are traced when they are asked for."""
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
        """The entries for which ``keep`` is true, with their points."""
        entries = tuple(entry for entry in self.entries if keep(entry))
        keys = {entry.key for entry in entries}
        return replace(
            self,
            entries=entries,
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
    """One atlas of several; the same name for two different networks is refused.

    A network that another part holds (``SameNetworks``) takes the first name and family. Publishers that disagree on it
    have an entry each; ``points`` has the figure of the first.
    """
    entries: list[Entry] = []
    sizes: dict[Key, dict[str, float]] = {}
    points: dict[Key, dict[str, float]] = {}
    latency: dict[Key, dict[str, float]] = {}
    graphs: list[Mapping[str, Graph]] = []
    known = SameNetworks()
    for part in parts:
        names: dict[str, tuple[str, str]] = {}
        for entry in part.entries:
            names.setdefault(entry.name, known.name_and_family(entry, part))
        renamed = [replace(e, name=names[e.name][0], family=names[e.name][1]) for e in part.entries]
        for old, entry in zip(part.entries, renamed, strict=True):
            sizes.setdefault(entry.key, part._sizes.setdefault(old.key, {}))
        listed = {_facts_of(entry) for entry in entries}
        entries += [entry for entry in renamed if _facts_of(entry) not in listed]
        _merge(points, {(names[name][0], px): row for (name, px), row in part.points.items()})
        _merge(latency, {(names[name][0], px): row for (name, px), row in part.latency.items()})
        graphs.append(part.graphs)
        known.add(replace(part, entries=tuple(renamed), graphs=ChainMap(*graphs), _sizes=sizes))  # type: ignore[arg-type]
    return Atlas(
        entries=tuple(entries),
        graphs=ChainMap(*graphs),  # type: ignore[arg-type]
        points=points,
        latency=latency,
        accuracy_columns=tuple(dict.fromkeys(column for part in parts for column in part.accuracy_columns)),
        latency_columns=tuple(dict.fromkeys(column for part in parts for column in part.latency_columns)),
        data=tuple(source for part in parts for source in part.data),
        _sizes=sizes,
    )


class SameNetworks:
    """Which networks of several sources are the same.

    They are if parameters and FLOPs agree (``EQUAL``) and either the names do, case and dashes apart, or the families
    do and no other network of the family has these sizes: ``rtdetrv2-s`` is ``RT-DETRv2-r18``.
    """

    EQUAL = 1e-4
    """Relative difference; a tracer may count a constant or leave it out."""

    def __init__(self) -> None:
        self._by_name: dict[str, tuple[Entry, Atlas]] = {}
        self._by_family: dict[str, list[tuple[Entry, Atlas]]] = {}
        self._families: dict[str, str] = {}

    def add(self, part: Atlas) -> None:
        """Remember the networks of a part."""
        for entry in part.entries:
            self._families.setdefault(folded(entry.family), entry.family)
            if self._by_name.setdefault(folded(entry.name), (entry, part))[0] is entry:
                self._by_family.setdefault(folded(entry.family), []).append((entry, part))

    def name_and_family(self, entry: Entry, part: Atlas) -> tuple[str, str]:
        """Name and family under which the entry's network is known already, or its own."""
        family = self._families.get(folded(entry.family), entry.family)
        named = self._by_name.get(folded(entry.name))
        if named is not None:
            if self._same(entry, part, *named):
                return named[0].name, named[0].family
            if entry.name == named[0].name:
                first = named[1].data[0]
                raise BadInput(f"{entry.name!r} is another network in {part.data[0]} than in {first}: rename one")
            return entry.name, family
        relatives = self._by_family.get(folded(entry.family), [])
        same = [other for other, home in relatives if other.input_px == entry.input_px
                and self._same(entry, part, other, home)]  # fmt: skip
        return (same[0].name if len(same) == 1 else entry.name), family

    def _same(self, entry: Entry, part: Atlas, other: Entry, home: Atlas) -> bool:
        at_size = replace(other, input_px=entry.input_px)
        return all(
            math.isclose(part.own_size(entry, size), home.own_size(at_size, size), rel_tol=self.EQUAL)
            for size in ("params", "flops")
        )


def folded(name: str) -> str:
    """A name without case and dashes, by which networks and families are found."""
    return re.sub(r"[-_ ]", "", name.lower())


def _facts_of(entry: Entry) -> tuple[object, ...]:
    """What makes two entries one: network, column, accuracy and the tag of the recipe."""
    return (*entry.key, entry.column, round(entry.ap, 4), entry.recipe.tag)


def _merge(whole: dict[Key, dict[str, float]], part: Mapping[Key, Mapping[str, float]]) -> None:
    """Add the figures of one source; where two have one for the same cell, the first stays."""
    for key, figures in part.items():
        cells = whole.setdefault(key, {})
        for column, value in figures.items():
            if math.isnan(cells.get(column, math.nan)):
                cells[column] = value
