"""Shapes of the synthetic data set: what the classes and the clutter look like, as polygons and fills.

Everything that decides a pixel is done in whole numbers, so that no machine rounds it otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

Draw = np.random.Generator
Outline = list[list[tuple[float, float]]]
"""Closed polygons about (0, 0), the furthest point about 1 away; where two overlap there is a hole."""

SUBPIXEL_BITS = 4
"""Corners are placed to a sixteenth of a pixel, or finer."""
FINE_PX = 128
"""Up to this size, edges are drawn four times as fine as the picture, above it twice."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A class: how it is drawn, how often, and from which size on it can be told from its look-alikes."""

    name: str
    weight: int
    least_px: int
    outline: Callable[[Draw], Outline]
    tilt_degrees: float = 180.0
    """Turned by up to so much either way."""
    pattern: str | None = None
    """A fill that makes the class what it is."""


def _round(radius: float = 1.0, squash: float = 1.0, corners: int = 40) -> list[tuple[float, float]]:
    return [(radius * math.cos(2 * math.pi * i / corners), squash * radius * math.sin(2 * math.pi * i / corners)) for i in range(corners)]


def _box(half_width: float, half_height: float) -> list[tuple[float, float]]:
    return [(-half_width, -half_height), (half_width, -half_height), (half_width, half_height), (-half_width, half_height)]


def _star(points: int, inner: float) -> list[tuple[float, float]]:
    return [
        (radius * math.sin(math.pi * i / points), -radius * math.cos(math.pi * i / points))
        for i in range(2 * points) for radius in [1.0 if i % 2 == 0 else inner]
    ]  # fmt: skip


def _disc(draw: Draw) -> Outline:
    return [_round(1.0, draw.uniform(0.92, 1.0))]


def _ring(draw: Draw) -> Outline:
    return [_round(1.0, squash := draw.uniform(0.92, 1.0)), _round(draw.uniform(0.45, 0.65), squash)]


def _ellipse(draw: Draw) -> Outline:
    return [_round(1.0, draw.uniform(0.42, 0.62))]


def _square(draw: Draw) -> Outline:
    return [_box(0.72, 0.72 * draw.uniform(0.9, 1.0))]


def _diamond(draw: Draw) -> Outline:
    narrow = draw.uniform(0.9, 1.0)
    return [[(0, -1), (narrow, 0), (0, 1), (-narrow, 0)]]


def _star5(draw: Draw) -> Outline:
    return [_star(5, draw.uniform(0.4, 0.52))]


def _star6(draw: Draw) -> Outline:
    return [_star(6, draw.uniform(0.46, 0.58))]


def _arrow_down(draw: Draw) -> Outline:
    neck, shaft, head = draw.uniform(-0.05, 0.25), draw.uniform(0.18, 0.3), draw.uniform(0.55, 0.75)
    return [[(-shaft, -1), (shaft, -1), (shaft, neck), (head, neck), (0, 1), (-head, neck), (-shaft, neck)]]


def _arrow_up(draw: Draw) -> Outline:
    return [[(x, -y) for x, y in _arrow_down(draw)[0]]]


def _panel(draw: Draw) -> Outline:
    return [_box(0.8, 0.8 * draw.uniform(0.6, 1.0))]


def _plus(draw: Draw) -> Outline:
    a = draw.uniform(0.24, 0.36)
    return [[(-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a), (a, 1), (-a, 1), (-a, a), (-1, a), (-1, -a), (-a, -a)]]


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
"""The classes, in the order of their COCO ids from 1. Neighbours look alike; the weights make them uneven. None becomes another when left and right are exchanged."""


def _triangle(draw: Draw) -> Outline:
    return [[(0, -1), (draw.uniform(0.6, 0.9), draw.uniform(0.4, 0.9)), (-draw.uniform(0.6, 0.9), draw.uniform(0.4, 0.9))]]


def _crescent(draw: Draw) -> Outline:
    bite = draw.uniform(0.25, 0.5)
    outer = [(math.cos(a), math.sin(a)) for a in (math.pi * (i / 14 - 0.5) for i in range(15))]
    return [outer + [(bite * x, y) for x, y in reversed(outer[1:-1])]]


def _half_disc(_: Draw) -> Outline:
    return [[(math.cos(math.pi * i / 16), math.sin(math.pi * i / 16) - 0.4) for i in range(17)]]


def _corner(draw: Draw) -> Outline:
    a = draw.uniform(0.25, 0.5)
    return [[(-0.8, -0.8), (-0.8 + a, -0.8), (-0.8 + a, 0.8 - a), (0.8, 0.8 - a), (0.8, 0.8), (-0.8, 0.8)]]


