"""Block kind ``k1dwk1``: the inverted residual of the ``mob`` style."""

from __future__ import annotations

from search_spaces.blocks.base import BlockNumbers, ChainKind
from search_spaces.blocks.wiring import differ, negate, pooled_skip
from search_spaces.graph_builder import GraphBuilder


class K1DWK1(ChainKind):
    """Inverted residual: 1x1 to ``btn``, depthwise kxk, 1x1 to ``out``; residual where the shape is kept."""

    name, style, tinynas, in_damo_yolo = "k1dwk1", "mob", "SuperResK1DWK1", True

    def deploy_block(self, g: GraphBuilder, x: int, block: BlockNumbers) -> int:
        y = self._convs(g, x, block)
        keeps_shape = negate(differ(g.channels(x), block.out)) if block.stride == 1 else False
        return g.join("add", y, x, when=keeps_shape)

    def skeleton_block(self, g: GraphBuilder, x: int, block: BlockNumbers) -> int:
        y = self._convs(g, x, block)
        keeps_width = negate(differ(g.channels(x), block.out))
        if keeps_width is not False:
            y = g.join("add", y, pooled_skip(g, x, block.out, block.stride, False), when=keeps_width)
        return g.single("act", y, "act", kind=block.act)

    def _convs(self, g: GraphBuilder, x: int, block: BlockNumbers) -> int:
        y = g.conv(x, block.btn, act=block.act, name="conv1")
        y = g.conv(y, block.btn, k=block.k, s=block.stride, g=block.btn, act=block.act, name="conv2")
        return g.conv(self._gate(g, y, block), block.out, name="conv3")

    def _gate(self, g: GraphBuilder, y: int, block: BlockNumbers) -> int:
        """What the depthwise output passes before the last conv; nothing here."""
        return y
