"""The comparison as a picture: AP over latency, a panel a device, a row a series, fronts as steps."""

from __future__ import annotations

import math
import textwrap
from typing import Any

from nas.comparison.fronts import Front, front
from nas.comparison.rows import COST, ZOO, Axis, Comparison, ComparisonRow, Series
from nas.report.plots import BEST, BUDGET, FRONT, INK, _figure, _png

FAMILY_COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#B8860B", "#56B4E9", "#7A5195", "#555555", "#8C6D31")
FAMILY_MARKS = "os^DvP<X"
MOST_PANELS = 6
"""Devices side by side; more would be too small to read."""


def compare_png(comparison: Comparison, title: str) -> bytes:
    """The picture. Rows without AP are marks below the axes, never points."""
    every = [axis for axis in comparison.axes if axis.kind != COST]
    axes = every[:MOST_PANELS]
    if len(every) > len(axes):
        title += f" (the first {len(axes)} of {len(every)} devices; the page has them all)"
    series = comparison.series or (Series("", "AP"),)
    figure = _figure(1.4 + 5.8 * len(axes), 0.9 + 4.6 * len(series))
    panels = figure.subplots(len(series), len(axes), squeeze=False)
    for line, one in zip(panels, series, strict=True):
        for panel, axis in zip(line, axes, strict=True):
            _panel(panel, comparison, axis, one)
            if one is series[0]:
                _marks(panel, comparison, axis)
    figure.suptitle("\n".join(textwrap.wrap(title, 90)), fontsize=12, color=INK, parse_math=False)
    known = {text: handle for line in panels for panel in line for handle, text in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(known.values(), known.keys(), loc="outside lower center", ncols=min(8, max(1, len(known))), fontsize=8.5, frameon=False)
    return _png(figure)


def _panel(panel: Any, comparison: Comparison, axis: Axis, series: Series) -> None:
    rows = [row for row in comparison.of_series(series.key) if axis.key in row.values]
    one = front(comparison.rows, axis.key, series.key)
    for place, family in enumerate(comparison.families):
        mine = sorted((row for row in rows if row.family == family), key=lambda row: row.values[axis.key].value)
        if not mine:
            continue
        colour, mark = FAMILY_COLOURS[place % len(FAMILY_COLOURS)], FAMILY_MARKS[place % len(FAMILY_MARKS)]
        rivals = [row for row in mine if row.kind == ZOO]
        panel.plot([row.values[axis.key].value for row in rivals], [_ap(row) for row in rivals], color=colour, linewidth=0.8, alpha=0.5, zorder=2)
        panel.plot([row.values[axis.key].value for row in mine], [_ap(row) for row in mine], mark, color=colour, markersize=5, label=family, zorder=4, linestyle="none")
        for row in mine:
            reading = row.values[axis.key]
            if reading.low is not None:
                panel.plot((reading.low, reading.high), (_ap(row), _ap(row)), color=colour, linewidth=0.7, alpha=0.45, zorder=1)
            if row.kind != ZOO and row.name not in one.members:
                panel.annotate(row.name, (reading.value, _ap(row)), (5, -10), textcoords="offset points", fontsize=8, color=INK, parse_math=False, zorder=6)
    _front(panel, rows, one, axis)
    panel.set_xscale("log")
    ticks = _ticks(*panel.get_xlim())
    panel.set_xticks(ticks, [f"{value:,.10g}" for value in ticks])
    panel.set_xticks([], minor=True)
    panel.set_xlabel("\n".join(textwrap.wrap(f"{axis.kind} latency on {axis.label} (ms, log)", 64)), parse_math=False)
    panel.set_ylabel(f"{series.label} (%)", parse_math=False)
    panel.grid(alpha=0.22)
    panel.spines[["top", "right"]].set_visible(False)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers on a logarithmic axis: few of every decade, or evenly spaced ones where it holds but a part of one."""
    from matplotlib.ticker import MaxNLocator

    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [step * 10.0**power for power in decades for step in (1, 2, 5) if low <= step * 10.0**power <= high]
    return found if len(found) > 2 else [float(value) for value in MaxNLocator(4).tick_values(low, high) if low <= value <= high]


def _front(panel: Any, rows: list[ComparisonRow], one: Front, axis: Axis) -> None:
    """The front as steps, its members named."""
    members = sorted((row for row in rows if row.name in one.members), key=lambda row: row.values[axis.key].value)
    if not members:
        return
    xs, ys = [row.values[axis.key].value for row in members], [_ap(row) for row in members]
    end = max([row.values[axis.key].value for row in rows])
    panel.step([*xs, max(end, xs[-1])], [*ys, ys[-1]], where="post", color=FRONT, linewidth=1.4, alpha=0.6, zorder=3, label="front")
    panel.margins(x=0.12, y=0.08)
    for i, (row, x, y) in enumerate(zip(members, xs, ys, strict=True)):
        # Above and to the left no other member can lie; one close by on the right would be written over.
        crowded = i > 0 and xs[i] / xs[i - 1] < 1.1 and ys[i] - ys[i - 1] < 1.0
        panel.annotate(row.name, (x, y), (5, -9) if crowded else (-5, 5), textcoords="offset points", ha="left" if crowded else "right", fontsize=8, color=INK, parse_math=False, zorder=6)


def _marks(panel: Any, comparison: Comparison, axis: Axis) -> None:
    """Rows without AP: a line up from the axis, for their latency is all that is known."""
    label = "no AP yet"
    for row in comparison.without_ap():
        if axis.key in row.values:
            x = row.values[axis.key].value
            panel.axvline(x, color=BEST, linewidth=1.1, linestyle=(0, (4, 3)), zorder=2, label=label)
            # Above the front and to its left there is room.
            panel.annotate(
                row.name, (x, 0.98), (-3, 0), xycoords=("data", "axes fraction"), textcoords="offset points", rotation=90, fontsize=7.5,
                color=BUDGET, ha="right", va="top", parse_math=False,
            )  # fmt: skip
            label = "_"


def _ap(row: ComparisonRow) -> float:
    assert row.accuracy is not None
    return row.accuracy.ap
