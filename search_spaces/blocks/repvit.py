"""Block kinds ``repvit`` and ``repvitse``: RepViT's block, a depthwise kxk mixer and a residual pair of 1x1 convs."""

from __future__ import annotations

import numpy as np

from search_spaces.blocks.base import ANY_STYLE, BlockNumbers, ChainKind
from search_spaces.blocks.wiring import differ, squeeze_excite
from search_spaces.graph_builder import GraphBuilder
from search_spaces.ops import Num


class RepViT(ChainKind):
    """Depthwise kxk, then 1x1 to ``btn`` and 1x1 back with a residual.

    In training the depthwise conv has a 1x1 and an identity branch beside it. Where the stride is 2 or the width
    changes, a 1x1 to ``out`` follows it.
    """

    name, style = "repvit", ANY_STYLE

    def layers(self, depth: Num, stride: int = 1) -> Num:
        return super().layers(depth) + (stride == 2)  # the 1x1 after the depthwise conv

    def deploy_block(self, g: GraphBuilder, x: int, block: BlockNumbers) -> int:
        cin = g.channels(x)
        projected = True if block.stride == 2 else differ(cin, block.out)
        y = g.conv(x, cin, k=block.k, s=block.stride, g=cin, name="spatial")
        y = g.conv(self._gate(g, y), block.out, name="project", when=projected)
        z = g.conv(y, block.btn, act=block.act, name="widen")
        return g.join("add", g.conv(z, block.out, name="narrow"), y)

    def _gate(self, g: GraphBuilder, y: int) -> int:
        """What the depthwise output passes before the next conv; nothing here."""
        return y


class RepViTSE(RepViT):
    """``repvit`` with squeeze-excite after the depthwise conv; RepViT's networks have it in every other block."""

    name, style = "repvitse", ANY_STYLE

    def _gate(self, g: GraphBuilder, y: int) -> int:
        return squeeze_excite(g, y, squeezed_channels(g.channels(y)), "relu", "sigmoid")


def squeezed_channels(channels: Num) -> Num:
    """Inner channels of the squeeze-excite: a quarter, to the nearest multiple of 8 and at least 8."""
    inner = np.maximum(8, (np.asarray(channels) / 4 + 4).astype(np.int64) // 8 * 8)
    return int(inner) if inner.ndim == 0 else inner
