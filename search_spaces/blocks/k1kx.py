"""Block kind ``k1kx``: DAMO-YOLO's residual block of the ``res`` style."""

from __future__ import annotations

from search_spaces.blocks.base import BlockNumbers, ChainKind
from search_spaces.blocks.wiring import differ, pooled_skip, residual_pair
from search_spaces.graph_builder import GraphBuilder


class K1KX(ChainKind):
    """1x1 to ``btn``, then kxk to ``out`` (a RepConv in training); residual where stride is 1."""

    name, style, tinynas, in_damo_yolo = "k1kx", "res", "SuperResK1KX", True

    def deploy_block(self, g: GraphBuilder, x: int, block: BlockNumbers) -> int:
        if block.stride == 1:
            return residual_pair(g, x, block.btn, block.out, (1, block.k), block.act)
        y = g.conv(x, block.btn, act=block.act, name="conv1")
        return g.conv(y, block.out, k=block.k, s=block.stride, act=block.act, name="conv2")

    def skeleton_block(self, g: GraphBuilder, x: int, block: BlockNumbers) -> int:
        skip = pooled_skip(g, x, block.out, block.stride, differ(g.channels(x), block.out))
        y = g.conv(x, block.btn, act=block.act, name="conv1")
        y = g.conv(y, block.out, k=block.k, s=block.stride, name="conv2")
        return g.single("act", g.join("add", y, skip), "act", kind=block.act)
