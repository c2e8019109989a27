"""Block kind ``conv``: a single convolution."""

from __future__ import annotations

from search_spaces.blocks.base import ANY_STYLE, BlockNumbers, ChainKind
from search_spaces.graph_builder import GraphBuilder


class PlainConv(ChainKind):
    """One kxk conv + activation, in any style: TinyNAS's classification texts end with one. ``btn`` is unused."""

    name, style, tinynas, in_damo_yolo, max_depth = "conv", ANY_STYLE, "ConvKXBNRELU", True, 1

    def deploy_block(self, g: GraphBuilder, x: int, block: BlockNumbers) -> int:
        return g.conv(x, block.out, k=block.k, s=block.stride, act=block.act)
