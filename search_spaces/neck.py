"""Settings of a detector's neck, as an architecture lists them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

LEVEL_STRIDES = (4, 8, 16, 32)
"""Strides that a level may have; a detector has two to four that follow one another."""

ADDED_NECK_FIELDS = ("kind", "blocks", "strides")
"""Fields that files and runs of earlier versions were stored without."""


@dataclass(frozen=True, slots=True)
class Neck:
    """Fuses the backbone's maps at ``strides`` into as many levels with ``out`` channels, finest first.

    ``kind``: see ``search_spaces.necks``. ``depth`` scales the blocks of a node: 3 in RepGFPN, 1 in PAN.
    ``hidden_ratio``: inner channels of a block over the channels it keeps. ``depthwise``: convolutions that reduce the
    size, and in RepGFPN the blocks, are depth-wise. ``blocks``: block kind of every node of a PAN, one for all or one a
    node, the nodes of the way up first.
    """

    out: tuple[int, ...] = (128, 256, 512)
    depth: float = 1.0
    hidden_ratio: float = 0.75
    act: str = "relu"
    depthwise: bool = False
    kind: str = "repgfpn"
    blocks: tuple[str, ...] = ()
    strides: tuple[int, ...] = (8, 16, 32)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; ``ADDED_NECK_FIELDS`` only where they are not the default, which keeps older digests."""
        data = dataclasses.asdict(self)
        for field in dataclasses.fields(self):
            if field.name in ADDED_NECK_FIELDS and data[field.name] == field.default:
                del data[field.name]
        return {key: list(value) if isinstance(value, tuple) else value for key, value in data.items()}


def strides_text(strides: Sequence[int]) -> str:
    """``8/16/32``."""
    return "/".join(map(str, strides))


def level_name(stride: int) -> str:
    """``p3`` for stride 8, and so on: the logarithm of the stride."""
    return f"p{stride.bit_length() - 1}"
