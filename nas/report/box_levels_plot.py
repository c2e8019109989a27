"""Plot of a data set's boxes against a detector's levels: box sizes beside the levels' cells, and what a larger input
side would change."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.report.canvas import ANCHOR, BEST, BUDGET, FRONT, INK, new_figure, to_png
from workbench.errors import BadInput

if TYPE_CHECKING:
    from distill.data.check.box_levels import BoxLevels

BINS_AN_OCTAVE = 4
CURVE_POINTS = 33
CURVES = ((4, ANCHOR, "s"), (8, FRONT, "o"))
"""Strides with a curve, its color and the marker of the counted sides."""
BANDS = ("#F2D3C2", "#F6E0D4", "#FAECE4", "#FDF6F2")
"""Below a cell of each stride, finest first."""


def box_levels_png(levels: BoxLevels, title: str = "") -> bytes:
    """The figure of ``plot_box_levels`` as a PNG file."""
    return to_png(plot_box_levels(levels, title))


def plot_box_levels(levels: BoxLevels, title: str = "") -> Any:
    """Two panels: how large the boxes are at the chosen input side, and the share below one cell at every side."""
    if not levels.boxes:
        raise BadInput(f"{levels.path}: split {levels.split!r} has no box to draw")
    figure = new_figure(11.0, 4.9)
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    _draw_sizes(left, levels)
    _draw_curves(right, levels)
    figure.suptitle(
        "\n".join(textwrap.wrap(title or f"{levels.path.name}: {levels.boxes:,} boxes of split {levels.split}", 110)),
        fontsize=11, color=INK, x=0.01, ha="left", parse_math=False,
    )  # fmt: skip
    return figure


def _draw_sizes(axes: Any, levels: BoxLevels) -> None:
    """Shorter and longer sides in pixels of the input on a logarithmic axis; bands end at one cell of each level."""
    placed = levels.sizes.at(levels.input_px, levels.resize)
    strides = [level.stride for level in levels.chosen.levels]
    low = min(float(placed.shorter.min()), strides[0] / 2)
    first, last = np.floor(np.log2(low)), np.ceil(np.log2(max(levels.input_px, 2 * strides[-1])))
    edges = 2.0 ** np.arange(first, last + 0.5 / BINS_AN_OCTAVE, 1 / BINS_AN_OCTAVE)
    weights = np.full(levels.boxes, 100 / levels.boxes)
    start = edges[0]
    for stride, color in zip(strides, BANDS, strict=True):
        axes.axvspan(start, stride, color=color, zorder=0, linewidth=0)
        axes.axvline(stride, color=BUDGET, linewidth=0.8, linestyle=":", zorder=1)
        start = stride
    axes.hist(placed.shorter, edges, weights=weights, color=FRONT, alpha=0.75, label="shorter side", zorder=2)
    axes.hist(
        placed.longer, edges, weights=weights, histtype="step", color=INK, linewidth=1.3, label="longer side", zorder=3
    )
    axes.set_xscale("log", base=2)
    axes.set_xlim(edges[0], edges[-1])
    step = -(-int(last - first) // 12)
    axes.set_xticks(2.0 ** np.arange(first, last + 1, step))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel(f"pixels at an input of {levels.input_px} px")
    axes.set_ylabel("% of the boxes")
    above = axes.secondary_xaxis("top")
    for axis in (axes, above):
        axis.minorticks_off()
    above.set_xticks(strides, [str(stride) for stride in strides])
    above.set_xlabel("one cell of the level of stride", fontsize=9)
    above.tick_params(labelsize=9)
    axes.spines["right"].set_visible(False)
    axes.margins(y=0.08)
    axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2, fontsize=9, frameon=False)


def _draw_curves(axes: Any, levels: BoxLevels) -> None:
    """Share of the boxes whose shorter side is below one cell, over the input side."""
    sides = [side.input_px for side in levels.sides]
    grid = np.unique(np.geomspace(sides[0], sides[-1], CURVE_POINTS).round().astype(int))
    shorter = {side: levels.sizes.at(side, levels.resize).shorter for side in grid.tolist()}
    for stride, color, marker in CURVES:
        shares = [100 * float((shorter[side] < stride).mean()) for side in grid.tolist()]
        counted = [100 * side.level(stride).shorter_below / levels.boxes for side in levels.sides]
        label = f"below a cell of stride {stride}"
        axes.plot(grid, shares, color=color, linewidth=1.4, zorder=2)
        axes.plot(sides, counted, marker, color=color, markersize=5, label=label, zorder=3)
    axes.axvline(levels.input_px, color=BEST, linestyle="--", linewidth=1.1, label="this input", zorder=1)
    axes.set_xlim(sides[0] * 0.95, sides[-1] * 1.05)
    axes.set_ylim(0, max(1.0, axes.get_ylim()[1]))
    axes.set_xlabel("input side in pixels")
    axes.set_ylabel("% of the boxes")
    axes.set_title("shorter side below one cell", fontsize=10, color=INK)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside lower right", ncols=3, fontsize=9, frameon=False)
