"""SSD's zoom out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from distill.data.feed.augmentation import RandomAugmentation, Stage
from distill.data.feed.sample import BLACK, Sample, Window
from distill.data.feed.scene import scale_shift


@dataclass(frozen=True)
class ZoomOut(RandomAugmentation):
    """Puts the picture at a random place of a black one up to ``max_factor`` times as wide and high."""

    stage: ClassVar[Stage] = Stage.GEOMETRY
    always_draws: ClassVar[bool] = True
    max_factor: float = 4.0

    def apply(self, sample: Sample, rng: np.random.Generator) -> None:
        height, width = sample.scene.image.shape[:2]
        factor = rng.uniform(1, self.max_factor)
        right, down = rng.random(2) * (width * (factor - 1), height * (factor - 1))
        sample.window = Window(scale_shift(1, 1, right, down), 0.0, 0.0, width * factor, height * factor, BLACK)
