"""Pareto fronts of AP over latency or another cost, and the AP that a network without one would need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas.comparison.rows import Axis, ComparisonRow, Series, rows_of_series
from nas.pareto import pareto_mask


@dataclass(frozen=True, slots=True)
class Front:
    """The front of one series along one axis, fastest first.

    ``open`` are off it by the values alone, but no row with at least their AP is faster beyond both intervals.
    """

    axis: str
    series: str
    members: tuple[str, ...]
    open: tuple[str, ...]
    of: int
    """Number of rows that have both values."""


@dataclass(frozen=True, slots=True)
class ApToBeat:
    """The best AP at a row's latency ``value`` or below, and the row (``holder``) that has it; None without any."""

    row: str
    value: float
    ap: float | None
    holder: str = ""
    holder_value: float | None = None


def pareto_front(rows: Sequence[ComparisonRow], axis: str, series: str) -> Front:
    """The rows of a series that no other row dominates along an axis."""
    points = [
        (row, row.values[axis], row.accuracy.ap)
        for row in rows_of_series(rows, series)
        if row.accuracy and axis in row.values
    ]
    mask = pareto_mask([reading.value for _, reading, _ in points], [ap for *_, ap in points])
    members, unsure = [], []
    for (row, reading, ap), on_front in zip(points, mask, strict=True):
        if on_front:
            members.append((reading.value, row.name))
        elif not any(r.most < reading.least and a >= ap for other, r, a in points if other is not row):
            unsure.append((reading.value, row.name))
    fastest_first, might_be = (tuple(name for _, name in sorted(group)) for group in (members, unsure))
    return Front(axis, series, fastest_first, might_be, len(points))


def ap_to_beat(row: ComparisonRow, rows: Sequence[ComparisonRow], axis: str, series: str) -> ApToBeat | None:
    """The AP that ``row`` must exceed to be on the front of a series; None if it has no value along the axis."""
    if axis not in row.values:
        return None
    value = row.values[axis].value
    as_fast = [
        (other.accuracy.ap, -other.values[axis].value, other.name)
        for other in rows_of_series(rows, series)
        if other.accuracy and axis in other.values and other.values[axis].value <= value
    ]
    if not as_fast:
        return ApToBeat(row.name, value, None)
    ap, negative, name = max(as_fast)
    return ApToBeat(row.name, value, ap, name, -negative)


def pareto_fronts(rows: Sequence[ComparisonRow], axes: Sequence[Axis], series: Sequence[Series]) -> list[Front]:
    """Every front that has points: axis by axis, series by series."""
    every = (pareto_front(rows, axis.key, one.key) for axis in axes for one in series)
    return [front for front in every if front.of]
