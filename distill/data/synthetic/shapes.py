"""Shapes of the synthetic data set: classes and clutter as polygons and fills.

Everything that decides a pixel is computed in whole numbers, so that every machine gives the same pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

Rng = np.random.Generator
Outline = list[list[tuple[float, float]]]
"""Closed polygons around (0, 0), the furthest point about 1 away; where two overlap there is a hole."""

SUBPIXEL_BITS = 4
"""Corners are rounded to a sixteenth of a pixel, or finer."""
FINE_PX = 128
"""Up to this size shapes are drawn at four times the resolution, above it at twice."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A class: how it is drawn, how often, and the least size at which it differs visibly from its look-alikes."""

    name: str
    weight: int
    min_px: int
    outline: Callable[[Rng], Outline]
    tilt_degrees: float = 180.0
    """Largest rotation either way."""
    pattern: str | None = None
    """A fill that defines the class."""


def _round(radius: float = 1.0, squash: float = 1.0, corners: int = 40) -> list[tuple[float, float]]:
    angles = [2 * math.pi * i / corners for i in range(corners)]
    return [(radius * math.cos(angle), squash * radius * math.sin(angle)) for angle in angles]


def _box(half_width: float, half_height: float) -> list[tuple[float, float]]:
    w, h = half_width, half_height
    return [(-w, -h), (w, -h), (w, h), (-w, h)]


def _star(points: int, inner: float) -> list[tuple[float, float]]:
    return [
        (radius * math.sin(math.pi * i / points), -radius * math.cos(math.pi * i / points))
        for i in range(2 * points) for radius in [1.0 if i % 2 == 0 else inner]
    ]  # fmt: skip


def _disc(rng: Rng) -> Outline:
    return [_round(1.0, rng.uniform(0.92, 1.0))]


def _ring(rng: Rng) -> Outline:
    return [_round(1.0, squash := rng.uniform(0.92, 1.0)), _round(rng.uniform(0.45, 0.65), squash)]


def _ellipse(rng: Rng) -> Outline:
    return [_round(1.0, rng.uniform(0.42, 0.62))]


def _square(rng: Rng) -> Outline:
    return [_box(0.72, 0.72 * rng.uniform(0.9, 1.0))]


def _diamond(rng: Rng) -> Outline:
    narrow = rng.uniform(0.9, 1.0)
    return [[(0, -1), (narrow, 0), (0, 1), (-narrow, 0)]]


def _star5(rng: Rng) -> Outline:
    return [_star(5, rng.uniform(0.4, 0.52))]


def _star6(rng: Rng) -> Outline:
    return [_star(6, rng.uniform(0.46, 0.58))]


def _arrow_down(rng: Rng) -> Outline:
    neck, shaft, head = rng.uniform(-0.05, 0.25), rng.uniform(0.18, 0.3), rng.uniform(0.55, 0.75)
    return [[(-shaft, -1), (shaft, -1), (shaft, neck), (head, neck), (0, 1), (-head, neck), (-shaft, neck)]]


def _arrow_up(rng: Rng) -> Outline:
    return [[(x, -y) for x, y in _arrow_down(rng)[0]]]


def _panel(rng: Rng) -> Outline:
    return [_box(0.8, 0.8 * rng.uniform(0.6, 1.0))]


def _plus(rng: Rng) -> Outline:
    a = rng.uniform(0.24, 0.36)
    right = [(a, -1), (a, -a), (1, -a), (1, a), (a, a), (a, 1)]
    return [[(-a, -1), *right, (-a, 1), (-a, a), (-1, a), (-1, -a), (-a, -a)]]


KINDS: tuple[Kind, ...] = (
    Kind("disc", 20, 6, _disc),
    Kind("ring", 12, 10, _ring),
    Kind("ellipse", 8, 8, _ellipse),
    Kind("square", 16, 6, _square, 13),
    Kind("diamond", 8, 8, _diamond, 13),
    Kind("star-5", 9, 12, _star5),
    Kind("star-6", 4, 14, _star6),
    Kind("arrow-up", 10, 10, _arrow_up, 25),
    Kind("arrow-down", 6, 10, _arrow_down, 25),
    Kind("hatched", 5, 18, _panel, 30, "hatched"),
    Kind("dotted", 3, 18, _panel, 30, "dotted"),
    Kind("plus", 3, 8, _plus, 15),
)
"""The classes in the order of their COCO ids from 1. Neighbors look alike; weights make them imbalanced. A horizontal
flip turns none into another."""


def _triangle(rng: Rng) -> Outline:
    right, left = ((rng.uniform(0.6, 0.9), rng.uniform(0.4, 0.9)) for _ in range(2))
    return [[(0, -1), right, (-left[0], left[1])]]


def _crescent(rng: Rng) -> Outline:
    bite = rng.uniform(0.25, 0.5)
    outer = [(math.cos(a), math.sin(a)) for a in (math.pi * (i / 14 - 0.5) for i in range(15))]
    return [outer + [(bite * x, y) for x, y in reversed(outer[1:-1])]]


def _half_disc(_: Rng) -> Outline:
    return [[(math.cos(math.pi * i / 16), math.sin(math.pi * i / 16) - 0.4) for i in range(17)]]


def _corner(rng: Rng) -> Outline:
    a = rng.uniform(0.25, 0.5)
    return [[(-0.8, -0.8), (-0.8 + a, -0.8), (-0.8 + a, 0.8 - a), (0.8, 0.8 - a), (0.8, 0.8), (-0.8, 0.8)]]


def _bar(rng: Rng) -> Outline:
    return [_box(1.0, rng.uniform(0.06, 0.2))]


