"""The list of entries: columns by name, sorted, as text, CSV and JSON."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nas.detectors.atlas import Atlas
from nas.detectors.cost_columns import SIZES, CostColumn, cost_column
from nas.detectors.entry import Entry
from nas.detectors.marks import fit_for_use, mark_of
from nas.detectors.selection import short_source
from workbench.errors import unknown_name
from workbench.tables import Result, Table

LONGEST = 44
"""Characters of a recipe or source in the list on a terminal; CSV and JSON have all."""
TEXT_COLUMNS: dict[str, Callable[[Entry], str]] = {
    "name": lambda entry: entry.name,
    "family": lambda entry: entry.family,
    "recipe": lambda entry: entry.recipe.tag or "not stated",
    "source": lambda entry: short_source(entry.source),
    "task": lambda entry: entry.column,
}
"""Columns of words, by which the list can be sorted."""


@dataclass(frozen=True)
class AtlasList(Result):
    """Entries of an atlas in their order, with the costs that are shown beside AP."""

    atlas: Atlas
    entries: tuple[Entry, ...]
    costs: tuple[CostColumn, ...]
    notes: tuple[str, ...] = ()

    def cost(self, entry: Entry, column: CostColumn) -> float | None:
        """One cost of one entry."""
        return column.of(self.atlas, entry)

    def to_table(self) -> Table:
        """One row an entry: AP in percent."""
        several = len({entry.column for entry in self.entries}) > 1
        header = ["network", "family", "px", "AP", *(["task"] if several else []), "recipe"]
        header += [*(column.label for column in self.costs), "size", "source", "licence"]
        rows: list[list[Any]] = []
        for entry in self.entries:
            words = [entry.column] if several else []
            costs = [self.cost(entry, column) for column in self.costs]
            rows.append([
                entry.name, entry.family, entry.input_px, round(100 * entry.ap, 2), *words,
                _short(entry.recipe.tag or "not stated"), *costs, mark_of(entry.size).name,
                _short(short_source(entry.source)), entry.licence or "not known",
            ])  # fmt: skip
        return Table(header, rows)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: one object an entry, with its whole recipe, source, published sizes and costs."""
        return {"data": list(self.atlas.data), "entries": [self._record(entry) for entry in self.entries]}

    def _record(self, entry: Entry) -> dict[str, Any]:
        return entry_dict(entry) | {"costs": {column.name: self.cost(entry, column) for column in self.costs}}

    def to_csv(self) -> str:
        """One line an entry, in the columns of ``trainings.csv`` and further ones."""
        text = io.StringIO()
        header = ["graph", "model", "family", "input_px", "column", "ap", "recipe", "traits", "source", "licence"]
        header += ["size_mark", "fit_for_use", *(column.name for column in self.costs)]
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(header)
        for entry in self.entries:
            costs = [self.cost(entry, column) for column in self.costs]
            lines.writerow([
                entry.name, entry.model, entry.family, entry.input_px, entry.column, entry.ap, entry.recipe.tag,
                " ".join(entry.recipe.traits()), entry.source, entry.licence, mark_of(entry.size).name,
                fit_for_use(entry), *("" if value is None else value for value in costs),
            ])  # fmt: skip
        return text.getvalue()

    def __str__(self) -> str:
        families = len({entry.family for entry in self.entries})
        networks = len({entry.name for entry in self.entries})
        counts = [_count(len(self.entries), "entry", "entries"), _count(networks, "network", "networks")]
        counts.append(_count(families, "family", "families"))
        return "\n".join([str(self.to_table()), "", ", ".join(counts), *self.notes])


def listed(
    atlas: Atlas, sort: str, costs: Sequence[str], top: int | None = None, notes: Sequence[str] = ()
) -> AtlasList:
    """The entries sorted by a column: AP from the highest, costs from the lowest, words by the alphabet."""
    columns = {name: cost_column(atlas, name) for name in dict.fromkeys(["params", "gflops", *costs])}
    key = _sort_key(atlas, sort, columns)
    entries = sorted(atlas.entries, key=key)
    return AtlasList(atlas, tuple(entries[:top]), tuple(columns.values()), tuple(notes))


def _sort_key(atlas: Atlas, sort: str, costs: Mapping[str, CostColumn]) -> Callable[[Entry], Any]:
    if sort == "ap":
        return lambda entry: (-entry.ap, entry.name)
    if sort == "px":
        return lambda entry: (entry.input_px, -entry.ap)
    if sort in TEXT_COLUMNS:
        return lambda entry: (TEXT_COLUMNS[sort](entry).lower(), -entry.ap)
    shown = {column.name: column for column in costs.values()}
    by_name = {**shown, **costs}
    if sort not in by_name and sort not in SIZES:
        raise unknown_name("column to sort by", sort, ["ap", "px", *TEXT_COLUMNS, *by_name])
    column = by_name.get(sort) or cost_column(atlas, sort)

    def by_cost(entry: Entry) -> tuple[float, float]:
        value = column.of(atlas, entry)
        return math.inf if value is None else value, -entry.ap

    return by_cost


def entry_dict(entry: Entry) -> dict[str, Any]:
    """One entry, JSON-ready."""
    mark = mark_of(entry.size)
    return {
        "name": entry.name,
        "model": entry.model,
        "family": entry.family,
        "input_px": entry.input_px,
        "ap": entry.ap,
        "column": entry.column,
        "figures": dict(entry.figures),
        "recipe": entry.recipe.to_dict() | {"traits": entry.recipe.traits()},
        "source": entry.source or None,
        "licence": entry.licence or None,
        "data": entry.data,
        "published": {"params_m": entry.params_m, "gflops": entry.gflops},
        "size": asdict(entry.size) | {"mark": mark.name, "meaning": mark.reason},
        "fit_for_use": fit_for_use(entry),
        "latency_ms": dict(entry.latency),
    }


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _count(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"
