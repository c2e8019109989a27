"""Mosaics: four or nine pictures on one canvas, twice as wide and high as the network's input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distill.data.feed.augment import Scene, cut, joined


def four(scenes: Sequence[Scene], side_px: int, canvas: np.ndarray, draw: np.random.Generator) -> Scene:
    """Four pictures about a point in the canvas's middle half; each is cut where it leaves the canvas.

    ``canvas`` uint8 ``[2 side_px, 2 side_px, 3]`` is overwritten where pictures lie. Each picture fits in ``side_px``.
    """
    x, y = (int(draw.uniform(0.5, 1.5) * side_px) for _ in range(2))
    tiles = []
    for place, scene in enumerate(scenes):
        h, w = scene.image.shape[:2]
        left, top = (x if place % 2 else x - w), (y if place // 2 else y - h)
        tiles.append(_laid(scene, left, top, (0, 0, 2 * side_px, 2 * side_px), canvas))
    return joined(canvas, tiles)


def nine(scenes: Sequence[Scene], side_px: int, canvas: np.ndarray, draw: np.random.Generator) -> Scene:
    """Nine pictures in three rows and columns of uneven width; each shows as much of itself as its cell holds.

    A picture that is larger than its cell lies behind it at random, one that is smaller lies in it at random.
    """
    side = 2 * side_px
    lines = [[0, *(int(side * (at + draw.uniform(-1, 1) / 9)) for at in (1 / 3, 2 / 3)), side] for _ in range(2)]
    tiles = []
    for place, scene in enumerate(scenes):
        h, w = scene.image.shape[:2]
        (x1, x2), (y1, y2) = (ends[at : at + 2] for ends, at in zip(lines, (place % 3, place // 3), strict=True))
        left, top = (low + int(draw.random() * (high - low - size)) for low, high, size in ((x1, x2, w), (y1, y2, h)))
        tiles.append(_laid(scene, left, top, (x1, y1, x2, y2), canvas))
    return joined(canvas, tiles)


def _laid(scene: Scene, left: int, top: int, cell: tuple[int, int, int, int], canvas: np.ndarray) -> Scene:
    """The picture with its corner at ``left``, ``top``, painted inside ``cell`` only; its boxes on the canvas, cut likewise."""
    h, w = scene.image.shape[:2]
    x1, y1 = max(left, cell[0]), max(top, cell[1])
    x2, y2 = max(min(left + w, cell[2]), x1), max(min(top + h, cell[3]), y1)
    canvas[y1:y2, x1:x2] = scene.image[y1 - top : y2 - top, x1 - left : x2 - left]
    boxes = scene.boxes + np.array([left, top, left, top], dtype=np.float32)
    return cut(Scene(canvas, boxes, scene.labels, scene.crowd, scene.share), x1, y1, x2, y2)
