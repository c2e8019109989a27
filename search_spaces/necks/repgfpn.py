"""Neck kind ``repgfpn``: DAMO-YOLO's queen-fusion neck, over two to four levels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from search_spaces.graph_builder import GraphBuilder
from search_spaces.neck import Neck, level_name
from search_spaces.necks.base import DOWN, SAME, UP, Link, NeckKind, Node, map_name, refuse_blocks
from search_spaces.ops import Num
from search_spaces.rounding import divisible, whole

OFFICIAL_NODES = ("merge_3", "merge_4", "merge_5", "merge_7", "merge_6")
"""DAMO-YOLO's names of the nodes over three levels, in the order of computation."""
OFFICIAL_MOVES = (("bu_conv13",), ("bu_conv24", "up34"), ("up45",), ("bu_conv57",), ("bu_conv46", "bu_conv76"))
"""Its names of what brings maps to their size, node by node."""


class RepGFPN(NeckKind):
    """A way up and a way down in which every node also reads the next finer level.

    Way up: a level's map, the finer level's map reduced, the coarser node enlarged. Way down: the level's node of the
    way up, the finer level's node of the way up reduced (except next to the finest level, where it is the neck's
    output), the finer output reduced. Over three levels nodes have DAMO-YOLO's names.
    """

    name, title = "repgfpn", "RepGFPN"

    def nodes(self, strides: Sequence[int]) -> tuple[Node, ...]:
        maps = [map_name(stride) for stride in strides]
        up = [f"up_{level_name(stride)}" for stride in strides]
        down = [f"down_{level_name(stride)}" for stride in strides]
        last = len(strides) - 1
        nodes = []
        for level in range(last, -1, -1):
            links = [Link(maps[level])]
            if level > 0:
                links.append(Link(maps[level - 1], DOWN, f"reduce_{maps[level - 1]}"))
            if level < last:
                links.append(Link(up[level + 1], UP, f"enlarge_{up[level + 1]}"))
            nodes.append(Node(up[level], level, tuple(links), backbone_width=level > 0))
        for level in range(1, last + 1):
            links = [Link(up[level])]
            if level > 1:
                links.append(Link(up[level - 1], DOWN, f"reduce_{up[level - 1]}"))
            finer = down[level - 1] if level > 1 else up[0]
            links.append(Link(finer, DOWN, f"reduce_{finer}"))
            nodes.append(Node(down[level], level, tuple(links)))
        return _with_official_names(nodes) if len(strides) == 3 else tuple(nodes)

    def blocks(self, neck: Neck) -> int:
        return round(3 * neck.depth)

    def check(self, neck: Neck) -> None:
        refuse_blocks(neck)

    def lower_node(self, g: GraphBuilder, x: int, index: int, out: Num, neck: Neck) -> int:
        """Two 1x1 branches, n reversed 3x3 blocks on one, the concat of all their outputs, 1x1."""
        first = out // 2
        mid = out - first
        outputs = [g.conv(x, first, act=neck.act, name="conv1")]
        y = g.conv(x, mid, act=neck.act, name="conv2")
        scope = list(g.scope)
        for i in range(self.blocks(neck)):
            g.scope = [*scope, f"block{i}"]
            if neck.depthwise:
                expanded = divisible(3.0 * mid)
                z = g.conv(y, expanded, act=neck.act, name="conv1")
                z = g.conv(z, expanded, k=5, g=expanded, act=neck.act, name="conv2")
                y = g.join("add", y, g.conv(z, mid, name="conv3"))
            else:
                hidden = whole(mid * neck.hidden_ratio)
                z = g.conv(y, hidden, k=3, act=neck.act, name="conv2")
                y = g.join("add", y, g.conv(z, mid, k=3, act=neck.act, name="conv1"))
            outputs.append(y)
        g.scope = scope
        return g.conv(g.join("concat", *outputs), out, act=neck.act, name="conv3")


def _with_official_names(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The five nodes over three levels under DAMO-YOLO's names."""
    names = {node.name: official for node, official in zip(nodes, OFFICIAL_NODES, strict=True)}
    renamed = []
    for node, moves in zip(nodes, OFFICIAL_MOVES, strict=True):
        left = iter(moves)
        links = tuple(
            Link(names.get(link.source, link.source), link.move, "" if link.move == SAME else next(left))
            for link in node.links
        )
        renamed.append(dataclasses.replace(node, name=names[node.name], links=links))
    return tuple(renamed)
