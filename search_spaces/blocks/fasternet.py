"""Block kind ``fasternet``: FasterNet's block, whose kxk convolution reads and writes a quarter of the channels."""

from __future__ import annotations

from search_spaces.blocks.base import ANY_STYLE, BlockNumbers, ChainKind
from search_spaces.blocks.wiring import differ, partial_conv
from search_spaces.graph_builder import GraphBuilder
from search_spaces.ops import Num
from search_spaces.stage import Stage
from workbench.errors import BadInput

PARTS = 4
"""The partial convolution has one in so many channels."""


class FasterNet(ChainKind):
    """Partial kxk, then 1x1 to ``btn`` and 1x1 back, with a residual around all three.

    Before the first block a 2x2 conv of stride 2 merges pixels; at stride 1 a 1x1 takes its place where the width
    changes. In a graph the partial convolution is two slices, a convolution and a concat.
    """

    name, style = "fasternet", ANY_STYLE

    def check(self, stage: Stage, index: int, before: Stage | None) -> None:
        super().check(stage, index, before)
        if stage.out < PARTS:
            raise BadInput(f"stages[{index}]: out {stage.out} of kind {self.name!r} must be at least {PARTS}")

    def layers(self, depth: Num, stride: int = 1) -> Num:
        return super().layers(depth) + (stride == 2)  # the merge

    def deploy_block(self, g: GraphBuilder, x: int, block: BlockNumbers) -> int:
        if block.stride == 2:
            cin = g.channels(x)
            x = g.single("conv", x, "merge", block.out, cin=cin, cout=block.out, k=(2, 2), s=(2, 2), bias=True)
        else:
            x = g.conv(x, block.out, name="merge", when=differ(g.channels(x), block.out))
        y = partial_conv(g, x, block.out // PARTS, block.k)
        y = g.conv(y, block.btn, act=block.act, name="widen")
        return g.join("add", g.conv(y, block.out, name="narrow"), x)