def _bar(draw: Draw) -> Outline:
    return [_box(1.0, draw.uniform(0.06, 0.2))]


def _blob(draw: Draw) -> Outline:
    corners = int(draw.integers(6, 10))
    return [[(r * math.cos(2 * math.pi * i / corners), r * math.sin(2 * math.pi * i / corners)) for i, r in enumerate(draw.uniform(0.35, 1.0, corners))]]


def _zigzag(draw: Draw) -> Outline:
    a, n = draw.uniform(0.15, 0.3), 5
    upper = [(-1 + 2 * i / (n - 1), (-1) ** i * 0.35) for i in range(n)]
    return [upper + [(x, y + a) for x, y in reversed(upper)]]


CLUTTER: tuple[Callable[[Draw], Outline], ...] = (_triangle, _crescent, _half_disc, _corner, _bar, _blob, _zigzag)
"""Shapes that are no class."""


@dataclass(frozen=True, slots=True)
class Cover:
    """A drawn shape: how much of each pixel it covers, uint8 ``[h, w]``, with its corner at ``left``, ``top`` in the picture."""

    left: int
    top: int
    alpha: np.ndarray
    whole_px: float
    """Area of the whole shape in square pixels, what lies outside the picture included."""

    @property
    def window(self) -> tuple[slice, slice]:
        """The part of the picture it lies in."""
        h, w = self.alpha.shape
        return slice(self.top, self.top + h), slice(self.left, self.left + w)


def covered(outline: Outline, centre: tuple[float, float], radius: float, degrees: float, size: tuple[int, int]) -> Cover | None:
    """``outline`` placed in a picture of ``size`` (height, width) with smooth edges; None if nothing of it is in there."""
    height, width = size
    cos, sin = radius * math.cos(math.radians(degrees)), radius * math.sin(math.radians(degrees))
    placed = [[(centre[0] + cos * x - sin * y, centre[1] + sin * x + cos * y) for x, y in polygon] for polygon in outline]
    xs, ys = zip(*(point for polygon in placed for point in polygon), strict=True)
    left, top = max(math.floor(min(xs)) - 1, 0), max(math.floor(min(ys)) - 1, 0)
    right, bottom = min(math.ceil(max(xs)) + 1, width), min(math.ceil(max(ys)) + 1, height)
    if right <= left or bottom <= top:
        return None
    h, w = bottom - top, right - left
    # filled finely and averaged: cv2's own smooth edges make a shape half a pixel wider
    finer = 4 if max(h, w) <= FINE_PX else 2
    fine = np.zeros((finer * h, finer * w), np.uint8)
    one = 1 << SUBPIXEL_BITS
    # cv2 counts from pixel centres
    points = [np.array([[round((finer * (x - left) - 0.5) * one), round((finer * (y - top) - 0.5) * one)] for x, y in polygon], np.int32) for polygon in placed]
    cv2.fillPoly(fine, points, 255, cv2.LINE_8, SUBPIXEL_BITS)
    alpha = np.asarray(cv2.resize(fine, (w, h), interpolation=cv2.INTER_AREA), np.uint8)
    areas = [_area(polygon) for polygon in placed]
    return Cover(left, top, alpha, areas[0] - sum(areas[1:]))


def _area(polygon: list[tuple[float, float]]) -> float:
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(polygon, polygon[1:] + polygon[:1], strict=True))) / 2


def fill(pattern: str, shape: tuple[int, int], colours: np.ndarray, period_px: int, degrees: float, draw: Draw) -> np.ndarray:
    """A patch uint8 ``[h, w, 3]`` of one of ``PATTERNS`` in two ``colours`` ``[2, 3]``."""
    height, width = shape
    if pattern == "flat":
        return np.broadcast_to(colours[0].astype(np.uint8), (height, width, 3))
    # a turned grid in 256ths of a pixel
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
        grains = draw.integers(0, 256, (max(height // 2, 1), max(width // 2, 1)), dtype=np.uint8)
        level = np.asarray(cv2.resize(grains, (width, height), interpolation=cv2.INTER_NEAREST), np.int32)
    return np.take(ramp(colours), level, axis=0)


PATTERNS = ("flat", "gradient", "hatched", "dotted", "speckled")


def ramp(colours: np.ndarray) -> np.ndarray:
    """256 colours evenly from the first of ``colours`` ``[k, 3]`` to the last, uint8 ``[256, 3]``."""
    steps = np.arange(256, dtype=np.int64) * (len(colours) - 1)
    low = np.minimum(steps // 255, len(colours) - 2)
    part = (steps - 255 * low)[:, None]
    ends = colours.astype(np.int64)
    return ((ends[low] * (255 - part) + ends[low + 1] * part + 127) // 255).astype(np.uint8)
