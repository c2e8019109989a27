"""Block kind ``c3k2_attn``: the last node of YOLO26's neck, a C3k2 with attention."""

from __future__ import annotations

from search_spaces.blocks.attention import attention_block, skeleton_attention_block
from search_spaces.blocks.base import ANY_STYLE, StageNumbers
from search_spaces.blocks.c3k2 import C3K2
from search_spaces.graph_builder import GraphBuilder


class C3K2Attention(C3K2):
    """``c3k2`` with an attention block after every bottleneck."""

    name, style = "c3k2_attn", ANY_STYLE

    def block(self, g: GraphBuilder, x: int, stage: StageNumbers) -> int:
        return attention_block(g, super().block(g, x, stage), stage.k, stage.act)

    def skeleton_stage(self, g: GraphBuilder, x: int, stage: StageNumbers) -> int:
        return self._stage(g, x, stage, self._skeleton)

    def _skeleton(self, g: GraphBuilder, x: int, stage: StageNumbers) -> int:
        return skeleton_attention_block(g, super().block(g, x, stage), stage.k, stage.act)
