"""SSD's random crop."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from distill.data.feed.augmentation import RandomAugmentation, Stage
from distill.data.feed.sample import Sample, Window
from distill.data.feed.scene import box_areas, transform_boxes

OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
TRIES = 40


@dataclass(frozen=True)
class Crop(RandomAugmentation):
    """Crops to a region that overlaps some object, and keeps the objects with their center inside."""

    stage: ClassVar[Stage] = Stage.GEOMETRY
    always_draws: ClassVar[bool] = True

    def apply(self, sample: Sample, rng: np.random.Generator) -> None:
        window = sample.window or Window.of(sample.scene.image)
        boxes = transform_boxes(sample.scene.boxes, window.matrix)
        squeeze = sample.pictures.squeeze(sample.index)
        region = crop_region(boxes[~sample.scene.crowd], window.width, window.height, squeeze, rng)
        if region is not None:
            left, top, right, bottom = region
            # by their centers, so that a crop's rim is not full of parts of objects
            centers = (boxes[:, :2] + boxes[:, 2:]) / 2
            inside = ((centers > (left, top)) & (centers < (right, bottom))).all(1)
            sample.scene = sample.scene.select(inside | sample.scene.crowd)
            window = replace(window, left=left, top=top, right=right, bottom=bottom)
        sample.window = window


def crop_region(
    boxes: np.ndarray, width: float, height: float, squeeze: float, rng: np.random.Generator
) -> tuple[float, float, float, float] | None:
    """A region x1, y1, x2, y2 of a picture ``width`` x ``height``, or None for no crop.

    The least overlap (IoU) with some box is drawn first, where 1 means no crop. Sides are 0.3 to 1 of the picture's,
    their aspect 0.5 to 2 in the picture as it was before it was squeezed horizontally by ``squeeze``, and some box
    has its center inside.
    """
    overlap = OVERLAPS[int(rng.integers(len(OVERLAPS)))]
    if overlap >= 1 or not len(boxes):
        return None
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    for _ in range(TRIES):
        w, h = rng.uniform(0.3, 1, 2) * (width, height)
        if not 0.5 <= w / squeeze / h <= 2:
            continue
        x, y = rng.random(2) * (width - w, height - h)
        low, high = np.array([x, y]), np.array([x + w, y + h])
        if not ((centers > low) & (centers < high)).all(1).any():
            continue
        common = (np.minimum(boxes[:, 2:], high) - np.maximum(boxes[:, :2], low)).clip(0).prod(1)
        if (common / (box_areas(boxes) + w * h - common)).max() >= overlap:
            return x, y, x + w, y + h
    return None
