"""A random affine map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from distill.data.feed.augmentation import Augmentation, Stage, check_range
from distill.data.feed.sample import Sample


@dataclass(frozen=True)
class Affine(Augmentation):
    """Rotates, scales, shears and shifts; uniform numbers within each range. Not applied where a window is set."""

    stage: ClassVar[Stage] = Stage.GEOMETRY
    degrees: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shear_degrees: float = 0.0
    translate: float = 0.0
    """Share of the output's side, either way."""
    anchor: Literal["center", "corner"] = "center"
    """What stays in place when nothing is shifted: the center, or the upper left corner."""

    def __post_init__(self) -> None:
        check_range("Affine scale", self.scale)

    def matrix(self, source_px: int, target_px: int, rng: np.random.Generator) -> np.ndarray:
        """A random matrix ``[2, 3]`` from a square of ``source_px`` to one of ``target_px``."""
        angle = math.radians(rng.uniform(-self.degrees, self.degrees))
        scale = rng.uniform(*self.scale)
        limit = self.shear_degrees
        shear_x, shear_y = (math.tan(math.radians(rng.uniform(-limit, limit))) for _ in range(2))
        move_x, move_y = (rng.uniform(-self.translate, self.translate) * target_px for _ in range(2))
        cos, sin = scale * math.cos(angle), scale * math.sin(angle)
        linear = np.array([[1, shear_x], [shear_y, 1]]) @ np.array([[cos, sin], [-sin, cos]])
        offset = np.array([move_x, move_y])
        if self.anchor == "center":
            offset += target_px / 2 - linear @ np.full(2, source_px / 2)
        return np.concatenate([linear, offset[:, None]], 1)

    def apply(self, sample: Sample, rng: np.random.Generator) -> None:
        if sample.window is None:
            native = sample.pictures.input_px
            sample.matrix = self.matrix(native, native, rng)
