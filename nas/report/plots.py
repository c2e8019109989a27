"""Pictures: the Pareto front, and a detector's architecture. Matplotlib arrives when one is drawn."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from search_spaces.architecture import Architecture

INK, FRONT, BEST, ANCHOR, BUDGET = "#222222", "#0072B2", "#D55E00", "#009E73", "#888888"
"""Okabe-Ito colours, told apart by colour-blind readers."""

MOST_POINTS = 3000


def front_png(
    xs: Sequence[float], scores: Sequence[float], x_label: str, best: tuple[float, float],
    budget_x: float | None = None, references: Sequence[tuple[str, float, float]] = (), title: str = "",
) -> bytes:  # fmt: skip
    """Score against the primary cost: the front as steps, the best, published detectors, the budget."""
    figure, axes = _figure(8.0, 5.0)
    step = max(1, len(xs) // MOST_POINTS)
    axes.step(xs[::step], scores[::step], where="post", color=FRONT, linewidth=1.2, zorder=2)
    axes.plot(xs[::step], scores[::step], ".", color=FRONT, markersize=3, label=f"front ({len(xs)} architectures)", zorder=3)
    axes.plot(*best, "*", color=BEST, markersize=15, label=f"best: {best[1]:.1f} at {best[0]:.4g}", zorder=5)
    for name, x, y in references:
        axes.plot(x, y, "D", color=ANCHOR, markersize=8, label=f"{name}, published: {y:.1f} at {x:.4g}", zorder=4)
    if budget_x is not None:
        axes.axvline(budget_x, color=BUDGET, linestyle="--", linewidth=1, label=f"budget {budget_x:.4g}", zorder=1)
    axes.set_xlabel(x_label)
    axes.set_ylabel("zero-shot score")
    axes.set_title(title, fontsize=10, color=INK)
    axes.grid(alpha=0.25)
    axes.margins(x=0.05, y=0.08)
    axes.legend(loc="lower right", fontsize=8, framealpha=0.95)
    return _png(figure)


def architecture_png(arch: Architecture, lines: Sequence[str] = ()) -> bytes:
    """The detector from image to boxes: one row a resolution, width of a box by its channels."""
    figure, axes = _figure(11.0, 6.4)
    strides = arch.strides
    level_y = {stride: -i for i, stride in enumerate(sorted({arch.stem.stride, *strides}))}
    widest = max(arch.stem.out, *(s.out for s in arch.stages))

    def box(x: float, y: float, width: float, text: str, colour: str) -> None:
        from matplotlib.patches import FancyBboxPatch

        axes.add_patch(FancyBboxPatch((x, y - 0.3), width, 0.6, boxstyle="round,pad=0.02", facecolor=colour, edgecolor=INK, linewidth=0.8, alpha=0.9))
        axes.text(x + width / 2, y, text, ha="center", va="center", fontsize=8, color=INK)

    def arrow(x0: float, y0: float, x1: float, y1: float, style: str = "-") -> None:
        axes.annotate("", (x1, y1), (x0, y0), arrowprops={"arrowstyle": "->", "color": INK, "linewidth": 0.9, "linestyle": style})

    def width_of(channels: int) -> float:
        return 1.35 + 0.6 * channels / widest

    y = float(level_y[arch.stem.stride])
    box(0.0, y, width_of(arch.stem.out), f"stem k{arch.stem.k}\n{'focus, ' if arch.stem.focus else ''}{arch.stem.out} ch", "#DDDDDD")
    ends, right, last = [], width_of(arch.stem.out), y
    for i, (stage, stride) in enumerate(zip(arch.stages, strides, strict=True), start=1):
        y = float(level_y[stride])
        x = right + 0.3 if y == last else right - 0.6
        if y == last:
            arrow(right, y, x, y)
        else:
            arrow(right - 0.3, last - 0.32, x + 0.3, y + 0.32)
        width = width_of(stage.out)
        box(x, y, width, f"stage {i}: {stage.depth} x {stage.kind}\n{stage.btn} -> {stage.out} ch, k{stage.k}", "#BFD8EA")
        right, last = x + width, y
        ends.append((right, y))
    if arch.neck is not None and arch.head is not None:
        neck_x = max(e[0] for e in ends) + 1.0
        rows = [ends[i] for i in arch.taps]
        for name, (end_x, end_y), channels in zip(("P3", "P4", "P5"), rows, arch.neck.out, strict=True):
            arrow(end_x, end_y, neck_x, end_y)
            axes.text((end_x + neck_x) / 2, end_y + 0.08, name, fontsize=8, color=INK, ha="center")
            box(neck_x, end_y, 1.9, f"RepGFPN\n{channels} ch", "#CDE8D6")
            arrow(neck_x + 1.9, end_y, neck_x + 2.5, end_y)
            box(neck_x + 2.5, end_y, 1.7, f"ZeroHead\n{arch.head.classes} classes, DFL {arch.head.reg_max + 1}", "#F6D9C4")
        for (_, upper), (_, lower) in zip(rows, rows[1:], strict=False):
            for shift in (0.6, 1.3):
                axes.annotate("", (neck_x + shift, lower + 0.33), (neck_x + shift, upper - 0.33), arrowprops={"arrowstyle": "<->", "color": INK, "linewidth": 0.8})
        right = neck_x + 4.2
    for stride, at in level_y.items():
        axes.text(-0.35, at, f"1/{stride}", ha="right", va="center", fontsize=8, color=BUDGET)
        axes.axhline(at, color="#EEEEEE", linewidth=0.8, zorder=0)
    lowest = min(level_y.values())
    for i, line in enumerate(lines):
        axes.text(0.0, lowest - 0.75 - 0.3 * i, line, fontsize=9, color=INK)
    axes.set_xlim(-1.0, max(right, max(e[0] for e in ends)) + 0.3)
    axes.set_ylim(lowest - 0.8 - 0.3 * max(1, len(lines)), 0.6)
    axes.set_title(f"{arch.name or arch.digest()}: style {arch.style}, {arch.act}" + (", SPP in the last stage" if arch.spp else ""), fontsize=10, color=INK)
    axes.axis("off")
    return _png(figure)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    """A figure of its own canvas (no global state, no display), sizes in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="tight")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white")
    return buffer.getvalue()
