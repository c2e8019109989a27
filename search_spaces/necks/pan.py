"""Neck kind ``pan``: a path aggregation network over any block kind."""

from __future__ import annotations

from collections.abc import Sequence

from search_spaces.blocks import BLOCK_KINDS
from search_spaces.blocks.base import Flow, StageNumbers
from search_spaces.graph_builder import GraphBuilder
from search_spaces.neck import Neck, level_name
from search_spaces.necks.base import DOWN, UP, Link, NeckKind, Node, map_name, node_block
from search_spaces.ops import Num
from search_spaces.rounding import whole
from search_spaces.stage import Stage
from workbench.errors import BadInput, unknown_name

KERNEL = 3
"""Kernel size of a node's blocks."""


class PAN(NeckKind):
    """A way up and a way down; a node joins two maps and is a stage of its block kind at stride 1.

    Way up, from the coarsest map: the coarser node enlarged, the level's map. Way down: the finer output reduced by a
    3x3 convolution, the level's node of the way up (the coarsest level's map has none).
    """

    name, title = "pan", "PAN"

    def nodes(self, strides: Sequence[int]) -> tuple[Node, ...]:
        maps = [map_name(stride) for stride in strides]
        up = [f"up_{level_name(stride)}" for stride in strides]
        down = [f"down_{level_name(stride)}" for stride in strides]
        last = len(strides) - 1
        up[last], down[0] = maps[last], up[0]
        nodes = []
        for level in range(last - 1, -1, -1):
            coarser = Link(up[level + 1], UP, f"enlarge_{up[level + 1]}")
            nodes.append(Node(up[level], level, (coarser, Link(maps[level]))))
        for level in range(1, last + 1):
            finer = Link(down[level - 1], DOWN, f"reduce_{down[level - 1]}")
            nodes.append(Node(down[level], level, (finer, Link(up[level]))))
        return tuple(nodes)

    def blocks(self, neck: Neck) -> int:
        return max(1, round(neck.depth))

    def node_stage(self, index: int, out: Num, neck: Neck) -> Stage:
        """The stage that node ``index`` is; ``out`` and the stage's channels are ints or arrays ``[N]``."""
        return Stage(node_block(neck, index), out, whole(out * neck.hidden_ratio), KERNEL, 1, self.blocks(neck))

    def check(self, neck: Neck) -> None:
        nodes = self.nodes(neck.strides)
        if len(neck.blocks) not in (1, len(nodes)):
            raise BadInput(
                f"neck: blocks {list(neck.blocks)} must name one block kind for all nodes, or one for each of the "
                f"{len(nodes)} nodes {', '.join(node.name for node in nodes)}"
            )
        for kind in neck.blocks:
            if kind not in BLOCK_KINDS:
                raise unknown_name("block kind of the neck", kind, BLOCK_KINDS)
            if BLOCK_KINDS[kind].spans_stages:
                raise BadInput(f"neck: block kind {kind!r} spans two stages of a backbone: a node needs another kind")
        for index, node in enumerate(nodes):
            stage = self.node_stage(index, neck.out[node.level], neck)
            if stage.btn < 1:
                raise BadInput(
                    f"neck: hidden_ratio {neck.hidden_ratio} leaves no inner channels of the {stage.out} of node "
                    f"{node.name}: raise one of them"
                )
            try:
                BLOCK_KINDS[stage.kind].check(stage, 0, None)
            except BadInput as error:
                raise BadInput(f"neck: node {node.name}: {str(error).removeprefix('stages[0]: ')}") from error

    def lower_node(self, g: GraphBuilder, x: int, index: int, out: Num, neck: Neck) -> int:
        stage = self.node_stage(index, out, neck)
        numbers = StageNumbers(g.channels(x), out, stage.btn, stage.k, stage.depth, stage.stride, neck.act)
        return BLOCK_KINDS[stage.kind].lower(g, Flow(x), numbers).x
