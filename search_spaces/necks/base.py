"""NeckKind: how a kind of neck wires its nodes, and what a node is.

A neck is a list of nodes. Each joins maps of its own and of neighboring levels, brought to its size, and transforms
them. Its lowering, its torch form and its drawings all read this list.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from search_spaces.graph_builder import GraphBuilder
from search_spaces.neck import Neck, level_name
from search_spaces.ops import Num
from workbench.errors import BadInput

SAME, UP, DOWN = "same", "up", "down"
"""How a map reaches a node: as it is, enlarged twice, or through a convolution of stride 2 that keeps its channels."""


@dataclass(frozen=True, slots=True)
class Link:
    """An input of a node: the map ``source`` and how it gets to the node's size; ``name`` is the resampling's name."""

    source: str
    move: str = SAME
    name: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A node at one level (0 is the finest): the concat of ``links``, transformed.

    ``backbone_width``: it has as many channels as the backbone's map of its level, else as ``Neck.out`` says.
    """

    name: str
    level: int
    links: tuple[Link, ...]
    backbone_width: bool = False


class NeckKind(abc.ABC):
    """One kind of neck."""

    name: ClassVar[str]
    title: ClassVar[str]
    """Name in texts and drawings."""

    @abc.abstractmethod
    def nodes(self, strides: Sequence[int]) -> tuple[Node, ...]:
        """The nodes of a neck over levels of these strides, in the order of computation.

        Sources are nodes, or maps of the backbone by ``map_name``. The last node at a level is the neck's output there.
        """

    @abc.abstractmethod
    def blocks(self, neck: Neck) -> int:
        """Blocks in a node."""

    @abc.abstractmethod
    def check(self, neck: Neck) -> None:
        """Check this kind's rules beyond the common ones; raise ``BadInput``."""

    @abc.abstractmethod
    def lower_node(self, g: GraphBuilder, x: int, index: int, out: Num, neck: Neck) -> int:
        """Write node ``index`` after its concat ``x``, as the deployed detector has it."""

    def widths(self, neck: Neck, channels: Sequence[Num]) -> dict[str, Num]:
        """Channels of every map by name, behind a backbone with ``channels``, finest first."""
        widths = dict(zip(map(map_name, neck.strides), channels, strict=True))
        for node in self.nodes(neck.strides):
            widths[node.name] = (channels if node.backbone_width else neck.out)[node.level]
        return widths

    def outputs(self, strides: Sequence[int]) -> list[str]:
        """The node that every level ends in, finest first."""
        last = {node.level: node.name for node in self.nodes(strides)}
        return [last[level] for level in range(len(strides))]

    def lower(self, g: GraphBuilder, features: Sequence[int], neck: Neck) -> list[int]:
        """Write the neck after the backbone's maps, finest first; return its levels."""
        widths = self.widths(neck, [g.channels(x) for x in features])
        maps = dict(zip(map(map_name, neck.strides), features, strict=True))
        for index, node in enumerate(self.nodes(neck.strides)):
            moved: dict[Link, int] = {}
            for link in sorted(node.links, key=lambda link: link.move != UP):
                moved[link] = _move(g, maps[link.source], link, neck)
            g.scope = ["neck", node.name]
            joined = g.join("concat", *(moved[link] for link in node.links))
            maps[node.name] = self.lower_node(g, joined, index, widths[node.name], neck)
        g.scope = []
        return [maps[name] for name in self.outputs(neck.strides)]


def map_name(stride: int) -> str:
    """Name of the backbone's map of this stride: ``c3`` for 8."""
    return level_name(stride).replace("p", "c")


def node_block(neck: Neck, index: int) -> str:
    """Block kind of node ``index`` of a neck with ``blocks``."""
    return neck.blocks[index if len(neck.blocks) > 1 else 0]


def refuse_blocks(neck: Neck) -> None:
    """Raise ``BadInput`` where block kinds are given to a neck that has its own."""
    if neck.blocks:
        raise BadInput(f"neck: blocks {list(neck.blocks)} are for kind 'pan'; kind {neck.kind!r} has its own")


def _move(g: GraphBuilder, x: int, link: Link, neck: Neck) -> int:
    if link.move == SAME:
        return x
    if link.move == UP:
        g.scope = ["neck"]
        return g.single("upsample", x, link.name, scale=2)
    g.scope = ["neck", link.name]
    channels = g.channels(x)
    if not neck.depthwise:
        return g.conv(x, channels, k=3, s=2, act=neck.act)
    y = g.conv(x, channels, k=3, s=2, g=channels, act=neck.act, name="depthwise")
    return g.conv(y, channels, act=neck.act, name="pointwise")
