"""How many channels of every channel group stay in a cut network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.pruning.cuts import Cuts
    from zoo.pruning.groups import ChannelGroup, ChannelGroups


@dataclass(frozen=True, slots=True)
class GroupWidth:
    """The channels of one group: how many there are, and how many of them stay."""

    group: ChannelGroup
    channels: int
    kept: int
    removed: str = ""
    """What was removed as a whole with the group inside: ``block``, ``layer`` (of a stack), or nothing."""

    @property
    def part(self) -> str:
        """``backbone``, ``neck`` or ``head``."""
        return self.group.layer.partition(".")[0]

    @property
    def module(self) -> str:
        """The first two names of the layer's path, such as ``backbone.stage2``."""
        return ".".join(self.group.layer.split(".")[:2])


def group_widths(groups: ChannelGroups, cuts: Cuts) -> list[GroupWidth]:
    """The width of every channel group that can be cut, in the order of execution."""
    kept = groups.kept_units(cuts)
    widths = []
    for group in groups.groups:
        removed = _removed(group.layer, cuts)
        stay = 0 if removed else int(kept[group.units].sum()) * group.channels.shape[1]
        widths.append(GroupWidth(group, group.channels.size, stay, removed))
    return widths


def _removed(layer: str, cuts: Cuts) -> str:
    """Whether ``layer`` lies in a skipped block, or in a layer that its stack no longer has."""
    if any(layer.startswith(f"{path}.") for path in cuts.skipped):
        return "block"
    for path, depth in cuts.depths.items():
        inside = re.match(rf"{re.escape(path)}\.\w+\.(\d+)\.", f"{layer}.")  # a stack keeps its layers in lists
        if inside and int(inside[1]) >= depth:
            return "layer"
    return ""
