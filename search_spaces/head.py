"""Settings of a detector's head, as an architecture lists them, and the head as graph ops."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from search_spaces.graph_builder import GraphBuilder
from search_spaces.neck import level_name

ADDED_HEAD_FIELDS = ("convs", "width", "depthwise")
"""Fields that files and runs of earlier versions were stored without."""


@dataclass(frozen=True, slots=True)
class Head:
    """Two kxk convolutions a level, one for the class scores and one for the distances to the box sides.

    ``reg_max``: a distance is a distribution over ``reg_max`` + 1 bins; with 0 it is one number. ``convs``: 3x3
    convolutions with batch norm and the neck's activation before each of the two, of ``width`` channels (0: as many as
    the level has); ``depthwise`` makes each a depth-wise 3x3 and a 1x1. Without them it is DAMO-YOLO's ZeroHead.
    ``one_to_one`` adds a second pair a level for training without NMS; deployed, one pair remains either way.
    """

    classes: int = 80
    reg_max: int = 16
    k: int = 3
    one_to_one: bool = False
    convs: int = 0
    width: int = 0
    depthwise: bool = False

    @property
    def box_channels(self) -> int:
        """Channels of a level's box map: the bins of four distances, or the four distances."""
        return 4 * (self.reg_max + 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; ``one_to_one`` and ``ADDED_HEAD_FIELDS`` only where they are set, which keeps older digests."""
        data = dataclasses.asdict(self)
        return {key: value for key, value in data.items() if value or key not in ("one_to_one", *ADDED_HEAD_FIELDS)}


def lower_head(g: GraphBuilder, levels: Sequence[int], strides: Sequence[int], head: Head, act: str) -> list[int]:
    """Write the head after the neck's ``levels``; return the box and the class map of every level in turn."""
    outputs = []
    for stride, x in zip(strides, levels, strict=True):
        g.scope = ["head", level_name(stride)]
        box = g.conv(_tower(g, x, head, act, "box"), head.box_channels, k=head.k, name="box")
        outputs.append(g.single("scale", box, "scale", params=1))
        outputs.append(g.conv(_tower(g, x, head, act, "cls"), head.classes, k=head.k, name="cls"))
    g.scope = []
    return outputs


def _tower(g: GraphBuilder, x: int, head: Head, act: str, name: str) -> int:
    """The stacked convolutions before a prediction."""
    for i in range(head.convs):
        cin = g.channels(x)
        cout = head.width or cin
        if head.depthwise:
            x = g.conv(x, cin, k=3, g=cin, act=act, name=f"{name}_conv{i}.depthwise")
            x = g.conv(x, cout, act=act, name=f"{name}_conv{i}.pointwise")
        else:
            x = g.conv(x, cout, k=3, act=act, name=f"{name}_conv{i}")
    return x
