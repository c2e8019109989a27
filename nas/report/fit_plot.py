"""Plot of a profile's error: predicted against measured latency, one color and marker per family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nas.report.canvas import COLOURS, INK, MARKERS, new_figure, to_png

if TYPE_CHECKING:
    from nas.devices.fitting.errors import MeasuredPrediction

MAX_PER_FAMILY = 1000
"""Larger families are thinned evenly."""


def predicted_png(title: str, rows: Sequence[MeasuredPrediction]) -> bytes:
    """Both axes in ms and logarithmic; the line is agreement, the band 10 % to either side."""
    from matplotlib.ticker import LogLocator

    figure = new_figure(6.4, 6.4)
    axes = figure.add_subplot()
    ends = [value for row in rows for value in (row.measured_ms, row.predicted_ms)]
    line = np.array([min(ends) * 0.9, max(ends) * 1.1])
    axes.fill_between(line, line * 0.9, line * 1.1, color="#EEEEEE", label="10 % off", zorder=0)
    axes.plot(line, line, color=INK, linewidth=0.8, zorder=1)
    for number, family in enumerate(dict.fromkeys(row.family for row in rows)):
        members = [row for row in rows if row.family == family]
        error = np.mean([abs(row.percent) for row in members])
        shown = members[:: -(-len(members) // MAX_PER_FAMILY)]
        axes.plot(
            [row.measured_ms for row in shown], [row.predicted_ms for row in shown], MARKERS[number % len(MARKERS)],
            color=COLOURS[number % len(COLOURS)], markersize=4, alpha=0.75, markeredgewidth=0,
            label=f"{family} ({error:.1f} %)",
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    axes.set_xlim(*line)
    axes.set_ylim(*line)
    axes.set_xlabel("measured ms")
    axes.set_ylabel("predicted ms")
    axes.set_title(title, fontsize=11, color=INK, loc="left", parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="upper left", title="family (mean error)", title_fontsize=8)
    return to_png(figure)
