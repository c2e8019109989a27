"""Block kind ``c2psa``: YOLO11's and YOLO26's attention stage."""

from __future__ import annotations

from collections.abc import Callable

from search_spaces.blocks.attention import attention_block, skeleton_attention_block
from search_spaces.blocks.base import ANY_STYLE, StageNumbers, WholeStageKind
from search_spaces.blocks.wiring import halves
from search_spaces.graph_builder import GraphBuilder
from search_spaces.ops import Num


class C2PSA(WholeStageKind):
    """1x1 to 2 x ``btn``, ``depth`` attention blocks in a row on the second half, 1x1 over both halves; stride 1.

    ``k`` is the kernel of the depthwise conv that encodes position; YOLO has 3.
    """

    name, style, strides = "c2psa", ANY_STYLE, (1,)

    def deploy_stage(self, g: GraphBuilder, x: int, stage: StageNumbers) -> int:
        return self._stage(g, x, stage, attention_block)

    def skeleton_stage(self, g: GraphBuilder, x: int, stage: StageNumbers) -> int:
        return self._stage(g, x, stage, skeleton_attention_block)

    def _stage(
        self, g: GraphBuilder, x: int, stage: StageNumbers, block: Callable[[GraphBuilder, int, Num, str], int]
    ) -> int:
        bare, mixed = halves(g, g.conv(x, 2 * stage.btn, act=stage.act, name="conv1"), stage.btn)
        scope = list(g.scope)
        for index in range(stage.depth):
            g.scope = [*scope, f"block{index}"]
            mixed = block(g, mixed, stage.k, stage.act)
        g.scope = scope
        return g.conv(g.join("concat", bare, mixed), stage.out, act=stage.act, name="conv2")
