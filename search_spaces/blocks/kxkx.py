"""Block kind ``kxkx``: DAMO-YOLO's CSP stage."""

from __future__ import annotations

from search_spaces.blocks.base import BlockKind, BlockNumbers, Flow, StageNumbers
from search_spaces.blocks.wiring import at_least_two, differ, pooled_skip, residual_pair, spp
from search_spaces.graph_builder import GraphBuilder
from search_spaces.ops import Num
from search_spaces.stage import Stage
from workbench.errors import BadInput


class KXKX(BlockKind):
    """kxk to ``btn``, kxk back, in DAMO-YOLO's CSP wrapping.

    Deployed, a stride-2 stage is a 3x3 down conv and ``depth`` - 1 half-width residual blocks between a
    1x1 start and a 1x1 shortcut, joined by a 1x1 fuse; a stride-1 stage lends its ``depth`` blocks to
    the wrapping before it. The wrapping's own convs use ReLU whatever the backbone uses.
    """

    name, style, tinynas, in_damo_yolo, even_out = "kxkx", "csp", "SuperResKXKX", True, True
    spans_stages = True

    def check(self, stage: Stage, index: int, before: Stage | None) -> None:
        super().check(stage, index, before)
        if stage.stride == 1 and (before is None or before.stride == 1 or before.kind != self.name):
            raise BadInput(f"stages[{index}]: in style csp a stride-1 stage must follow a stride-2 stage of kind kxkx")

    def entry(self, g: GraphBuilder, stage: StageNumbers) -> Flow:
        if stage.stride == 2:
            return Flow(g.input(stage.cin))
        return Flow(g.input(stage.cin // 2), down=g.input(stage.cin))

    def lower(self, g: GraphBuilder, flow: Flow, stage: StageNumbers) -> Flow:
        half = stage.out // 2
        if stage.stride == 1:
            if flow.down is None:
                raise BadInput("csp: a stride-1 stage must follow a stride-2 stage")
            y = self._blocks(g, flow.x, stage, stage.depth)
            shortcut = g.conv(flow.down, half, act="relu", name="shortcut")
            return Flow(g.conv(g.join("concat", y, shortcut), stage.out, act="relu", name="fuse"))
        down = g.conv(flow.x, stage.out, k=3, s=2, act="relu", name="down")
        if stage.spp:
            down = spp(g, down)
        if not stage.closes:
            y = g.conv(down, half, act="relu", name="start")
            return Flow(self._blocks(g, y, stage, stage.depth - 1), down=down)
        wrapped = at_least_two(stage.depth)
        if wrapped is False:
            return Flow(down)
        shortcut = g.conv(down, half, act="relu", name="shortcut", when=wrapped)
        y = g.conv(down, half, act="relu", name="start", when=wrapped)
        y = self._blocks(g, y, stage, stage.depth - 1)
        joined = g.join("concat", y, shortcut, when=wrapped)
        return Flow(g.conv(joined, stage.out, act="relu", name="fuse", when=wrapped))

    def _blocks(self, g: GraphBuilder, x: int, stage: StageNumbers, depth: Num) -> int:
        """``depth`` half-width residual blocks; only the first can change width."""
        changes = differ(g.channels(x), stage.out // 2)
        if changes is not False:  # depth >= 1 here: a stage that changes width is a stride-1 stage
            x = self._block(g, x, stage, 0)
            depth = depth - 1
        for i in g.times(depth):
            x = self._block(g, x, stage, i + 1)
        return x

    def _block(self, g: GraphBuilder, x: int, stage: StageNumbers, index: int) -> int:
        g.scope.append(f"block{index}")
        x = residual_pair(g, x, stage.btn, stage.out // 2, (stage.k, stage.k), stage.act)
        g.scope.pop()
        return x

    def skeleton_block(self, g: GraphBuilder, x: int, block: BlockNumbers) -> int:
        skip = pooled_skip(g, x, block.out, block.stride, differ(g.channels(x), block.out))
        y = g.conv(x, block.btn, k=block.k, act=block.act, name="conv1")
        y = g.conv(y, block.out, k=block.k, s=block.stride, name="conv2")
        return g.single("act", g.join("add", y, skip), "act", kind=block.act)
