"""A picture of trained detectors: AP against cost, finds and stock models, and the front of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nas.report.plots import ANCHOR, BUDGET, FRONT, INK, _figure, _png

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
    """Filled markers lie on the front. It is drawn as steps: at a cost, the best AP that no greater cost is needed for."""
    figure = _figure(7.2, 5.2)
    axes = figure.add_subplot()
    front = sorted((mark for mark in marks if mark.front), key=lambda mark: mark.x)
    axes.step([mark.x for mark in front], [100 * mark.ap for mark in front], where="post", color=BUDGET, linewidth=1.2, label="front of all trained", zorder=2)
    for stock, colour, marker, word in ((False, FRONT, "o", "found"), (True, ANCHOR, "D", "stock model")):
        for filled in (True, False):
            some = [mark for mark in marks if mark.stock == stock and mark.front == filled]
            if some:
                axes.plot(
                    [mark.x for mark in some], [100 * mark.ap for mark in some], marker, color=colour, markersize=8, linestyle="none", zorder=4,
                    markerfacecolor=colour if filled else "white", label=word if filled else f"{word}, beaten",
                )  # fmt: skip
    axes.margins(x=0.12, y=0.12)
    _names(axes, marks)
    axes.set_xlabel(x_label, parse_math=False)
    axes.set_ylabel("AP on your validation pictures, %")
    axes.set_title(title, fontsize=11, color=INK, parse_math=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8.5, frameon=False)
    return _png(figure)


def _names(axes: Any, marks: Sequence[Mark]) -> None:
    """Names above the markers of the front, below those that are beaten: the front's line runs through neither place."""
    low, high = axes.get_xlim()
    bottom, top = axes.get_ylim()
    taken: list[tuple[float, float]] = []
    for mark in sorted(marks, key=lambda one: -one.ap):
        across, up = (mark.x - low) / (high - low), (100 * mark.ap - bottom) / (top - bottom)
        way = 1 if mark.front else -1
        place = up + way * NAME_GAP
        while any(abs(across - u) < NAME_WIDTH and abs(place - v) < NAME_HEIGHT for u, v in taken) and 0 < place < 1:
            place += way * NAME_HEIGHT / 3
        taken.append((across, place))
        axes.annotate(
            mark.name, (across, place), xycoords="axes fraction", ha="right" if across > 0.85 else "left" if across < 0.15 or not mark.front else "center", va="center",
            fontsize=8.5, color=INK, parse_math=False, zorder=6,
        )  # fmt: skip
