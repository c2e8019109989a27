"""Plot of trained detectors: AP over cost, candidates of a search and stock models, and their common front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nas.report.canvas import ANCHOR, BUDGET, FRONT, INK, new_figure, to_png

NAME_GAP, NAME_WIDTH, NAME_HEIGHT = 0.035, 0.2, 0.04
"""From a marker to the middle of its name, and the room of a name, as shares of the axes."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One detector: ``x`` in the unit of the axis, AP from 0 to 1."""

    name: str
    x: float
    ap: float
    stock: bool
    front: bool


def trained_png(marks: Sequence[Mark], x_label: str, title: str) -> bytes:
    """AP over cost. Filled markers are on the front, whose steps show the best AP at or below each cost."""
    figure = new_figure(7.2, 5.2)
    axes = figure.add_subplot()
    front = sorted((mark for mark in marks if mark.front), key=lambda mark: mark.x)
    xs, aps = [mark.x for mark in front], [100 * mark.ap for mark in front]
    axes.step(xs, aps, where="post", color=BUDGET, linewidth=1.2, label="front of all trained", zorder=2)
    for stock, color, marker, label in ((False, FRONT, "o", "found"), (True, ANCHOR, "D", "stock model")):
        for filled in (True, False):
            group = [mark for mark in marks if mark.stock == stock and mark.front == filled]
            if group:
                axes.plot(
                    [mark.x for mark in group], [100 * mark.ap for mark in group], marker, color=color, markersize=8,
                    markerfacecolor=color if filled else "white", linestyle="none", zorder=4,
                    label=label if filled else f"{label}, dominated",
                )  # fmt: skip
    axes.margins(x=0.12, y=0.12)
    _add_names(axes, marks)
    axes.set_xlabel(x_label, parse_math=False)
    axes.set_ylabel("AP on your validation images, %")
    axes.set_title(title, fontsize=11, color=INK, parse_math=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8.5, frameon=False)
    return to_png(figure)


def _add_names(axes: Any, marks: Sequence[Mark]) -> None:
    """Names above the markers on the front and below the others, where the front's line does not cross them."""
    low, high = axes.get_xlim()
    bottom, top = axes.get_ylim()
    taken: list[tuple[float, float]] = []
    for mark in sorted(marks, key=lambda mark: -mark.ap):
        across, up = (mark.x - low) / (high - low), (100 * mark.ap - bottom) / (top - bottom)
        sign = 1 if mark.front else -1
        place = up + sign * NAME_GAP
        while any(abs(across - u) < NAME_WIDTH and abs(place - v) < NAME_HEIGHT for u, v in taken) and 0 < place < 1:
            place += sign * NAME_HEIGHT / 3
        taken.append((across, place))
        align = "right" if across > 0.85 else "left" if across < 0.15 or not mark.front else "center"
        axes.annotate(
            mark.name, (across, place), xycoords="axes fraction", ha=align, va="center", fontsize=8.5, color=INK,
            parse_math=False, zorder=6,
        )  # fmt: skip
