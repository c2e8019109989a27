"""Who is on the front of AP over latency, who might be within the intervals, and what the rest would need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas.comparison.rows import COST, MEASURED, Axis, Comparison, ComparisonRow, Series
from nas.comparison.text import differences, listed, number
from nas.pareto import pareto_mask

MOST_MAYBE = 8
"""So many names of those that might be on a front stand in a sentence; those that are on it are all named."""


@dataclass(frozen=True, slots=True)
class Front:
    """The front of one series along one axis, fastest first.

    ``open`` are off it by the numbers as they stand, but no row with at least their AP is faster beyond both intervals.
    """

    axis: str
    series: str
    members: tuple[str, ...]
    open: tuple[str, ...]
    of: int
    """So many rows have both numbers."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What a row without AP would have to beat: the best AP that is had at its latency or below, and who has it."""

    row: str
    value: float
    ap: float | None
    holder: str = ""
    holder_value: float | None = None


def front(rows: Sequence[ComparisonRow], axis: str, series: str) -> Front:
    """Who is beaten by nobody."""
    points = [(row, row.values[axis], row.accuracy.ap) for row in rows if row.accuracy and row.accuracy.series == series and axis in row.values]
    members, unsure = [], []
    for (row, time, ap), good in zip(points, pareto_mask([time.value for _, time, _ in points], [ap for *_, ap in points]), strict=True):
        if good:
            members.append((time.value, row.name))
        elif not any(t.most < time.least and a >= ap for other, t, a in points if other is not row):
            unsure.append((time.value, row.name))
    return Front(axis, series, tuple(name for _, name in sorted(members)), tuple(name for _, name in sorted(unsure)), len(points))


def bar(row: ComparisonRow, rows: Sequence[ComparisonRow], axis: str, series: str) -> Bar | None:
    """What ``row``, which has no AP of this series, would have to beat; None where it has no number along the axis."""
    if axis not in row.values:
        return None
    at = row.values[axis].value
    faster = [
        (other.accuracy.ap, -other.values[axis].value, other.name)
        for other in rows
        if other.accuracy and other.accuracy.series == series and axis in other.values and other.values[axis].value <= at
    ]
    if not faster:
        return Bar(row.name, at, None)
    ap, minus, name = max(faster)
    return Bar(row.name, at, ap, name, -minus)


def fronts(comparison: Comparison) -> list[Front]:
    """Every front: axis by axis, series by series; those without any point are left out."""
    found = [front(comparison.rows, axis.key, series.key) for axis in comparison.axes for series in comparison.series]
    return [one for one in found if one.of]


def front_sentences(comparison: Comparison) -> list[str]:
    """Plain sentences: who is on each front of latency, and whether candidates without AP can be placed."""
    said = [_placed(row, comparison) for row in comparison.without_ap()]
    for axis in comparison.axes:
        if axis.kind == COST:
            continue
        for series in comparison.series:
            one = front(comparison.rows, axis.key, series.key)
            if one.of:
                said.append(_who(one, axis, series))
    for series in comparison.series:
        own = [row for row in comparison.of_series(series.key) if row.accuracy and row.accuracy.budget]
        if own:
            said += differences(own, series)
    if len(comparison.series) > 1:
        said.append("APs of different series were taken on different pictures and are never set against each other: each has its own front.")
    if not comparison.series:
        said.append("No row has an AP, so there is no front.")
    return said


def _who(one: Front, axis: Axis, series: Series) -> str:
    how = f"Measured on {axis.label}" if axis.kind == MEASURED else f"Predicted on {axis.label}"
    if one.of == 1:
        return f"{how}, {one.members[0]} is the only one with {series.label}: a front of one says nothing."
    text = f"{how}, by {series.label}: {listed(one.members, one.of)} {'is' if len(one.members) == 1 else 'are'} on the front of {one.of} networks."
    if one.open:
        text += f" Within the intervals {listed(one.open, MOST_MAYBE)} might be on it too."
    return text


def _placed(row: ComparisonRow, comparison: Comparison) -> str:
    """Whether a row without AP can be placed, and what it would take along every axis of latency."""
    needs = []
    for axis in comparison.axes:
        series = comparison.series[0] if comparison.series else None
        found = None if axis.kind == COST or series is None else bar(row, comparison.rows, axis.key, series.key)
        if found is None:
            continue
        at = f"at {number(found.value)} {axis.unit} on {axis.label}"
        if found.ap is None:
            needs.append(f"{at} nothing with an AP is as fast")
        else:
            needs.append(f"{at} it must beat {found.ap:.1f} ({found.holder}, {number(found.holder_value)} {axis.unit})")
    rule = f" To be on the front of {comparison.series[0].label}, {'; '.join(needs)}." if needs else ""
    return f"{row.name} has no AP yet and cannot be placed.{rule}"