def _blob(rng: Rng) -> Outline:
    corners = int(rng.integers(6, 10))
    angles = [2 * math.pi * i / corners for i in range(corners)]
    radii = rng.uniform(0.35, 1.0, corners)
    return [[(r * math.cos(angle), r * math.sin(angle)) for angle, r in zip(angles, radii, strict=True)]]


def _zigzag(rng: Rng) -> Outline:
    a, n = rng.uniform(0.15, 0.3), 5
    upper = [(-1 + 2 * i / (n - 1), (-1) ** i * 0.35) for i in range(n)]
    return [upper + [(x, y + a) for x, y in reversed(upper)]]


CLUTTER: tuple[Callable[[Rng], Outline], ...] = (_triangle, _crescent, _half_disc, _corner, _bar, _blob, _zigzag)
"""Shapes that are no class."""


@dataclass(frozen=True, slots=True)
class Cover:
    """A drawn shape: the coverage of each pixel, with its corner at ``left``, ``top`` of the image."""

    left: int
    top: int
    alpha: np.ndarray
    """uint8 ``[h, w]``."""
    whole_px: float
    """Area of the whole shape in square pixels, parts outside the image included."""

    @property
    def window(self) -> tuple[slice, slice]:
        """Its rows and columns in the image."""
        h, w = self.alpha.shape
        return slice(self.top, self.top + h), slice(self.left, self.left + w)


def covered(
    outline: Outline, center: tuple[float, float], radius: float, degrees: float, size: tuple[int, int]
) -> Cover | None:
    """``outline`` placed in an image of ``size`` (height, width) with smooth edges; None if it is all outside."""
    height, width = size
    cos, sin = radius * math.cos(math.radians(degrees)), radius * math.sin(math.radians(degrees))
    placed = [
        [(center[0] + cos * x - sin * y, center[1] + sin * x + cos * y) for x, y in polygon] for polygon in outline
    ]
    xs, ys = zip(*(point for polygon in placed for point in polygon), strict=True)
    left, top = max(math.floor(min(xs)) - 1, 0), max(math.floor(min(ys)) - 1, 0)
    right, bottom = min(math.ceil(max(xs)) + 1, width), min(math.ceil(max(ys)) + 1, height)
    if right <= left or bottom <= top:
        return None
    h, w = bottom - top, right - left
    # filled at a higher resolution and averaged: cv2's own smooth edges make a shape half a pixel wider
    finer = 4 if max(h, w) <= FINE_PX else 2
    fine = np.zeros((finer * h, finer * w), np.uint8)
    unit = 1 << SUBPIXEL_BITS
    # cv2 counts from pixel centers
    points = [
        np.array(
            [[round((finer * (x - left) - 0.5) * unit), round((finer * (y - top) - 0.5) * unit)] for x, y in polygon],
            np.int32,
        )
        for polygon in placed
    ]
    cv2.fillPoly(fine, points, 255, cv2.LINE_8, SUBPIXEL_BITS)
    alpha = np.asarray(cv2.resize(fine, (w, h), interpolation=cv2.INTER_AREA), np.uint8)
    areas = [_area(polygon) for polygon in placed]
    return Cover(left, top, alpha, areas[0] - sum(areas[1:]))


def _area(polygon: list[tuple[float, float]]) -> float:
    edges = zip(polygon, polygon[1:] + polygon[:1], strict=True)
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in edges)) / 2


def fill(
    pattern: str, shape: tuple[int, int], colors: np.ndarray, period_px: int, degrees: float, rng: Rng
) -> np.ndarray:
    """A patch uint8 ``[h, w, 3]`` of one of ``PATTERNS`` in two ``colors`` ``[2, 3]``."""
    height, width = shape
    if pattern == "flat":
        return np.broadcast_to(colors[0].astype(np.uint8), (height, width, 3))
    # a rotated grid in 256ths of a pixel
    cos, sin = round(256 * math.cos(math.radians(degrees))), round(256 * math.sin(math.radians(degrees)))
    y, x = np.arange(height, dtype=np.int32)[:, None], np.arange(width, dtype=np.int32)[None]
    along, across = x * cos + y * sin, y * cos - x * sin
    if pattern == "gradient":
        low, high = int(along.min()), int(along.max())
        level = (along - low) * 255 // max(high - low, 1)
    elif pattern == "hatched":
        level = np.where(along // (128 * period_px) % 2, 255, 0)
    elif pattern == "dotted":
        half = 128 * period_px
        u, v = along % (2 * half) - half, across % (2 * half) - half
        level = np.where((u >> 4) ** 2 + (v >> 4) ** 2 < (half * 5 // 8 >> 4) ** 2, 255, 0)
    else:
        grains = rng.integers(0, 256, (max(height // 2, 1), max(width // 2, 1)), dtype=np.uint8)
        level = np.asarray(cv2.resize(grains, (width, height), interpolation=cv2.INTER_NEAREST), np.int32)
    return np.take(ramp(colors), level, axis=0)


PATTERNS = ("flat", "gradient", "hatched", "dotted", "speckled")


def ramp(colors: np.ndarray) -> np.ndarray:
    """256 colors evenly from the first of ``colors`` ``[k, 3]`` to the last, uint8 ``[256, 3]``."""
    steps = np.arange(256, dtype=np.int64) * (len(colors) - 1)
    low = np.minimum(steps // 255, len(colors) - 2)
    part = (steps - 255 * low)[:, None]
    ends = colors.astype(np.int64)
    return ((ends[low] * (255 - part) + ends[low + 1] * part + 127) // 255).astype(np.uint8)
