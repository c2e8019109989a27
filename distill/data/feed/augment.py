"""Transforms of one picture and its boxes, in which boxes follow pixels.

Coordinates are continuous: the first pixel reaches from 0 to 1, its centre is 0.5, a box's right and lower ends lie just
behind its last pixel. Matrices ``[2, 3]`` act on such coordinates. Nothing here reads files or decides whether to act:
``sample.py`` does the one, ``presets.py`` says the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from distill.data.feed.presets import Affine, Colours, Keep


@dataclass(slots=True)
class Scene:
    """A picture and what is on it."""

    image: np.ndarray
    """uint8 ``[h, w, 3]`` RGB; may be read-only."""
    boxes: np.ndarray
    """float32 ``[n, 4]``, x1, y1, x2, y2 in pixels of the image."""
    labels: np.ndarray
    """int64 ``[n]``."""
    crowd: np.ndarray
    """bool ``[n]``: regions that are ignored."""
    share: np.ndarray
    """float32 ``[n]``: how much of each box's area is left after all cutting so far, 0 to 1."""

    def with_image(self, image: np.ndarray) -> Scene:
        """The same boxes on another picture."""
        return Scene(image, self.boxes, self.labels, self.crowd, self.share)

    def chosen(self, which: np.ndarray) -> Scene:
        """The boxes that ``which`` (bool ``[n]``) names."""
        return Scene(self.image, self.boxes[which], self.labels[which], self.crowd[which], self.share[which])


def empty_scene(image: np.ndarray) -> Scene:
    """A picture with nothing on it."""
    none = np.zeros(0)
    return Scene(image, none.astype(np.float32).reshape(0, 4), none.astype(np.int64), none.astype(bool), none.astype(np.float32))


def joined(image: np.ndarray, scenes: list[Scene]) -> Scene:
    """All boxes of ``scenes`` on one picture."""
    return Scene(
        image,
        np.concatenate([s.boxes for s in scenes]),
        np.concatenate([s.labels for s in scenes]),
        np.concatenate([s.crowd for s in scenes]),
        np.concatenate([s.share for s in scenes]),
    )


