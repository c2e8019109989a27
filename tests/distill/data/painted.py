"""Pictures for the tests of data: painted boxes that must stay on their pixels, and synthetic ones on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from distill.data.classes import ClassMap
from distill.data.dataset import DataSet, Picture
from distill.data.feed.scene import Scene
from distill.data.synthetic.synth import KINDS, draw_picture

LIT = 64
"""A pixel as bright as this shows an object, even half covered or mixed half and half."""


def painted(boxes: Sequence[tuple[int, int, int, int]], width: int, height: int, crowd: Sequence[bool] = ()) -> Scene:
    """White boxes (x1, y1, x2, y2) on black."""
    image = np.zeros((height, width, 3), np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 255
    count = len(boxes)
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    return Scene(
        image,
        corners,
        np.arange(count),
        np.array([*crowd, *[False] * (count - len(crowd))], bool),
        np.ones(count, np.float32),
    )


def lit_outside(image: np.ndarray, boxes: np.ndarray, margin_px: float) -> int:
    """How many bright pixels lie in no box, not even one ``margin_px`` wider."""
    lit = image.max(2) >= LIT
    for x1, y1, x2, y2 in boxes:
        lit[
            max(int(np.floor(y1 - margin_px)), 0) : int(np.ceil(y2 + margin_px)),
            max(int(np.floor(x1 - margin_px)), 0) : int(np.ceil(x2 + margin_px)),
        ] = False
    return int(lit.sum())


def dark_inside(image: np.ndarray, boxes: np.ndarray, margin_px: float) -> int:
    """How many dark pixels lie in boxes, leaving out a rim of ``margin_px``."""
    dark = 0
    for x1, y1, x2, y2 in boxes:
        inner = image[
            int(np.ceil(y1 + margin_px)) : max(int(np.floor(y2 - margin_px)), 0),
            int(np.ceil(x1 + margin_px)) : max(int(np.floor(x2 - margin_px)), 0),
        ]
        dark += int((inner.max(2) < LIT).sum()) if inner.size else 0
    return dark


def write_set(
    folder: Path, scenes: Sequence[Scene], name: str = "train", classes: Sequence[str] = ("thing",)
) -> DataSet:
    """The scenes as PNG files; labels wrap round to the classes there are."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for index, scene in enumerate(scenes):
        file = folder / f"{index:03d}.png"
        assert cv2.imwrite(str(file), scene.image[:, :, ::-1])
        h, w = scene.image.shape[:2]
        sides = scene.boxes[:, 2:] - scene.boxes[:, :2]
        pictures.append(
            Picture(index + 1, file, w, h, scene.boxes, scene.labels % len(classes), scene.crowd, sides.prod(1))
        )
    return DataSet(folder, name, ClassMap.of(enumerate(classes, 1)), tuple(pictures))


def synthetic_set(folder: Path, count: int, seed: int = 0) -> DataSet:
    """The first pictures of the synthetic set."""
    scenes = []
    for index in range(count):
        drawn = draw_picture(seed, index)
        boxes = np.array(drawn.boxes, np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        scenes.append(
            Scene(
                drawn.image,
                boxes,
                np.array(drawn.labels, np.int64),
                np.array(drawn.crowd, bool),
                np.ones(len(boxes), np.float32),
            )
        )
    return write_set(folder, scenes, classes=[kind.name for kind in KINDS])


def random_boxes(
    draw: np.random.Generator, width: int, height: int, most: int = 4, least_px: int = 12
) -> list[tuple[int, int, int, int]]:
    """Up to ``most`` boxes that do not touch."""
    boxes: list[tuple[int, int, int, int]] = []
    for _ in range(most):
        w, h = (int(draw.integers(least_px, max(side // 2, least_px + 1))) for side in (width, height))
        x, y = int(draw.integers(0, width - w + 1)), int(draw.integers(0, height - h + 1))
        if all(x + w + 3 < a or x > c + 3 or y + h + 3 < b or y > d + 3 for a, b, c, d in boxes):
            boxes.append((x, y, x + w, y + h))
    return boxes
