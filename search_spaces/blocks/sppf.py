"""Block kind ``sppf``: YOLO's spatial pyramid of chained max pools."""

from __future__ import annotations

from search_spaces.blocks.base import ANY_STYLE, StageNumbers, WholeStageKind
from search_spaces.graph_builder import GraphBuilder


class SPPF(WholeStageKind):
    """1x1 to ``btn``, three kxk max pools one after another, 1x1 over the concat of all four; stride 1.

    YOLO has ``k`` 5 and ``btn`` of half the channels.
    """

    name, style, strides, max_depth = "sppf", ANY_STYLE, (1,), 1

    def deploy_stage(self, g: GraphBuilder, x: int, stage: StageNumbers) -> int:
        return self._pyramid(g, x, stage, stage.act)

    def _pyramid(self, g: GraphBuilder, x: int, stage: StageNumbers, first_act: str) -> int:
        maps = [g.conv(x, stage.btn, act=first_act, name="conv1")]
        k = stage.k
        for index in range(3):
            maps.append(g.single("maxpool", maps[-1], f"pool{index}", k=(k, k), s=(1, 1), p=(k // 2, k // 2)))
        return g.conv(g.join("concat", *maps), stage.out, act=stage.act, name="conv2")