def moved(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The upright boxes about ``boxes`` ``[n, 4]`` under ``matrix`` ``[2, 3]``, float32."""
    corners = boxes.astype(np.float64)[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2) @ matrix[:, :2].T + matrix[:, 2]
    return np.concatenate([corners.min(1), corners.max(1)], 1).astype(np.float32)


def cut(scene: Scene, left: float, top: float, right: float, bottom: float) -> Scene:
    """Boxes clipped to a region in pixels; ``share`` shrinks with their areas. None is dropped here."""
    boxes = scene.boxes.copy()
    boxes[:, 0::2] = boxes[:, 0::2].clip(left, right)
    boxes[:, 1::2] = boxes[:, 1::2].clip(top, bottom)
    before, after = _areas(scene.boxes), _areas(boxes)
    share = scene.share * np.divide(after, before, out=np.zeros_like(after), where=before > 0)
    return Scene(scene.image, boxes, scene.labels, scene.crowd, share.astype(np.float32))


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def kept(scene: Scene, rule: Keep) -> Scene:
    """Without the objects that ``rule`` drops. Crowd regions stay while anything of them is left."""
    sides = scene.boxes[:, 2:] - scene.boxes[:, :2]
    short, long = sides.min(1), sides.max(1)
    objects = (short > 0) & (short >= rule.side_px) & (scene.share >= rule.share) & (long / rule.aspect <= short)
    return scene.chosen(np.where(scene.crowd, short > 0, objects))


def warped(scene: Scene, matrix: np.ndarray, height: int, width: int, fill: int) -> Scene:
    """Picture and boxes under ``matrix``, in a picture ``height`` x ``width`` that is ``fill`` where there is none."""
    # cv2 counts from pixel centres, so both sides shift by half a pixel
    pixels = matrix.copy()
    pixels[:, 2] += matrix[:, :2].sum(1) * 0.5 - 0.5
    image = cv2.warpAffine(scene.image, pixels, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(fill, fill, fill))
    return cut(Scene(image, moved(scene.boxes, matrix), scene.labels, scene.crowd, scene.share), 0, 0, width, height)


def flipped(scene: Scene) -> Scene:
    """Left and right exchanged."""
    width = scene.image.shape[1]
    boxes = scene.boxes.copy()
    boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    return Scene(cv2.flip(scene.image, 1), boxes, scene.labels, scene.crowd, scene.share)


def chained(last: np.ndarray, first: np.ndarray) -> np.ndarray:
    """One matrix ``[2, 3]`` for ``first`` and then ``last``."""
    return np.concatenate([last[:, :2] @ first[:, :2], last[:, :2] @ first[:, 2:] + last[:, 2:]], 1)


def scaling(x: float, y: float, right: float = 0.0, down: float = 0.0) -> np.ndarray:
    """The matrix that stretches by ``x`` and ``y`` and then moves by pixels."""
    return np.array([[x, 0, right], [0, y, down]], dtype=np.float64)


def random_affine(how: Affine, source_px: int, target_px: int, draw: np.random.Generator) -> np.ndarray:
    """A matrix from a square of ``source_px`` to one of ``target_px``: turned, scaled, sheared, moved as ``how`` allows."""
    angle = math.radians(draw.uniform(-how.degrees, how.degrees))
    scale = draw.uniform(*how.scale)
    shear_x, shear_y = (math.tan(math.radians(draw.uniform(-how.shear_degrees, how.shear_degrees))) for _ in range(2))
    move_x, move_y = (draw.uniform(-how.translate, how.translate) * target_px for _ in range(2))
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[1, shear_x], [shear_y, 1]]) @ np.array([[cos, sin], [-sin, cos]])
    offset = np.array([move_x, move_y])
    if how.about == "centre":
        offset += target_px / 2 - linear @ np.full(2, source_px / 2)
    return np.concatenate([linear, offset[:, None]], 1)


def blended(scene: Scene, other: Scene) -> Scene:
    """Half of each picture, all boxes of both; the pictures are of one size."""
    return joined(cv2.addWeighted(scene.image, 0.5, other.image, 0.5, 0), [scene, other])


def recoloured(image: np.ndarray, how: Colours, draw: np.random.Generator) -> np.ndarray:
    """Hue, saturation and value changed as ``how`` allows, uint8 ``[h, w, 3]``."""
    levels = np.arange(256)
    if how.kind == "shift":
        amounts = draw.uniform(-1, 1, 3) * (how.hue, how.saturation, how.value) * draw.integers(0, 2, 3)
        hue, saturation, value = (levels + int(amount) for amount in amounts)
    else:
        factors = 1 + draw.uniform(-1, 1, 3) * (how.hue, how.saturation, how.value)
        hue, saturation, value = (levels * factor for factor in factors)
    # cv2 keeps the hue of 8-bit pictures in half degrees
    table = np.stack([hue % 180, saturation.clip(0, 255), value.clip(0, 255)], 1).astype(np.uint8)
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), table[None])
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def distorted(image: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """SSD's photometric distortion: brightness, contrast, saturation and hue, each half the time, contrast first or last."""
    brightness = draw.uniform(0.875, 1.125) if draw.random() < 0.5 else 1.0
    contrast = draw.uniform(0.5, 1.5) if draw.random() < 0.5 else 1.0
    saturation = draw.uniform(0.5, 1.5) if draw.random() < 0.5 else 1.0
    hue_turns = draw.uniform(-0.05, 0.05) if draw.random() < 0.5 else 0.0
    contrast_first = draw.random() < 0.5
    if brightness != 1:
        image = cv2.convertScaleAbs(image, alpha=brightness)
    if contrast_first:
        image = _contrasted(image, contrast)
    if saturation != 1:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        image = cv2.addWeighted(image, saturation, grey, 1 - saturation, 0)
    if hue_turns:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hsv[:, :, 0] = cv2.LUT(hsv[:, :, 0], ((np.arange(256) + round(180 * hue_turns)) % 180).astype(np.uint8))
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return image if contrast_first else _contrasted(image, contrast)


def _contrasted(image: np.ndarray, factor: float) -> np.ndarray:
    if factor == 1:
        return image
    mean = cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0]
    table = (np.arange(256) * factor + (1 - factor) * mean).round().clip(0, 255).astype(np.uint8)
    return cv2.LUT(image, table)


CROP_OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
CROP_TRIES = 40


def crop_region(boxes: np.ndarray, width: float, height: float, squeeze: float, draw: np.random.Generator) -> tuple[float, float, float, float] | None:
    """SSD's crop: a region x1, y1, x2, y2 of a picture ``width`` x ``height`` that overlaps some box enough, or None for no crop.

    The least overlap (IoU) is drawn first, 1 of it meaning no crop. Sides are 0.3 to 1 of the picture's, their aspect 0.5 to
    2 as the picture was before it was squeezed horizontally by ``squeeze``, and a box has its centre inside.
    """
    overlap = CROP_OVERLAPS[int(draw.integers(len(CROP_OVERLAPS)))]
    if overlap >= 1 or not len(boxes):
        return None
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    for _ in range(CROP_TRIES):
        w, h = draw.uniform(0.3, 1, 2) * (width, height)
        if not 0.5 <= w / squeeze / h <= 2:
            continue
        x, y = draw.random(2) * (width - w, height - h)
        low, high = np.array([x, y]), np.array([x + w, y + h])
        if not ((centres > low) & (centres < high)).all(1).any():
            continue
        common = (np.minimum(boxes[:, 2:], high) - np.maximum(boxes[:, :2], low)).clip(0).prod(1)
        if (common / (_areas(boxes) + w * h - common)).max() >= overlap:
            return x, y, x + w, y + h
    return None
