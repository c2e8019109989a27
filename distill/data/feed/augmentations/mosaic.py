"""Mosaics: four or nine pictures on one canvas, twice as wide and high as the network's input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from distill.data.feed.augmentation import RandomAugmentation, Stage, check_share
from distill.data.feed.augmentations.affine import Affine
from distill.data.feed.sample import Sample
from distill.data.feed.scene import Scene, clip, merge


@dataclass(frozen=True)
class Mosaic(RandomAugmentation):
    """Makes the sample of the picture and three or eight random ones, under a random affine map."""

    stage: ClassVar[Stage] = Stage.COMPOSE
    always_draws: ClassVar[bool] = True
    affine: Affine = field(default_factory=Affine)
    """From the canvas to the input; without any range it shows the canvas's middle."""
    nine: float = 0.0
    """Share of the mosaics that are of nine pictures; the others are of four."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("Mosaic nine", self.nine)

    def apply(self, sample: Sample, rng: np.random.Generator) -> None:
        pictures = sample.pictures
        count, arrange = (9, nine) if rng.random() < self.nine else (4, four)
        others = rng.integers(len(pictures), size=count - 1).tolist()
        native = pictures.input_px
        sample.canvas.fill(pictures.preprocess.pad)
        scenes = [sample.scene, *(pictures.scene(index) for index in others)]
        scene = arrange(scenes, native, sample.canvas, rng)
        sample.scene = sample.warp_native(scene, self.affine.matrix(2 * native, native, rng))


def four(scenes: Sequence[Scene], side_px: int, canvas: np.ndarray, rng: np.random.Generator) -> Scene:
    """Four pictures about a point in the canvas's middle half, each clipped to the canvas.

    ``canvas`` uint8 ``[2 side_px, 2 side_px, 3]`` is overwritten where pictures lie. Each picture fits in ``side_px``.
    """
    x, y = (int(rng.uniform(0.5, 1.5) * side_px) for _ in range(2))
    tiles = []
    for position, scene in enumerate(scenes):
        h, w = scene.image.shape[:2]
        left, top = (x if position % 2 else x - w), (y if position // 2 else y - h)
        tiles.append(_paste(scene, left, top, (0, 0, 2 * side_px, 2 * side_px), canvas))
    return merge(canvas, tiles)


def nine(scenes: Sequence[Scene], side_px: int, canvas: np.ndarray, rng: np.random.Generator) -> Scene:
    """Nine pictures in three rows and columns of uneven width; each shows as much of itself as its cell holds.

    A picture larger than its cell lies behind it at a random offset, a smaller one lies in it at a random offset.
    """
    side = 2 * side_px
    grid = [[0, *(int(side * (at + rng.uniform(-1, 1) / 9)) for at in (1 / 3, 2 / 3)), side] for _ in range(2)]
    tiles = []
    for position, scene in enumerate(scenes):
        h, w = scene.image.shape[:2]
        column, row = position % 3, position // 3
        (x1, x2), (y1, y2) = grid[0][column : column + 2], grid[1][row : row + 2]
        left, top = (low + int(rng.random() * (high - low - size)) for low, high, size in ((x1, x2, w), (y1, y2, h)))
        tiles.append(_paste(scene, left, top, (x1, y1, x2, y2), canvas))
    return merge(canvas, tiles)


def _paste(scene: Scene, left: int, top: int, cell: tuple[int, int, int, int], canvas: np.ndarray) -> Scene:
    """The picture painted inside ``cell`` with its corner at ``left``, ``top``; its boxes clipped to the cell."""
    h, w = scene.image.shape[:2]
    x1, y1 = max(left, cell[0]), max(top, cell[1])
    x2, y2 = max(min(left + w, cell[2]), x1), max(min(top + h, cell[3]), y1)
    canvas[y1:y2, x1:x2] = scene.image[y1 - top : y2 - top, x1 - left : x2 - left]
    boxes = scene.boxes + np.array([left, top, left, top], dtype=np.float32)
    return clip(scene.with_image(canvas).with_boxes(boxes), x1, y1, x2, y2)
