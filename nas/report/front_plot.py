"""Plot of a Pareto front: score over the primary cost, the best candidate, published detectors and the budget."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from nas.report.canvas import ANCHOR, BEST, BUDGET, FRONT, INK, new_figure, to_png
from workbench.errors import BadInput

MAX_POINTS = 3000
"""Longer fronts are thinned to this number of points; both ends and the best always stay."""


def front_png(
    xs: Sequence[float],
    scores: Sequence[float],
    x_label: str,
    best: tuple[float, float],
    budget_x: float | None = None,
    references: Sequence[tuple[str, float, float]] = (),
    title: str = "",
    score: str = "zero-shot score",
) -> bytes:
    """Score over the primary cost: the front as steps, the best, published detectors, the budget.

    ``xs`` ascending, in the unit that ``x_label`` names; ``best`` (x, score) and ``references`` (name, x, score) in the
    same units. ``score`` is the label of the score axis.
    """
    if len(xs) != len(scores):
        raise BadInput(f"a front of {len(xs)} costs and {len(scores)} scores: there must be one score per cost")
    figure = new_figure(7.2, 5.2)
    axes = figure.add_subplot()
    keep = _thinned(len(xs))
    thin_x, thin_y = [xs[i] for i in keep], [scores[i] for i in keep]
    count = f"{len(xs):,} architecture{'' if len(xs) == 1 else 's'}"
    axes.step(thin_x, thin_y, where="post", color=FRONT, linewidth=1.2, zorder=2)
    axes.plot(thin_x, thin_y, "o", color=FRONT, markersize=3, label=f"Pareto front: {count}", zorder=3)
    edge = {"markeredgecolor": "white", "markeredgewidth": 0.6, "linestyle": "none"}
    label = f"best: score {best[1]:.6g} at {best[0]:.4g}"
    axes.plot(*best, "*", color=BEST, markersize=16, label=label, zorder=6, **edge)
    for i, (name, x, y) in enumerate(references):
        label = f"{name} (published): score {y:.6g} at {x:.4g}"
        axes.plot(x, y, "Ds^vP"[i % 5], color=ANCHOR, markersize=8, label=label, zorder=5, **edge)
    if budget_x is not None:
        axes.axvline(budget_x, color=BUDGET, linestyle="--", linewidth=1.1, label=f"budget: {budget_x:.4g}", zorder=1)
    axes.set_xlabel(x_label, parse_math=False)
    axes.set_ylabel(score)
    axes.set_title("\n".join(textwrap.wrap(title, 90)), fontsize=11, color=INK, parse_math=False)
    axes.grid(alpha=0.25)
    axes.margins(x=0.05, y=0.08)
    axes.spines[["top", "right"]].set_visible(False)
    _name_markers(axes, references)
    # Below the axes, where it covers nothing.
    figure.legend(loc="outside lower center", ncols=2, fontsize=8.5, frameon=False)
    return to_png(figure)


def _thinned(count: int) -> list[int]:
    """At most ``MAX_POINTS`` evenly spaced indices of ``range(count)``, the first and the last among them."""
    if count <= MAX_POINTS:
        return list(range(count))
    return [round(i * (count - 1) / (MAX_POINTS - 1)) for i in range(MAX_POINTS)]


def _name_markers(axes: Any, references: Sequence[tuple[str, float, float]]) -> None:
    """Names beside the markers, on the side with more room, each below the last where two would touch."""
    low, high = axes.get_xlim()
    bottom, top = axes.get_ylim()
    taken: list[tuple[float, float]] = []
    for name, x, y in references:
        across, up = (x - low) / (high - low), (y - bottom) / (top - bottom)
        left = across > 0.5
        drop = 0.0
        while any(abs(across - u) < 0.3 and abs(up - drop - v) < 0.045 for u, v in taken) and up - drop > 0.05:
            drop += 0.045
        taken.append((across, up - drop))
        axes.annotate(
            name, (x, y), (-9 if left else 9, -3 - drop * 260), textcoords="offset points", fontsize=8.5, color=INK,
            ha="right" if left else "left", parse_math=False, annotation_clip=True, zorder=7,
            bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        )  # fmt: skip
