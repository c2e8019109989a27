"""Block kind ``c2f``: YOLOv8's stage of split, bottlenecks and concatenation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from search_spaces.blocks.base import ANY_STYLE, StageNumbers, WholeStageKind
from search_spaces.blocks.wiring import bottleneck, halves
from search_spaces.graph_builder import GraphBuilder

Inner: TypeAlias = Callable[[GraphBuilder, int, StageNumbers], int]
"""Writes one of the blocks in a row: builder, input tensor and stage to output tensor."""


class C2f(WholeStageKind):
    """1x1 to 2 x ``btn``, ``depth`` bottlenecks in a row on the second half, 1x1 over the concat of all their outputs.

    A stride-2 stage begins with a 3x3 conv to 2 x ``btn``, as in YOLOv8, YOLO11 and YOLO26. A bottleneck is two kxk
    convs at width ``btn`` with a shortcut.
    """

    name, style = "c2f", ANY_STYLE

    def deploy_stage(self, g: GraphBuilder, x: int, stage: StageNumbers) -> int:
        return self._stage(g, x, stage, self.block)

    def block(self, g: GraphBuilder, x: int, stage: StageNumbers) -> int:
        """One of the blocks in a row, at width ``btn``."""
        return bottleneck(g, x, stage.btn, stage.k, stage.act)

    def _stage(self, g: GraphBuilder, x: int, stage: StageNumbers, block: Inner) -> int:
        if stage.stride == 2:
            x = g.conv(x, 2 * stage.btn, k=3, s=2, act=stage.act, name="down")
        parts = halves(g, g.conv(x, 2 * stage.btn, act=stage.act, name="conv1"), stage.btn)
        scope = list(g.scope)
        for index in range(stage.depth):
            g.scope = [*scope, f"block{index}"]
            parts.append(block(g, parts[-1], stage))
        g.scope = scope
        return g.conv(g.join("concat", *parts), stage.out, act=stage.act, name="conv2")
