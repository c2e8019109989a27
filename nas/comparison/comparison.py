"""The result of ``nas compare``: rows with their axes and series, as sentences, table and plain data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from nas.comparison.background import NO_BACKGROUND, Background
from nas.comparison.formatting import NOT_KNOWN, number, span
from nas.comparison.fronts import Front, pareto_fronts
from nas.comparison.rows import COST, PUBLISHED, ZOO, Axis, ComparisonRow, Reading, Series, rows_of_series
from nas.comparison.sentences import front_sentences
from workbench.tables import Result, Table

FORMAT = "nas-compare-1"


@dataclass(frozen=True, slots=True)
class Comparison(Result):
    """Rows with the axes and series along which they are compared; ``notes`` say what was left out and why."""

    rows: tuple[ComparisonRow, ...]
    axes: tuple[Axis, ...]
    series: tuple[Series, ...]
    notes: tuple[str, ...] = ()
    background: Background = NO_BACKGROUND
    """Networks of the atlas behind the plot of published AP. They are no rows and on no front."""

    @property
    def families(self) -> tuple[str, ...]:
        """Names of all families, in order of appearance."""
        return tuple(dict.fromkeys(row.family for row in self.rows))

    @property
    def times(self) -> list[Axis]:
        """The axes of latency, predicted and measured."""
        return [axis for axis in self.axes if axis.kind != COST]

    def of_series(self, key: str) -> list[ComparisonRow]:
        """Rows whose AP belongs to a series."""
        return rows_of_series(self.rows, key)

    def without_ap(self) -> list[ComparisonRow]:
        """Rows that have no AP yet."""
        return [row for row in self.rows if row.accuracy is None]

    def ordered(self) -> list[ComparisonRow]:
        """Searched, trained and given rows first, in the order given, then the zoo family by family."""
        return sorted(self.rows, key=lambda row: row.kind == ZOO)

    def fronts(self) -> list[Front]:
        """Every front that has points: axis by axis, series by series."""
        return pareto_fronts(self.rows, self.axes, self.series)

    def sentences(self) -> list[str]:
        """Which networks are on each latency front, and what candidates without AP would need."""
        return front_sentences(self.rows, self.axes, self.series)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with stable keys: what ``--json`` prints and the page's plot reads."""
        return {
            "format": FORMAT,
            "verdicts": self.sentences(),
            "notes": list(self.notes),
            "axes": [dataclasses.asdict(axis) for axis in self.axes],
            "series": [dataclasses.asdict(series) for series in self.series],
            "fronts": [dataclasses.asdict(front) for front in self.fronts()],
            "rows": [row_dict(row) for row in self.rows],
            "background": [point.to_dict() for point in self.background.points],
        }

    def to_table(self) -> Table:
        """Header and one row per network, as in ``compare.md``; an asterisk marks milliseconds on a front."""
        header = ["network", "family", "px", "published AP", "own AP"]
        header += [f"{axis.kind} ms, {axis.label}" for axis in self.times]
        header += ["GFLOPs", "Mparams", "NMS", "weights"]
        fronts = self.fronts()
        return Table(header, [row_cells(row, self.times, fronts, "{}*") for row in self.ordered()])

    def __str__(self) -> str:
        return "\n".join([*self.sentences(), *(f"note: {note}" for note in self.notes)])


def front_tag(row: ComparisonRow, axis: Axis, fronts: list[Front]) -> str:
    """``front``, ``maybe`` (within the intervals), or nothing."""
    for front in fronts:
        if row.accuracy and front.axis == axis.key and front.series == row.accuracy.series:
            return "front" if row.name in front.members else "maybe" if row.name in front.open else ""
    return ""


def row_cells(row: ComparisonRow, times: list[Axis], fronts: list[Front], on_front: str) -> list[str]:
    """The cells of a row in a table; ``on_front`` formats milliseconds of rows on the front of their series."""
    ap = NOT_KNOWN if row.accuracy is None else f"{row.accuracy.ap:.1f}"
    published = row.accuracy is not None and row.accuracy.series == PUBLISHED
    latencies = []
    for axis in times:
        reading = row.values.get(axis.key)
        shown = NOT_KNOWN if reading is None else number(reading.value)
        if front_tag(row, axis, fronts) == "front":
            shown = on_front.format(shown)
        latencies.append(shown + (f" ({span(reading)})" if reading is not None and span(reading) else ""))
    aps = [ap, NOT_KNOWN] if published else [NOT_KNOWN, ap]
    costs = [number(row.flops / 1e9), number(row.params / 1e6)]
    name = row.name if row.origin is None else f"{row.name}, {row.origin}"
    return [name, row.family, str(row.input_px), *aps, *latencies, *costs, row.nms, row.licence]


def row_dict(row: ComparisonRow) -> dict[str, Any]:
    """One row, JSON-ready; facts as pairs, readings as value and interval."""
    accuracy = row.accuracy
    budget = None if accuracy is None else accuracy.budget
    return {
        "name": row.name,
        "kind": row.kind,
        "family": row.family,
        "input_px": row.input_px,
        "params": row.params,
        "flops": row.flops,
        "nms": row.nms,
        "licence": row.licence,
        "source": row.source,
        "digest": row.digest or None,
        "cut_from": None if row.origin is None else row.origin.parent or row.origin.model,
        "parent": None if row.origin is None else row.origin.parent or None,
        "ap": None if accuracy is None else accuracy.ap,
        "series": None if accuracy is None else accuracy.series,
        "ap_source": None if accuracy is None else accuracy.source,
        "ap_note": None if accuracy is None else accuracy.note,
        "budget": None if budget is None else dataclasses.asdict(budget),
        "values": {key: _reading(reading) for key, reading in row.values.items()},
        "facts": [list(fact) for fact in row.facts],
    }


def _reading(reading: Reading) -> dict[str, Any]:
    return {"value": reading.value, "interval": None if reading.low is None else [reading.low, reading.high]}
