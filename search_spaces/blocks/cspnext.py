"""Block kinds ``cspnext`` and ``cspnext_plain``: RTMDet's CSPNeXt stage, with and without its blocks' residuals."""

from __future__ import annotations

from search_spaces.blocks.base import ANY_STYLE, StageNumbers
from search_spaces.blocks.linear_stage import LinearStageKind
from search_spaces.blocks.wiring import channel_attention
from search_spaces.graph_builder import GraphBuilder


class CSPNeXt(LinearStageKind):
    """``depth`` blocks of 3x3, depthwise kxk and 1x1 at width ``btn``, in a CSP wrapping with channel attention.

    At stride 2 a 3x3 conv to 2 ``btn`` channels comes first. Published: ``out`` = 2 ``btn``, ``k`` = 5. Every block has
    a residual.
    """

    name, style = "cspnext", ANY_STYLE
    residual = True
    """Whether the blocks have residual links."""

    def deploy_stage(self, g: GraphBuilder, x: int, stage: StageNumbers) -> int:
        btn, act = stage.btn, stage.act
        if stage.stride == 2:
            x = g.conv(x, 2 * btn, k=3, s=2, act=act, name="down")
        short = g.conv(x, btn, act=act, name="short")
        y = g.conv(x, btn, act=act, name="main")
        scope = list(g.scope)
        for i in g.times(stage.depth):
            g.scope = [*scope, f"block{i}"]
            z = g.conv(y, btn, k=3, act=act, name="conv")
            z = g.conv(z, btn, k=stage.k, g=btn, act=act, name="spatial")
            z = g.conv(z, btn, act=act, name="point")
            y = g.join("add", z, y) if self.residual else z
        g.scope = scope
        return g.conv(channel_attention(g, g.join("concat", y, short)), stage.out, act=act, name="fuse")


class CSPNeXtPlain(CSPNeXt):
    """``cspnext`` without residual links in its blocks: the last stage of RTMDet's backbones."""

    name, style, residual = "cspnext_plain", ANY_STYLE, False
