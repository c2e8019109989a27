"""Block kind ``sppf_res``: YOLO26's spatial pyramid, with a shortcut."""

from __future__ import annotations

from search_spaces.blocks.base import ANY_STYLE, StageNumbers
from search_spaces.blocks.sppf import SPPF
from search_spaces.blocks.wiring import differ, negate
from search_spaces.graph_builder import GraphBuilder


class ResidualSPPF(SPPF):
    """``sppf`` without the first activation, and a shortcut where the width is kept."""

    name, style = "sppf_res", ANY_STYLE

    def deploy_stage(self, g: GraphBuilder, x: int, stage: StageNumbers) -> int:
        y = self._pyramid(g, x, stage, "none")
        return g.join("add", y, x, when=negate(differ(g.channels(x), stage.out)))
