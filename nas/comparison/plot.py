"""Plot of a comparison: AP over latency, one panel per device, one row per series, fronts as steps."""

from __future__ import annotations

import textwrap
from typing import Any

from nas.comparison.comparison import Comparison
from nas.comparison.fronts import Front, pareto_front
from nas.comparison.rows import PUBLISHED, ZOO, Axis, ComparisonRow, Series
from nas.report.canvas import BEST, BUDGET, FRONT, INK, new_figure, round_ticks, to_png

FAMILY_COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#B8860B", "#56B4E9", "#7A5195", "#555555", "#8C6D31")
FAMILY_MARKS = "os^DvP<X"
MAX_PANELS = 6
"""Devices side by side; more would be too small to read."""
NAME = {"textcoords": "offset points", "fontsize": 8, "color": INK, "parse_math": False, "zorder": 6}


def compare_png(comparison: Comparison, title: str) -> bytes:
    """The plot. Rows without AP are lines at their latency, never points."""
    times = comparison.times
    axes = times[:MAX_PANELS]
    if len(times) > len(axes):
        title += f" (the first {len(axes)} of {len(times)} devices; the page has them all)"
    series = comparison.series or (Series("", "AP"),)
    figure = new_figure(1.4 + 5.8 * len(axes), 0.9 + 4.6 * len(series))
    panels = figure.subplots(len(series), len(axes), squeeze=False)
    for row_of_panels, one in zip(panels, series, strict=True):
        for panel, axis in zip(row_of_panels, axes, strict=True):
            _panel(panel, comparison, axis, one)
            if one is series[0]:
                _lines_without_ap(panel, comparison, axis)
    figure.suptitle("\n".join(textwrap.wrap(title, 90)), fontsize=12, color=INK, parse_math=False)
    entries: dict[str, Any] = {}
    for panel in panels.flat:
        entries |= {text: handle for handle, text in zip(*panel.get_legend_handles_labels(), strict=True)}
    columns = min(8, max(1, len(entries)))
    layout = {"loc": "outside lower center", "ncols": columns, "fontsize": 8.5, "frameon": False}
    figure.legend(entries.values(), entries.keys(), **layout)
    return to_png(figure)


def _panel(panel: Any, comparison: Comparison, axis: Axis, series: Series) -> None:
    rows = [row for row in comparison.of_series(series.key) if axis.key in row.values]
    front = pareto_front(comparison.rows, axis.key, series.key)
    for place, family in enumerate(comparison.families):
        members = sorted((row for row in rows if row.family == family), key=lambda row: row.values[axis.key].value)
        if members:
            _family(panel, members, axis, front, place)
    _cut_lines(panel, rows, axis)
    _front(panel, rows, front, axis)
    panel.set_xscale("log")
    if series.key == PUBLISHED:
        _background(panel, comparison, axis)
    ticks = round_ticks(*panel.get_xlim())
    panel.set_xticks(ticks, [f"{value:,.10g}" for value in ticks])
    panel.set_xticks([], minor=True)
    x_label = f"{axis.kind} latency on {axis.label} (ms, log)"
    panel.set_xlabel("\n".join(textwrap.wrap(x_label, 64)), parse_math=False)
    panel.set_ylabel(f"{series.label} (%)", parse_math=False)
    panel.grid(alpha=0.22)
    panel.spines[["top", "right"]].set_visible(False)


def _background(panel: Any, comparison: Comparison, axis: Axis) -> None:
    """The atlas in gray, families as thin lines. The limits stay those of what is compared, if that has AP here."""
    limits = (panel.get_xlim(), panel.get_ylim()) if panel.has_data() else None
    known = [point for point in comparison.background.points if axis.key in point.values]
    style = {"color": "#B9BFC6", "linewidth": 0.7, "markersize": 2.6, "zorder": 0.5}
    for line in comparison.background.lines(axis.key):
        panel.plot([point.values[axis.key] for point in line], [point.ap for point in line], "-", **style)
    if known:
        places = [point.values[axis.key] for point in known], [point.ap for point in known]
        panel.plot(*places, "o", label="atlas, published AP", **style)
    if limits is not None:
        panel.set_xlim(limits[0])
        panel.set_ylim(limits[1])


