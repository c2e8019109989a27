"""The atlas: entries of all sources with their graphs, and the figures by network and input size."""

from __future__ import annotations

import math
import re
from collections import ChainMap
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

    A network that another part holds under nearly the same name (case and dashes apart) with the same parameters and
    FLOPs is the same network and takes the first name.
    """
    entries: list[Entry] = []
    sizes: dict[Key, dict[str, float]] = {}
    points: dict[Key, dict[str, float]] = {}
    latency: dict[Key, dict[str, float]] = {}
    known: dict[str, Entry] = {}
    first: list[Atlas] = []
    for part in parts:
        names = {}
        for entry in part.entries:
            names[entry.name] = names.get(entry.name) or _known_name(entry, part, known, first)
        renamed = [replace(entry, name=names[entry.name]) for entry in part.entries]
        for old, entry in zip(part.entries, renamed, strict=True):
            known.setdefault(folded(entry.name), entry)
            sizes.setdefault(entry.key, part._sizes.get(old.key, {}))
        listed = {_facts_of(entry) for entry in entries}
        entries += [entry for entry in renamed if _facts_of(entry) not in listed]
        _merge(points, {(names[name], px): row for (name, px), row in part.points.items()}, part.data[0])
        _merge(latency, {(names[name], px): row for (name, px), row in part.latency.items()}, part.data[0])
        first.append(replace(part, entries=tuple(renamed)))
    return Atlas(
        entries=tuple(entries),
        graphs=ChainMap(*(part.graphs for part in parts)),  # type: ignore[arg-type]
        points=points,
        latency=latency,
        accuracy_columns=tuple(dict.fromkeys(column for part in parts for column in part.accuracy_columns)),
        latency_columns=tuple(dict.fromkeys(column for part in parts for column in part.latency_columns)),
        data=tuple(source for part in parts for source in part.data),
        _sizes=sizes,
    )


def folded(name: str) -> str:
    """A name without case and dashes, by which networks and families are found."""
    return re.sub(r"[-_ ]", "", name.lower())


def _known_name(entry: Entry, part: Atlas, known: Mapping[str, Entry], first: Sequence[Atlas]) -> str:
    """The name under which the entry's network is known already, or its own."""
    other = known.get(folded(entry.name))
    if other is None:
        return entry.name
    other = replace(other, input_px=entry.input_px)
    owner = next(one for one in first if one.data[0] == other.data)
    same = all(
        math.isclose(part.own_size(entry, size), owner.own_size(other, size), rel_tol=1e-6)
        for size in ("params", "flops")
    )
    if same:
        return other.name
    if entry.name == other.name:
        raise BadInput(f"{entry.name!r} is another network in {part.data[0]} than in {owner.data[0]}: rename one")
    return entry.name


def _facts_of(entry: Entry) -> tuple[object, ...]:
    """What makes two entries one: network, column, accuracy and the tag of the recipe."""
    return (*entry.key, entry.column, round(entry.ap, 4), entry.recipe.tag)


def _merge(whole: dict[Key, dict[str, float]], part: Mapping[Key, Mapping[str, float]], data: str) -> None:
    """Add the figures of one source; a second, different figure for the same cell is refused."""
    for key, figures in part.items():
        cells = whole.setdefault(key, {})
        for column, value in figures.items():
            old = cells.get(column, math.nan)
            if not math.isnan(old) and not math.isnan(value) and not math.isclose(old, value, rel_tol=1e-9):
                raise BadInput(
                    f"{data}: {key[0]!r} at {key[1]} px has {column}={value:g}, another source has {old:g}: name the "
                    "column otherwise, or leave one of them out"
                )
            if math.isnan(old):
                cells[column] = value
