"""The figure that every plot is drawn on, its PNG, and the colors and markers. Matplotlib is imported on first use."""

from __future__ import annotations

import io
import math
from typing import Any

INK, FRONT, BEST, ANCHOR, BUDGET = "#222222", "#0072B2", "#D55E00", "#009E73", "#666666"
"""Okabe-Ito colors, which color-blind readers can tell apart; markers differ in shape as well."""
COLOURS = (FRONT, ANCHOR, "#D55E00", "#CC79A7", "#E69F00", "#56B4E9", "#222222", "#999999", "#B8A800")
MARKERS = "osD^vP*X<>hp"
DPI = 120


def new_figure(width: float, height: float, layout: Any = "constrained") -> Any:
    """A figure on its own canvas (no global state, no display), sizes in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def to_png(figure: Any) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white")
    return buffer.getvalue()


def round_ticks(low: float, high: float) -> list[float]:
    """Round numbers on a logarithmic axis: few per decade, or evenly spaced ones if it covers only part of one."""
    from matplotlib.ticker import MaxNLocator

    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**power for power in decades for step in (1, 2, 5) if low <= step * 10.0**power <= high]
    if len(ticks) > 2:
        return ticks
    return [float(value) for value in MaxNLocator(4).tick_values(low, high) if low <= value <= high]
