"""An image with its boxes, and what can be done to both without random numbers.

Coordinates are continuous: the first pixel reaches from 0 to 1 and its center is 0.5; a box's right and lower ends lie
just behind its last pixel. Matrices ``[2, 3]`` act on such coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(slots=True)
class Scene:
    """An image and its boxes."""

    image: np.ndarray
    """uint8 ``[h, w, 3]`` RGB; may be read-only."""
    boxes: np.ndarray
    """float32 ``[n, 4]``, x1, y1, x2, y2 in pixels of the image."""
    labels: np.ndarray
    """int64 ``[n]``."""
    crowd: np.ndarray
    """bool ``[n]``: regions that are ignored."""
    visible: np.ndarray
    """float32 ``[n]``: share of each box's area that is left after all clipping so far."""

    def with_image(self, image: np.ndarray) -> Scene:
        """The same boxes on another image."""
        return Scene(image, self.boxes, self.labels, self.crowd, self.visible)

    def with_boxes(self, boxes: np.ndarray) -> Scene:
        """The same objects with other boxes ``[n, 4]``."""
        return Scene(self.image, boxes, self.labels, self.crowd, self.visible)

    def select(self, mask: np.ndarray) -> Scene:
        """The boxes where ``mask`` (bool ``[n]``) is true."""
        return Scene(self.image, self.boxes[mask], self.labels[mask], self.crowd[mask], self.visible[mask])


@dataclass(frozen=True, slots=True)
class BoxFilter:
    """Which objects remain after clipping; the others count as background."""

    min_visible: float = 0.1
    """Least share of the object's box that is still in the image."""
    min_side_px: float = 2.0
    """Least width and height in pixels of the network's input."""
    max_aspect: float = math.inf
    """Largest ratio of the longer side to the shorter one."""

    def apply(self, scene: Scene) -> Scene:
        """``scene`` without the objects to drop. Crowd regions stay while anything of them is left."""
        sides = scene.boxes[:, 2:] - scene.boxes[:, :2]
        short, long = sides.min(1), sides.max(1)
        objects = (short > 0) & (short >= self.min_side_px)
        objects &= (scene.visible >= self.min_visible) & (long / self.max_aspect <= short)
        return scene.select(np.where(scene.crowd, short > 0, objects))


def empty_scene(image: np.ndarray) -> Scene:
    """An image without boxes."""
    none = np.zeros(0)
    boxes = none.astype(np.float32).reshape(0, 4)
    return Scene(image, boxes, none.astype(np.int64), none.astype(bool), none.astype(np.float32))


def merge(image: np.ndarray, scenes: Sequence[Scene]) -> Scene:
    """The boxes of all ``scenes`` on one image."""
    return Scene(
        image,
        np.concatenate([s.boxes for s in scenes]),
        np.concatenate([s.labels for s in scenes]),
        np.concatenate([s.crowd for s in scenes]),
        np.concatenate([s.visible for s in scenes]),
    )


def box_areas(boxes: np.ndarray) -> np.ndarray:
    """Areas ``[n]`` of ``boxes`` ``[n, 4]``."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def clip(scene: Scene, left: float, top: float, right: float, bottom: float) -> Scene:
    """Boxes clipped to a region in pixels; ``visible`` shrinks with their areas. None is dropped here."""
    boxes = scene.boxes.copy()
    boxes[:, 0::2] = boxes[:, 0::2].clip(left, right)
    boxes[:, 1::2] = boxes[:, 1::2].clip(top, bottom)
    before, after = box_areas(scene.boxes), box_areas(boxes)
    visible = scene.visible * np.divide(after, before, out=np.zeros_like(after), where=before > 0)
    return Scene(scene.image, boxes, scene.labels, scene.crowd, visible.astype(np.float32))


def compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The matrix ``[2, 3]`` that applies ``first`` and then ``second``."""
    linear = second[:, :2]
    return np.concatenate([linear @ first[:, :2], linear @ first[:, 2:] + second[:, 2:]], 1)


def scale_shift(x: float, y: float, right: float = 0.0, down: float = 0.0) -> np.ndarray:
    """The matrix that scales by ``x`` and ``y`` and then shifts by pixels."""
    return np.array([[x, 0, right], [0, y, down]], dtype=np.float64)


def transform_boxes(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The upright bounding boxes of ``boxes`` ``[n, 4]`` under ``matrix`` ``[2, 3]``, float32."""
    corners = boxes.astype(np.float64)[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    corners = corners @ matrix[:, :2].T + matrix[:, 2]
    return np.concatenate([corners.min(1), corners.max(1)], 1).astype(np.float32)


def warp(scene: Scene, matrix: np.ndarray, height: int, width: int, fill: int) -> Scene:
    """Image and boxes under ``matrix`` in an image ``height`` x ``width``, ``fill`` outside the source image."""
    # cv2 counts from pixel centers, so both sides shift by half a pixel
    pixels = matrix.copy()
    pixels[:, 2] += matrix[:, :2].sum(1) * 0.5 - 0.5
    image = cv2.warpAffine(
        scene.image, pixels, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT,
        borderValue=(fill, fill, fill),
    )  # fmt: skip
    return clip(scene.with_image(image).with_boxes(transform_boxes(scene.boxes, matrix)), 0, 0, width, height)
