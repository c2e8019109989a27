"""SSD's photometric distortion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from distill.data.feed.augmentation import RandomAugmentation, Stage
from distill.data.feed.sample import Sample


@dataclass(frozen=True)
class Distort(RandomAugmentation):
    """Changes brightness, contrast, saturation and hue, each half the time; contrast comes first or last."""

    stage: ClassVar[Stage] = Stage.PIXELS
    always_draws: ClassVar[bool] = True

    def apply(self, sample: Sample, rng: np.random.Generator) -> None:
        sample.scene = sample.scene.with_image(distorted(sample.scene.image, rng))


def distorted(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``image`` uint8 ``[h, w, 3]`` distorted."""
    brightness = rng.uniform(0.875, 1.125) if rng.random() < 0.5 else 1.0
    contrast = rng.uniform(0.5, 1.5) if rng.random() < 0.5 else 1.0
    saturation = rng.uniform(0.5, 1.5) if rng.random() < 0.5 else 1.0
    hue_turns = rng.uniform(-0.05, 0.05) if rng.random() < 0.5 else 0.0
    contrast_first = rng.random() < 0.5
    if brightness != 1:
        image = cv2.convertScaleAbs(image, alpha=brightness)
    if contrast_first:
        image = _with_contrast(image, contrast)
    if saturation != 1:
        gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        image = cv2.addWeighted(image, saturation, gray, 1 - saturation, 0)
    if hue_turns:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        table = ((np.arange(256) + round(180 * hue_turns)) % 180).astype(np.uint8)
        hsv[:, :, 0] = cv2.LUT(hsv[:, :, 0], table)
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return image if contrast_first else _with_contrast(image, contrast)


def _with_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    if factor == 1:
        return image
    mean = cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0]
    table = (np.arange(256) * factor + (1 - factor) * mean).round().clip(0, 255).astype(np.uint8)
    return cv2.LUT(image, table)
