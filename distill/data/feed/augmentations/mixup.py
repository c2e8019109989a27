"""YOLOX's mixup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from distill.data.feed.augmentation import RandomAugmentation, Stage, check_range
from distill.data.feed.sample import BLACK, Sample
from distill.data.feed.scene import Scene, clip, compose, merge, scale_shift


@dataclass(frozen=True)
class Mixup(RandomAugmentation):
    """Mixes a sample that has objects half and half with another picture that has some; all boxes stay."""

    stage: ClassVar[Stage] = Stage.SAMPLE
    always_draws: ClassVar[bool] = True
    scale: tuple[float, float] = (0.5, 1.5)
    """Range of the factor by which the other picture is scaled."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("Mixup scale", self.scale)

    def apply(self, sample: Sample, rng: np.random.Generator) -> None:
        if (~sample.scene.crowd).any() and len(sample.pictures.with_objects):
            sample.scene = blend(sample.scene, self._partner(sample, rng))

    def _partner(self, sample: Sample, rng: np.random.Generator) -> Scene:
        """The second picture: scaled, flipped half the time, and a random part of it where it is too large."""
        pictures = sample.pictures
        index = int(pictures.with_objects[rng.integers(len(pictures.with_objects))])
        scale = rng.uniform(*self.scale)
        flip = rng.random() < 0.5
        frame_px = pictures.input_px * scale
        right, down = rng.random(2) * max(frame_px - pictures.input_px, 0)
        # the frame is flipped with its padding, before a part of it is taken
        mirror = np.array([[-1.0, 0, frame_px], [0, 1, 0]]) if flip else scale_shift(1, 1)
        matrix = compose(scale_shift(1, 1, -right, -down), compose(mirror, scale_shift(scale, scale)))
        partner = sample.warp_native(pictures.scene(index), matrix)
        edge = round(frame_px * (sample.side_px / pictures.input_px))
        if edge < sample.side_px:
            # outside its frame YOLOX mixes in black
            partner.image[edge:] = BLACK
            partner.image[:, edge:] = BLACK
            partner = clip(partner, 0, 0, edge, edge)
        return partner


def blend(scene: Scene, other: Scene) -> Scene:
    """Half of each image, all boxes of both; the images are of one size."""
    return merge(cv2.addWeighted(scene.image, 0.5, other.image, 0.5, 0), [scene, other])
