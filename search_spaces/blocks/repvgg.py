"""Block kind ``repvgg``: RepVGG's re-parameterised 3x3 convolution, which YOLOv6's backbone repeats too."""

from __future__ import annotations

from search_spaces.blocks.base import ANY_STYLE, BlockNumbers, ChainKind
from search_spaces.graph_builder import GraphBuilder


class RepVGG(ChainKind):
    """One kxk conv + activation a block; in training with a 1x1 and an identity branch beside it. ``btn`` is unused."""

    name, style = "repvgg", ANY_STYLE

    def deploy_block(self, g: GraphBuilder, x: int, block: BlockNumbers) -> int:
        return g.conv(x, block.out, k=block.k, s=block.stride, act=block.act)
