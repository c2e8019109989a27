"""Block kind ``k1kxk1``: the bottleneck of MAE-DET's ResNet space."""

from __future__ import annotations

from search_spaces.blocks.base import BlockNumbers, ChainKind
from search_spaces.blocks.wiring import differ, pooled_skip
from search_spaces.graph_builder import GraphBuilder


class K1KXK1(ChainKind):
    """Bottleneck: 1x1 to ``btn``, kxk, 1x1 to ``out``; pooled and projected residual."""

    name, style, tinynas = "k1kxk1", "bottleneck", "SuperResK1KXK1"

    def deploy_block(self, g: GraphBuilder, x: int, block: BlockNumbers) -> int:
        project = True if block.first else differ(g.channels(x), block.out)
        skip = pooled_skip(g, x, block.out, block.stride, project)
        y = g.conv(x, block.btn, act=block.act, name="conv1")
        y = g.conv(y, block.btn, k=block.k, s=block.stride, act=block.act, name="conv2")
        y = g.conv(y, block.out, name="conv3")
        return g.single("act", g.join("add", y, skip), "act", kind=block.act)
