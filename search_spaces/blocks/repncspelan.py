"""Block kind ``repncspelan``: the GELAN stage of YOLOv9, RepNCSPELAN4."""

from __future__ import annotations

from search_spaces.blocks.base import ANY_STYLE, StageNumbers
from search_spaces.blocks.linear_stage import LinearStageKind
from search_spaces.blocks.wiring import half, halves
from search_spaces.graph_builder import GraphBuilder


class RepNCSPELAN(LinearStageKind):
    """Two RepNCSP chains of ``depth`` blocks at width ``btn``, each before a kxk conv, and a 1x1 to ``out``.

    1x1 to 2 ``btn``, of which the second half enters the chains; the two halves and what each chain ends in are joined.
    Each chain is a CSP pair at half of ``btn`` whose blocks are two kxk convs (the first a RepConv in training) with a
    residual. At stride 2 YOLOv9's AConv comes first: a 2x2 average pool of stride 1, then a 3x3 conv to 2 ``btn``.
    """

    name, style = "repncspelan", ANY_STYLE

    def deploy_stage(self, g: GraphBuilder, x: int, stage: StageNumbers) -> int:
        btn, act = stage.btn, stage.act
        if stage.stride == 2:
            x = g.single("avgpool", x, "blur", k=(2, 2), s=(1, 1), p=(0, 0))
            x = g.conv(x, 2 * btn, k=3, s=2, act=act, name="down")
        y = g.conv(x, 2 * btn, act=act, name="split")
        parts = halves(g, y, btn)
        scope = list(g.scope)
        for chain in ("chain1", "chain2"):
            g.scope = [*scope, chain]
            y = self._csp(g, parts[-1], stage)
            parts.append(g.conv(y, btn, k=stage.k, act=act, name="conv"))
        g.scope = scope
        return g.conv(g.join("concat", *parts), stage.out, act=act, name="fuse")

    def _csp(self, g: GraphBuilder, x: int, stage: StageNumbers) -> int:
        """RepNCSP: ``depth`` blocks between a 1x1 to half the width and a 1x1 shortcut, joined by a 1x1."""
        mid, act = half(stage.btn), stage.act
        y = g.conv(x, mid, act=act, name="main")
        scope = list(g.scope)
        for i in g.times(stage.depth):
            g.scope = [*scope, f"block{i}"]
            z = g.conv(y, mid, k=stage.k, act=act, name="conv1")
            y = g.join("add", g.conv(z, mid, k=stage.k, act=act, name="conv2"), y)
        g.scope = scope
        short = g.conv(x, mid, act=act, name="short")
        return g.conv(g.join("concat", y, short), stage.btn, act=act, name="join")
