"""Block kind ``c3k2_c3k``: YOLO11's stage whose blocks are CSP blocks themselves."""

from __future__ import annotations

from search_spaces.blocks.base import ANY_STYLE, StageNumbers
from search_spaces.blocks.c2f import C2f
from search_spaces.blocks.wiring import bottleneck, half
from search_spaces.graph_builder import GraphBuilder


class C3K2C3K(C2f):
    """``c2f`` with C3k blocks: two bottlenecks between 1x1 convs on half of ``btn`` beside a bare half, then a 1x1."""

    name, style = "c3k2_c3k", ANY_STYLE

    def block(self, g: GraphBuilder, x: int, stage: StageNumbers) -> int:
        mid, scope = half(stage.btn), list(g.scope)
        y = g.conv(x, mid, act=stage.act, name="conv1")
        for index in range(2):
            g.scope = [*scope, f"block{index}"]
            y = bottleneck(g, y, mid, stage.k, stage.act)
        g.scope = scope
        bare = g.conv(x, mid, act=stage.act, name="conv2")
        return g.conv(g.join("concat", y, bare), stage.btn, act=stage.act, name="conv3")