def _family(panel: Any, members: list[ComparisonRow], axis: Axis, front: Front, place: int) -> None:
    """One family's points with their intervals; a line joins its models of the zoo."""
    color, mark = FAMILY_COLOURS[place % len(FAMILY_COLOURS)], FAMILY_MARKS[place % len(FAMILY_MARKS)]
    zoo = [row for row in members if row.kind == ZOO]
    panel.plot(*_points(zoo, axis), color=color, linewidth=0.8, alpha=0.5, zorder=2)
    style = {"color": color, "markersize": 5, "linestyle": "none", "zorder": 4}
    panel.plot(*_points(members, axis), mark, label=members[0].family, **style)
    for row in members:
        reading = row.values[axis.key]
        if reading.low is not None:
            interval = (reading.low, reading.high)
            panel.plot(interval, (_ap(row), _ap(row)), color=color, linewidth=0.7, alpha=0.45, zorder=1)
        if row.kind != ZOO and row.name not in front.members:
            panel.annotate(row.name, (reading.value, _ap(row)), (5, -10), **NAME)


def _cut_lines(panel: Any, rows: list[ComparisonRow], axis: Axis) -> None:
    """A thin line from every cut network to its parent."""
    named = {row.name: row for row in rows}
    label = "cut from its parent"
    for row in rows:
        parent = None if row.origin is None else named.get(row.origin.parent)
        if parent is not None:
            style = {"color": BUDGET, "linewidth": 0.9, "linestyle": (0, (1, 2)), "zorder": 2}
            panel.plot(*_points([parent, row], axis), label=label, **style)
            label = "_"


def _front(panel: Any, rows: list[ComparisonRow], front: Front, axis: Axis) -> None:
    """The front as steps, its members named."""
    members = sorted((row for row in rows if row.name in front.members), key=lambda row: row.values[axis.key].value)
    if not members:
        return
    xs, ys = _points(members, axis)
    end = max([row.values[axis.key].value for row in rows])
    style = {"color": FRONT, "linewidth": 1.4, "alpha": 0.6, "zorder": 3}
    panel.step([*xs, max(end, xs[-1])], [*ys, ys[-1]], where="post", label="front", **style)
    panel.margins(x=0.12, y=0.08)
    for i, (row, x, y) in enumerate(zip(members, xs, ys, strict=True)):
        # No other member lies above and to the left; one close by on the right would be written over.
        crowded = i > 0 and xs[i] / xs[i - 1] < 1.1 and ys[i] - ys[i - 1] < 1.0
        panel.annotate(row.name, (x, y), (5, -9) if crowded else (-5, 5), ha="left" if crowded else "right", **NAME)


def _lines_without_ap(panel: Any, comparison: Comparison, axis: Axis) -> None:
    """Rows without AP: a vertical line at their latency, which is all that is known."""
    label = "no AP yet"
    for row in comparison.without_ap():
        if axis.key in row.values:
            x = row.values[axis.key].value
            panel.axvline(x, color=BEST, linewidth=1.1, linestyle=(0, (4, 3)), zorder=2, label=label)
            # Above and to the left of the front is free room.
            panel.annotate(
                row.name, (x, 0.98), (-3, 0), xycoords=("data", "axes fraction"), textcoords="offset points",
                rotation=90, fontsize=7.5, color=BUDGET, ha="right", va="top", parse_math=False,
            )  # fmt: skip
            label = "_"


def _points(rows: list[ComparisonRow], axis: Axis) -> tuple[list[float], list[float]]:
    """Values along the axis, and APs."""
    return [row.values[axis.key].value for row in rows], [_ap(row) for row in rows]


def _ap(row: ComparisonRow) -> float:
    assert row.accuracy is not None
    return row.accuracy.ap
