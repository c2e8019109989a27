"""Drawing of an architecture as a PNG: stem and stages by resolution, the neck's merge nodes, the head's levels."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from nas.report.canvas import BUDGET, INK, new_figure, to_png
from nas.report.neck_words import box_words, head_facts, head_title, neck_facts, node_kind
from search_spaces.architecture import Architecture, Stage
from search_spaces.lowering import stage_flags
from search_spaces.neck import level_name
from search_spaces.necks import NECK_KINDS
from search_spaces.necks.base import SAME, map_name

STEM_FILL, STAGE_FILL, NECK_FILL, HEAD_FILL = "#DDDDDD", "#BFD8EA", "#CDE8D6", "#F6D9C4"
ROW, HALF = 1.05, 0.33
"""Inches from one resolution to the next, and half the height of a box."""
NODE_WIDTH, NODE_PITCH, BRANCH_AT = 1.15, 0.95, 0.4
"""Inches: width of a node of the neck, from one to the next, and from its left edge to a line that branches off."""
LEVEL_TEXT: dict[str, Any] = {"ha": "left", "va": "center", "fontsize": 8.5, "weight": "bold"}


def architecture_png(arch: Architecture, lines: Sequence[str] = ()) -> bytes:
    """Draw the detector from image to boxes: one row per resolution, boxes wider with more channels.

    ``lines`` are printed beneath. One unit of the drawing is one inch.
    """
    sketch = _Sketch(arch)
    sketch.backbone()
    if arch.neck is not None and arch.head is not None:
        sketch.neck()
        sketch.head()
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
        self.places: dict[str, tuple[float, float, float]] = {}
        """Left edge, width and y of every node of the neck; a map of the backbone is its stage's right edge."""
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

    def neck(self) -> None:
        """Add the neck's nodes, a column each in the order of computation, and what connects them.

        An arrow upwards doubles the resolution, one downwards is a conv of stride 2.
        """
        neck = self.arch.neck
        assert neck is not None
        kind = NECK_KINDS[neck.kind]
        nodes, widths = kind.nodes(neck.strides), kind.widths(neck, self.arch.tap_channels)
        left = self.right + 0.75
        for stride, tap in zip(neck.strides, self.arch.taps, strict=True):
            end, y = self.ends[tap]
            self.places[map_name(stride)] = (end, 0.0, y)
            self.texts.append((end + 0.12, y + 0.11, level_name(stride).upper(), LEVEL_TEXT))
        for column, node in enumerate(nodes):
            self.places[node.name] = (left + NODE_PITCH * column, NODE_WIDTH, self.level_y[neck.strides[node.level]])
        reach = dict.fromkeys(self.places, 0.0)  # how far to the right the line from a map runs in its row
        for node in nodes:
            for link in node.links:
                if link.move == SAME:
                    reach[link.source] = self.places[node.name][0]
        for index, node in enumerate(nodes):
            x, width, y = self.places[node.name]
            block = node_kind(neck, index)
            depth = f"{kind.blocks(neck)} × " if block else ""
            body = [f"{depth}{block}", f"{widths[node.name]} ch"] if block else [f"{widths[node.name]} ch"]
            self.box(x, y, width, node.name.replace("_", " "), body, NECK_FILL)
            for link in node.links:
                self.connect(link.source, node.name, link.move, reach[link.source])
        wide = NODE_PITCH * (len(nodes) - 1) + NODE_WIDTH
        self.caption(left + wide / 2, wide, f"{kind.title} neck", neck_facts(neck, "×"))

    def connect(self, source: str, target: str, move: str, reach: float) -> None:
        """Draw the arrow from a map to a node. The line from the map in its row ends at ``reach``."""
        (x0, width, y0), (x1, _, y1) = self.places[source], self.places[target]
        sign = 1 if y1 > y0 else -1
        if move == SAME:
            self.arrows.append(((x0 + width, y0), (x1, y1)))
        elif x1 < x0 + width:  # the next column
            column = (x0 + width + x1) / 2
            self.arrows.append(((column, y0 + sign * HALF), (column, y1 - sign * HALF)))
        elif reach > x1 + BRANCH_AT:
            self.dots.append((x1 + BRANCH_AT, y0))
            self.arrows.append(((x1 + BRANCH_AT, y0), (x1 + BRANCH_AT, y1 - sign * HALF)))
        else:
            self.arrows.append(((x0 + width - 0.12, y0 + sign * HALF), (x1, y1 - sign * 0.2)))

    def head(self) -> None:
        """Add the levels of the head, one behind each output of the neck."""
        neck, head = self.arch.neck, self.arch.head
        assert neck is not None and head is not None
        at = self.right + 0.45
        for stride, end in zip(neck.strides, NECK_KINDS[neck.kind].outputs(neck.strides), strict=True):
            x, width, y = self.places[end]
            self.arrows.append(((x + width, y), (at, y)))
            body = [f"{head.classes} classes", box_words(head, "×")]
            self.box(at, y, 1.25, f"head {level_name(stride).upper()}", body, HEAD_FILL)
        self.caption(at + 0.625, 1.6, head_title(head), f"convs {head_facts(head)}")

    def caption(self, x: float, wide: float, title: str, facts: str) -> None:
        """A title and facts above the finest level, centered at ``x``, the facts in lines of ``wide`` inches."""
        neck = self.arch.neck
        assert neck is not None
        y = self.level_y[neck.strides[0]] + HALF + 0.09
        for line in reversed(textwrap.wrap(facts, int(wide * 15))):
            self.texts.append((x, y, line, {"ha": "center", "va": "bottom", "fontsize": 7.5}))
            y += 0.15
        self.texts.append((x, y, title, {"ha": "center", "va": "bottom", "fontsize": 9, "weight": "bold"}))

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
