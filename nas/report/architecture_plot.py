"""Drawing of an architecture as a PNG: stem and stages by resolution, the neck's merge nodes, the head's levels."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from nas.report.canvas import BUDGET, INK, new_figure, to_png
from search_spaces.architecture import Architecture, Stage
from search_spaces.lowering import stage_flags

STEM_FILL, STAGE_FILL, NECK_FILL, HEAD_FILL = "#DDDDDD", "#BFD8EA", "#CDE8D6", "#F6D9C4"
ROW, HALF = 1.05, 0.33
"""Inches from one resolution to the next, and half the height of a box."""


def architecture_png(arch: Architecture, lines: Sequence[str] = ()) -> bytes:
    """Draw the detector from image to boxes: one row per resolution, boxes wider with more channels.

    ``lines`` are printed beneath. One unit of the drawing is one inch.
    """
    sketch = _Sketch(arch)
    sketch.backbone()
    if arch.neck is not None and arch.head is not None:
        sketch.neck_and_head()
    return sketch.finish(lines)


class _Sketch:
    """Boxes, texts and arrows of the drawing; coordinates in inches, y upwards."""

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        levels = sorted({arch.stem.stride, *arch.strides})
        self.level_y = {stride: -ROW * row for row, stride in enumerate(levels)}
        self.widest = max(arch.stem.out, *(stage.out for stage in arch.stages))
        self.patches: list[tuple[float, float, float, float, str]] = []
        self.texts: list[tuple[float, float, str, dict[str, Any]]] = []
        self.arrows: list[tuple[tuple[float, float], tuple[float, float]]] = []
        self.dots: list[tuple[float, float]] = []
        self.ends: list[tuple[float, float]] = []
        """Right edge and y of every stage."""
        self.right = 0.0

    def box(self, x: float, y: float, width: float, head: str, body: Sequence[str], fill: str) -> None:
        """Add a rounded box with a bold first line."""
        self.patches.append((x, y, width, HALF, fill))
        middle = x + width / 2
        self.texts.append((middle, y + 0.17, head, {"ha": "center", "va": "center", "fontsize": 8, "weight": "bold"}))
        for i, line in enumerate(body):
            at = y + (0.0 if len(body) > 1 else -0.08) - 0.16 * i
            self.texts.append((middle, at, line, {"ha": "center", "va": "center", "fontsize": 7.5}))
        self.right = max(self.right, x + width)

    def width_of(self, channels: int) -> float:
        """Inches: enough for the text, and more with more channels."""
        return 1.25 + 0.95 * channels / self.widest

    def backbone(self) -> None:
        """Add stem and stages, each resolution in its row."""
        arch = self.arch
        stem, y = arch.stem, self.level_y[arch.stem.stride]
        x, width = 0.0, self.width_of(stem.out)
        how = f"focus + conv k{stem.k}" if stem.focus else f"conv k{stem.k}, stride {stem.stride}"
        self.box(x, y, width, "stem", [how, f"{12 if stem.focus else 3} → {stem.out} ch"], STEM_FILL)
        cin = stem.out
        for i, (stage, stride) in enumerate(zip(arch.stages, arch.strides, strict=True)):
            below = self.level_y[stride]
            new_width = self.width_of(stage.out)
            if below == y:
                new_x = x + width + 0.35
                self.arrows.append(((x + width, y), (new_x, y)))
            else:
                new_x = x + min(0.9, width - 0.5)
                column = (new_x + x + width) / 2
                self.arrows.append(((column, y - HALF), (column, below + HALF)))
            spp = " + SPP" if stage_flags(arch.style, arch.stages, i, arch.spp)["spp"] else ""
            self.box(new_x, below, new_width, f"stage {i + 1}{spp}", _stage_lines(stage, cin), STAGE_FILL)
            x, y, width, cin = new_x, below, new_width, stage.out
            self.ends.append((x + width, y))

    def neck_and_head(self) -> None:
        """Add RepGFPN's five merge nodes as DAMO-YOLO wires them, and the three levels of ZeroHead.

        An arrow upwards doubles the resolution, one downwards is a conv of stride 2.
        """
        neck, head = self.arch.neck, self.arch.head
        assert neck is not None and head is not None
        taps = [self.ends[i] for i in self.arch.taps]
        (end3, y3), (end4, y4), (end5, y5) = taps
        c4, c5 = self.arch.tap_channels[1:]
        left = self.right + 0.75
        width, pitch = 1.15, 0.95
        places = {
            3: (left, y5, c5), 4: (left + pitch, y4, c4), 5: (left + 2 * pitch, y3, neck.out[0]),
            7: (left + 3 * pitch, y4, neck.out[1]), 6: (left + 4 * pitch, y5, neck.out[2]),
        }  # fmt: skip
        for node, (x, y, channels) in places.items():
            self.box(x, y, width, f"merge {node}", [f"{channels} ch"], NECK_FILL)

        def across(start: float, y: float, node: int) -> None:
            self.arrows.append(((start, y), (places[node][0], y)))

        def between(source: int, target: int) -> None:
            (x0, y0, _), (x1, y1, _) = places[source], places[target]
            column, sign = (max(x0, x1) + min(x0, x1) + width) / 2, 1 if y1 > y0 else -1
            self.arrows.append(((column, y0 + sign * HALF), (column, y1 - sign * HALF)))

        def branch(y: float, node: int, at: float) -> None:
            x, below, _ = places[node]
            self.dots.append((x + at, y))
            self.arrows.append(((x + at, y), (x + at, below + HALF)))

        for name, end, y, node in (("P3", end3, y3, 5), ("P4", end4, y4, 4), ("P5", end5, y5, 3)):
            across(end, y, node)
            bold = {"ha": "left", "va": "center", "fontsize": 8.5, "weight": "bold"}
            self.texts.append((end + 0.12, y + 0.11, name, bold))
        branch(y4, 3, 0.35)
        branch(y3, 4, 0.45)
        between(3, 4)
        between(4, 5)
        between(5, 7)
        between(7, 6)
        across(places[4][0] + width, y4, 7)
        across(places[3][0] + width, y5, 6)
        self.arrows.append(((places[4][0] + width - 0.12, y4 - HALF), (places[6][0], y5 + 0.2)))
        at = self.right + 0.45
        bins = head.reg_max + 1
        for name, node in (("P3", 5), ("P4", 7), ("P5", 6)):
            x, y, _ = places[node]
            self.arrows.append(((x + width, y), (at, y)))
            self.box(at, y, 1.25, f"head {name}", [f"{head.classes} classes", f"4 × {bins} box bins"], HEAD_FILL)
        title = {"ha": "center", "va": "bottom", "fontsize": 9, "weight": "bold"}
        small = {"ha": "center", "va": "bottom", "fontsize": 7.5}
        middle = places[5][0] + width / 2
        wide = ", depth-wise" if neck.depthwise else ""
        self.texts.append((middle, y3 + HALF + 0.24, "RepGFPN neck", title))
        facts = f"{round(3 * neck.depth)} fusion layers a node, hidden × {neck.hidden_ratio:g}, {neck.act}{wide}"
        self.texts.append((middle, y3 + HALF + 0.09, facts, small))
        self.texts.append((at + 0.625, y3 + HALF + 0.24, "ZeroHead", title))
        self.texts.append((at + 0.625, y3 + HALF + 0.09, f"convs k{head.k}", small))

    def finish(self, lines: Sequence[str]) -> bytes:
        """Draw everything on a canvas of the right size; the PNG."""
        from matplotlib.patches import FancyBboxPatch

        arch = self.arch
        bottom = min(self.level_y.values()) - HALF
        right = max(self.right, 5.0)
        wrapped = [part for line in lines for part in (textwrap.wrap(line, int(right * 13.5)) or [""])]
        low, high = bottom - 0.2 - 0.22 * len(wrapped), HALF + 0.5
        left, right = -0.75, right + 0.25
        figure = new_figure(right - left, high - low, layout=None)
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_xlim(left, right)
        axes.set_ylim(low, high)
        axes.axis("off")
        for stride, y in self.level_y.items():
            axes.plot((-0.15, right - 0.2), (y, y), color="#E8E8E8", linewidth=0.8, zorder=0)
            axes.text(-0.2, y, f"1/{stride}", ha="right", va="center", fontsize=8.5, color=BUDGET)
        for x, y, width, half, fill in self.patches:
            shape = "round,pad=0,rounding_size=0.07"
            look: dict[str, Any] = {"facecolor": fill, "edgecolor": INK, "linewidth": 0.8, "zorder": 3}
            axes.add_patch(FancyBboxPatch((x, y - half), width, 2 * half, boxstyle=shape, **look))
        for start, end in self.arrows:
            arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 0.9, "mutation_scale": 9}
            axes.annotate("", end, start, arrowprops={**arrow, "shrinkA": 0, "shrinkB": 0}, zorder=2)
        for x, y in self.dots:
            axes.plot(x, y, "o", color=INK, markersize=3.5, zorder=4)
        for x, y, text, style in self.texts:
            axes.text(x, y, text, color=INK, zorder=5, parse_math=False, **style)
        part = "detector" if arch.neck else "backbone alone"
        title = f"{arch.name or arch.digest()}: style {arch.style}, {arch.act}, {part}"
        axes.text(-0.55, HALF + 0.28, title, fontsize=11, weight="bold", color=INK, va="center", parse_math=False)
        for i, line in enumerate(wrapped):
            axes.text(-0.55, bottom - 0.25 - 0.22 * i, line, fontsize=9.5, color=INK, va="center", parse_math=False)
        return to_png(figure)


def _stage_lines(stage: Stage, cin: int) -> list[str]:
    """What a stage's box says: depth, kind and kernel; channels in, inside and out."""
    inner = f" → {stage.btn}" if stage.kind != "conv" else ""
    return [f"{stage.depth} × {stage.kind}, k{stage.k}", f"{cin}{inner} → {stage.out} ch"]
