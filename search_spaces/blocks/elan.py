"""Block kind ``elan``: YOLOv7's E-ELAN stage."""

from __future__ import annotations

from search_spaces.blocks.base import ANY_STYLE, StageNumbers, WholeStageKind
from search_spaces.blocks.wiring import half
from search_spaces.graph_builder import GraphBuilder


class ELAN(WholeStageKind):
    """Two 1x1 to ``btn``, 2 x ``depth`` kxk convs in a row on the second, 1x1 over the concat of every second output.

    A stride-2 stage begins with YOLOv7's transition, which keeps the width: max pool and 1x1 to one half, 1x1 and
    strided 3x3 to the other. YOLOv7 has ``depth`` 2, YOLOv7-X 3.
    """

    name, style = "elan", ANY_STYLE

    def deploy_stage(self, g: GraphBuilder, x: int, stage: StageNumbers) -> int:
        if stage.stride == 2:
            x = self._transition(g, x, stage.act)
        maps = [g.conv(x, stage.btn, act=stage.act, name="conv1")]
        scope = list(g.scope)
        for index in range(stage.depth):
            g.scope = [*scope, f"block{index}"]
            y = g.conv(maps[-1], stage.btn, k=stage.k, act=stage.act, name="conv1")
            maps.append(g.conv(y, stage.btn, k=stage.k, act=stage.act, name="conv2"))
        g.scope = scope
        shortcut = g.conv(x, stage.btn, act=stage.act, name="shortcut")
        return g.conv(g.join("concat", *maps[::-1], shortcut), stage.out, act=stage.act, name="conv2")

    def _transition(self, g: GraphBuilder, x: int, act: str) -> int:
        width = half(g.channels(x))
        y = g.conv(x, width, act=act, name="down1")
        y = g.conv(y, width, k=3, s=2, act=act, name="down2")
        pooled = g.single("maxpool", x, "pool", k=(2, 2), s=(2, 2), p=(0, 0))
        return g.join("concat", y, g.conv(pooled, width, act=act, name="down3"), name="down")
