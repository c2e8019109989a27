"""Picture of the atlas: AP over a cost, families as lines, labels that do not collide."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.detectors.listing import AtlasList
from nas.report.canvas import COLOURS, INK, MARKERS, new_figure, round_ticks, to_png
from workbench.errors import BadInput

LABEL = 7.0
"""Font size of names in points."""
OFFSETS = tuple(
    (radius * math.cos(angle), radius * math.sin(angle))
    for radius in (7, 13, 20, 28)
    for angle in (0.0, math.pi / 2, math.pi, -math.pi / 2, math.pi / 4, 3 * math.pi / 4, -math.pi / 4, -3 * math.pi / 4)
)
"""Where a name may stand, in points from its marker: near places first. One without a free place is left out."""


@dataclass(frozen=True)
class Point:
    """One entry of the picture: its name, family, cost and AP in percent."""

    name: str
    family: str
    cost: float
    ap: float


def points_of(listed: AtlasList) -> list[Point]:
    """The entries that have the last cost of the list."""
    column = listed.costs[-1]
    costs = [(entry, column.of(listed.atlas, entry)) for entry in listed.entries]
    points = [Point(e.name, e.family, cost, 100 * e.ap) for e, cost in costs if cost is not None and cost > 0]
    if not points:
        raise BadInput(f"no entry that is listed has a value of {column.name!r}: draw another cost")
    tasks = sorted({entry.column for entry in listed.entries})
    if len(tasks) > 1:
        raise BadInput(f"--plot draws one task, these entries are of {', '.join(tasks)}: name one with --task")
    return points


def atlas_png(points: Sequence[Point], label: str, title: str) -> bytes:
    """AP over the cost on a logarithmic axis.

    A family's line joins the best entry of each of its networks; open markers are their other trainings.
    """
    families = list(dict.fromkeys(point.family for point in sorted(points, key=lambda point: point.family.lower())))
    figure = new_figure(11, 7.4)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    styles = {family: _style(place) for place, family in enumerate(families)}
    for family in families:
        members = [point for point in points if point.family == family]
        best = _best(members)
        style = styles[family] | {"markersize": 4.5, "alpha": 0.85}
        axes.plot([p.cost for p in best], [p.ap for p in best], linewidth=1.1, label=family, **style)
        others = [point for point in members if point not in best]
        style["linestyle"] = "none"
        axes.plot([p.cost for p in others], [p.ap for p in others], markerfacecolor="white", **style)
    axes.margins(x=0.06, y=0.06)
    axes.set_xlabel(f"{label} (log)", parse_math=False)
    axes.set_ylabel("AP, %")
    axes.set_title(title, fontsize=11, color=INK, parse_math=False)
    axes.grid(alpha=0.22)
    axes.spines[["top", "right"]].set_visible(False)
    ticks = round_ticks(*axes.get_xlim())
    axes.set_xticks(ticks, [f"{value:,.10g}" for value in ticks])
    axes.set_xticks([], minor=True)
    columns = max(1, min(8, len(families)))
    figure.legend(loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
    figure.canvas.draw()  # fixes the layout, by which names are placed
    _name_points(axes, points, styles)
    return to_png(figure)


def _best(points: Sequence[Point]) -> list[Point]:
    """Of every network the entry of the highest AP, from the lowest cost to the highest."""
    best: dict[tuple[str, float], Point] = {}
    for point in sorted(points, key=lambda point: -point.ap):
        best.setdefault((point.name, point.cost), point)
    return sorted(best.values(), key=lambda point: point.cost)


def _style(place: int) -> dict[str, Any]:
    """Color, marker and dash of a family: no two of thirty look alike."""
    dashes = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (5, 1, 1, 1)))
    turn = place // len(COLOURS)
    return {
        "color": COLOURS[place % len(COLOURS)],
        "marker": MARKERS[(place + turn) % len(MARKERS)],
        "linestyle": dashes[turn % len(dashes)],
    }


def _name_points(axes: Any, points: Sequence[Point], styles: Mapping[str, dict[str, Any]]) -> None:
    """Names where they cover neither markers nor names: the front first, then from the highest AP."""
    scale = axes.figure.dpi / 72
    at = {id(point): axes.transData.transform((point.cost, point.ap)) for point in points}
    taken = [_box(x, y, 5 * scale, 5 * scale) for x, y in at.values()]
    window = axes.get_window_extent()
    for point in sorted(_best(points), key=lambda point: (not _on_front(point, points), -point.ap)):
        x, y = at[id(point)]
        text = axes.text(
            point.cost, point.ap, point.name, fontsize=LABEL, ha="center", va="center", parse_math=False, zorder=5,
            color=styles[point.family]["color"],
        )  # fmt: skip
        extent = text.get_window_extent()
        for right, up in OFFSETS:
            shift = math.copysign(extent.width / 2, right) if abs(right) > 1 else 0.0
            center = x + right * scale + shift, y + up * scale
            box = _box(*center, extent.width + 1, extent.height + 1)
            inside = window.x0 < box[0] and box[2] < window.x1 and window.y0 < box[1] and box[3] < window.y1
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                text.set_position(axes.transData.inverted().transform(center))
                break
        else:
            text.remove()


def _on_front(point: Point, points: Sequence[Point]) -> bool:
    return not any(p.ap > point.ap and p.cost <= point.cost for p in points)


def _box(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
