"""Horizontal flip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from distill.data.feed.augmentation import RandomAugmentation, Stage
from distill.data.feed.sample import Sample
from distill.data.feed.scene import Scene


@dataclass(frozen=True)
class Flip(RandomAugmentation):
    """Exchanges left and right."""

    stage: ClassVar[Stage] = Stage.SAMPLE
    always_draws: ClassVar[bool] = True

    def apply(self, sample: Sample, rng: np.random.Generator) -> None:
        sample.scene = flipped(sample.scene)


def flipped(scene: Scene) -> Scene:
    """``scene`` mirrored."""
    width = scene.image.shape[1]
    boxes = scene.boxes.copy()
    boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    return scene.with_image(cv2.flip(scene.image, 1)).with_boxes(boxes)
