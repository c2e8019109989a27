"""Block kind ``elan1``: the GELAN stage of plain convolutions with which YOLOv9's small backbones begin."""

from __future__ import annotations

from search_spaces.blocks.base import ANY_STYLE, StageNumbers, WholeStageKind
from search_spaces.blocks.wiring import halves
from search_spaces.graph_builder import GraphBuilder


class ELAN1(WholeStageKind):
    """1x1 to 2 ``btn``, ``depth`` kxk convs after its second half, all of them and both halves joined by a 1x1.

    At stride 2 a 3x3 conv to 2 ``btn`` channels comes first. YOLOv9 has ``depth`` 2.
    """

    name, style = "elan1", ANY_STYLE

    def deploy_stage(self, g: GraphBuilder, x: int, stage: StageNumbers) -> int:
        btn, act = stage.btn, stage.act
        if stage.stride == 2:
            x = g.conv(x, 2 * btn, k=3, s=2, act=act, name="down")
        parts = halves(g, g.conv(x, 2 * btn, act=act, name="split"), btn)
        for i in range(stage.depth):
            parts.append(g.conv(parts[-1], btn, k=stage.k, act=act, name=f"conv{i}"))
        return g.conv(g.join("concat", *parts), stage.out, act=act, name="fuse")
