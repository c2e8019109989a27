"""Block kind ``spp``: the spatial pyramid of YOLOX and RTMDet as a stage."""

from __future__ import annotations

from search_spaces.blocks.base import ANY_STYLE, BlockNumbers, ChainKind
from search_spaces.graph_builder import GraphBuilder

POOLS = (5, 9, 13)
"""Kernels of the max pools that stand side by side."""


class SPPStage(ChainKind):
    """1x1 to ``btn``, max pools 5, 9 and 13 side by side, all joined by a 1x1 to ``out``. ``k`` is unused."""

    name, style, max_depth, strides = "spp", ANY_STYLE, 1, (1,)

    def deploy_block(self, g: GraphBuilder, x: int, block: BlockNumbers) -> int:
        y = g.conv(x, block.btn, act=block.act, name="conv1")
        pools = [g.single("maxpool", y, f"pool{k}", k=(k, k), s=(1, 1), p=(k // 2, k // 2)) for k in POOLS]
        return g.conv(g.join("concat", y, *pools), block.out, act=block.act, name="conv2")
