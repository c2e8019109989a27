"""Boxes against the cells of a detector's levels: how many are smaller than a cell, how many share one.

A level of stride s has one cell, and so one prediction, every s pixels. For which level a box is sized follows the rule
of feature pyramids, level = floor(log2(sqrt(width * height) / unit)), with the anchors of RetinaNet for the unit: stride
s is for boxes whose ``sqrt(width * height)`` is from 4 s to below 8 s. Smaller ones are for the finest level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distill.data.check.box_sizes import BoxSizes, PlacedBoxes
from workbench.errors import BadInput
from zoo.images import Resize

STRIDES = (4, 8, 16, 32)
"""Strides of the levels that are counted, finest first."""
CELLS_FROM, CELLS_TO = 4, 8
"""Sides in cells, ``sqrt(width * height)``, between which a box is sized for a level."""
LADDER = (0.5, 0.65, 0.8, 1.2, 1.5, 2.0)
"""Input sides that are counted beside the chosen one, as multiples of it."""
SIDE_STEP, LEAST_PX, MOST_PX = 32, 32, 8192
"""Input sides in pixels: the step, the least and the most."""


@dataclass(frozen=True, slots=True)
class LevelCounts:
    """Numbers of boxes at one level."""

    stride: int
    cells: int
    """Cells of the level in one image."""
    shorter_below: int
    """Boxes whose shorter side is below one cell: they cannot have a cell of their own."""
    longer_below: int
    """Boxes whose longer side is below one cell too."""
    sized: int
    """Boxes that are sized for this level out of ``STRIDES``."""
    shared: int
    """Boxes whose center lies in the same cell as another's of the image."""


@dataclass(frozen=True, slots=True)
class SideCounts:
    """Numbers of boxes at one input side."""

    input_px: int
    levels: tuple[LevelCounts, ...]
    """One for each of ``STRIDES``."""
    larger: int
    """Boxes that are larger than the coarsest level is for."""

    def level(self, stride: int) -> LevelCounts:
        """The level of this stride."""
        return self.levels[STRIDES.index(stride)]

    def sized_from(self, stride: int) -> int:
        """Boxes that are sized for this stride or larger."""
        return sum(level.sized for level in self.levels if level.stride >= stride) + self.larger

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        levels = [{name: getattr(level, name) for name in LevelCounts.__slots__} for level in self.levels]
        return {"input_px": self.input_px, "levels": levels, "larger": self.larger}


def side_ladder(input_px: int) -> tuple[int, ...]:
    """Input sides from half to twice ``input_px`` in steps of 32 pixels, itself among them."""
    if not LEAST_PX <= input_px <= MOST_PX:
        raise BadInput(f"--input {input_px} must be from {LEAST_PX} to {MOST_PX} pixels")
    rounded = (SIDE_STEP * round(input_px * factor / SIDE_STEP) for factor in LADDER)
    return tuple(sorted({input_px, *(side for side in rounded if LEAST_PX <= side <= MOST_PX)}))


def check_strides(strides: Sequence[int]) -> tuple[int, ...]:
    """The strides of a detector's levels; they must be consecutive ones of ``STRIDES``."""
    found = tuple(strides)
    if not found or all(found != STRIDES[at : at + len(found)] for at in range(len(STRIDES))):
        known = ",".join(map(str, STRIDES))
        raise BadInput(f"--levels {','.join(map(str, found))} must be consecutive strides of {known}, such as 8,16,32")
    return found


def count_levels(sizes: BoxSizes, input_px: int, resize: Resize) -> SideCounts:
    """Count the boxes at one input side."""
    boxes = sizes.at(input_px, resize)
    shorter, longer, areas = boxes.shorter, boxes.longer, boxes.areas
    ends = [0.0, *((CELLS_TO * stride) ** 2 for stride in STRIDES), np.inf]
    sized = np.histogram(areas, ends)[0].tolist()
    levels = []
    for stride, of_level in zip(STRIDES, sized, strict=False):
        across = -(-input_px // stride)
        levels.append(LevelCounts(
            stride, across**2, int((shorter < stride).sum()), int((longer < stride).sum()), of_level,
            _shared(boxes, sizes.image, stride, across),
        ))  # fmt: skip
    return SideCounts(input_px, tuple(levels), sized[-1])


def _shared(boxes: PlacedBoxes, image: np.ndarray, stride: int, across: int) -> int:
    """Boxes whose center lies in a cell with another's."""
    columns, rows = np.floor(boxes.centers / stride).astype(np.int64).clip(0, across - 1).T
    _, counts = np.unique((image * across + rows) * across + columns, return_counts=True)
    return int(counts[counts > 1].sum())
