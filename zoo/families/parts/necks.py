"""Necks of every kind in ``search_spaces.necks``, in training form.

A kind's nodes say how maps flow; here stand the modules of the nodes and of what reduces a map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from search_spaces.neck import Neck
from search_spaces.necks import NECK_KINDS
from search_spaces.necks.base import DOWN, SAME, map_name
from search_spaces.necks.pan import PAN
from zoo.families.parts.blocks import stage_modules
from zoo.families.parts.repgfpn import Merge
from zoo.layers import ConvBNAct

NodeMaker = Callable[[int, int, int, Neck], nn.Module]
"""Makes the module of a node from its input channels, its output channels, its number and the neck's settings."""

NODE_MODULES: dict[str, NodeMaker] = {
    "repgfpn": lambda cin, cout, index, neck: Merge(cin, cout, neck),
    "pan": lambda cin, cout, index, neck: nn.Sequential(
        *stage_modules(cin, PAN().node_stage(index, cout, neck), neck.act)
    ),
}
"""The nodes of each kind in ``search_spaces.necks.NECK_KINDS``."""


class DepthwiseConv(nn.Module):
    """Depth-wise 3x3, then 1x1. ``[b, cin, h, w]`` to ``[b, cout, h / s, w / s]``."""

    def __init__(self, cin: int, cout: int, s: int, act: str) -> None:
        super().__init__()
        self.depthwise = ConvBNAct(cin, cin, 3, s, g=cin, act=act)
        self.pointwise = ConvBNAct(cin, cout, act=act)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))


def conv3x3(cin: int, cout: int, s: int, act: str, depthwise: bool) -> nn.Module:
    """A 3x3 convolution, or its depth-wise counterpart."""
    return DepthwiseConv(cin, cout, s, act) if depthwise else ConvBNAct(cin, cout, 3, s, act=act)


class WiredNeck(nn.Module):
    """The backbone's maps with ``channels``, finest first, to as many maps with ``neck.out`` channels.

    Modules have the names of the nodes and of the links that reduce a map.
    """

    def __init__(self, channels: Sequence[int], neck: Neck) -> None:
        super().__init__()
        kind = NECK_KINDS[neck.kind]
        self.nodes = kind.nodes(neck.strides)
        self.inputs = [map_name(stride) for stride in neck.strides]
        self.outputs = kind.outputs(neck.strides)
        widths = kind.widths(neck, channels)
        for index, node in enumerate(self.nodes):
            for link in node.links:
                if link.move == DOWN:
                    width = widths[link.source]
                    self.add_module(link.name, conv3x3(width, width, 2, neck.act, neck.depthwise))
            cin = sum(widths[link.source] for link in node.links)
            self.add_module(node.name, NODE_MODULES[neck.kind](cin, widths[node.name], index, neck))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        maps = dict(zip(self.inputs, features, strict=True))
        for node in self.nodes:
            joined = [self._move(maps[link.source], link.move, link.name) for link in node.links]
            maps[node.name] = getattr(self, node.name)(torch.cat(joined, 1))
        return [maps[name] for name in self.outputs]

    def _move(self, x: Tensor, move: str, name: str) -> Tensor:
        if move == SAME:
            return x
        if move == DOWN:
            return getattr(self, name)(x)
        return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
