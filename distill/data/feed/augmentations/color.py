"""Color jitter in HSV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import cv2
import numpy as np

from distill.data.feed.augmentation import Augmentation, Stage
from distill.data.feed.sample import Sample


@dataclass(frozen=True)
class ColorJitter(Augmentation):
    """Changes hue (in half degrees), saturation and value (0 to 255).

    ``shift`` adds up to the given amounts either way, each of the three half the time; ``gain`` multiplies by 1 plus
    or minus up to the given shares.
    """

    stage: ClassVar[Stage] = Stage.SAMPLE
    kind: Literal["shift", "gain"]
    hue: float
    saturation: float
    value: float

    def apply(self, sample: Sample, rng: np.random.Generator) -> None:
        sample.scene = sample.scene.with_image(self.jitter(sample.scene.image, rng))

    def jitter(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """``image`` uint8 ``[h, w, 3]`` with other colors."""
        levels, limits = np.arange(256), (self.hue, self.saturation, self.value)
        if self.kind == "shift":
            amounts = rng.uniform(-1, 1, 3) * limits * rng.integers(0, 2, 3)
            hue, saturation, value = (levels + int(amount) for amount in amounts)
        else:
            factors = 1 + rng.uniform(-1, 1, 3) * limits
            hue, saturation, value = (levels * factor for factor in factors)
        # cv2 keeps the hue of 8-bit images in half degrees
        table = np.stack([hue % 180, saturation.clip(0, 255), value.clip(0, 255)], 1).astype(np.uint8)
        hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), table[None])
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
