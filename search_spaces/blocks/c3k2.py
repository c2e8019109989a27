"""Block kind ``c3k2``: YOLO11's stage with bottlenecks."""

from __future__ import annotations

from search_spaces.blocks.base import ANY_STYLE, StageNumbers
from search_spaces.blocks.c2f import C2f
from search_spaces.blocks.wiring import bottleneck, half
from search_spaces.graph_builder import GraphBuilder


class C3K2(C2f):
    """``c2f`` with half as many channels between the two convs of a bottleneck."""

    name, style = "c3k2", ANY_STYLE

    def block(self, g: GraphBuilder, x: int, stage: StageNumbers) -> int:
        return bottleneck(g, x, half(stage.btn), stage.k, stage.act)
