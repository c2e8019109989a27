"""The image of a synthetic picture while it is made, and which object each of its pixels shows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from distill.data.synthetic.scenery import lit
from distill.data.synthetic.shapes import CLUTTER, KINDS, Cover, Rng, covered, fill

MIN_VISIBLE = 0.25
"""Share of an object that must be visible; of less a crowd region is made."""
MIN_PX = 9
"""Visible pixels below which an object is not annotated."""


@dataclass(slots=True)
class SynthPicture:
    """An image uint8 ``[h, w, 3]`` RGB and its objects."""

    image: np.ndarray
    boxes: list[tuple[int, int, int, int]] = field(default_factory=list)
    """x, y, width and height in pixels."""
    labels: list[int] = field(default_factory=list)
    """Indices in ``KINDS``."""
    areas: list[int] = field(default_factory=list)
    """Visible pixels."""
    crowd: list[bool] = field(default_factory=list)


def random_sizes(rng: Rng, count: int, low: float, high: float) -> list[float]:
    """Random sides in pixels, log-uniform."""
    return [math.exp(rng.uniform(math.log(low), math.log(high))) for _ in range(count)]


class Canvas:
    """An image, and the number of the object that each of its pixels shows: 0 for background and clutter."""

    def __init__(self, image: np.ndarray, rng: Rng) -> None:
        self.image = image
        self.rng = rng
        self.size = (image.shape[0], image.shape[1])
        self.visible = np.zeros(self.size, np.int16)
        self.objects: list[tuple[int, float, bool]] = []
        """Class, whole area in square pixels and whether it is a swarm, of objects 1, 2, ..."""
        self.places: list[tuple[float, float, float]] = []
        """Center and radius of the objects so far."""

    def clutter(self, low_px: float, high_px: float) -> None:
        """Add a shape that is no class at a random place."""
        (radius,) = random_sizes(self.rng, 1, low_px, max(high_px, low_px + 1))
        outline = CLUTTER[int(self.rng.integers(len(CLUTTER)))](self.rng)
        center = (self.rng.uniform(0, self.size[1]), self.rng.uniform(0, self.size[0]))
        cover = covered(outline, center, radius / 2, self.rng.uniform(-180, 180), self.size)
        if cover is not None:
            self.paint(cover, self._fill(cover, None), 0)

    def object(self, size_px: float) -> None:
        """Add an object of a random class with sides of about ``size_px``."""
        number = self._class(size_px)
        kind = KINDS[number]
        radius = max(size_px, kind.min_px) / 2
        center = self._place(radius)
        self.places.append((*center, radius))
        outline, degrees = kind.outline(self.rng), self.rng.uniform(-kind.tilt_degrees, kind.tilt_degrees)
        cover = covered(outline, center, radius, degrees, self.size)
        if cover is None:
            return
        self.objects.append((number, cover.whole_px, False))
        if self.rng.random() < 0.25:
            self._shade(cover)
        self.paint(cover, self._fill(cover, kind.pattern), len(self.objects))

    def swarm(self) -> None:
        """Add many small objects of one class at one place, which count as one crowd."""
        number = self._class(0)
        kind = KINDS[number]
        middle = self._place(40)
        spread = self.rng.uniform(20, 45)
        outline = kind.outline(self.rng)
        self.objects.append((number, 0.0, True))
        colors = self._random_colors(*self._within(middle))
        for _ in range(int(self.rng.integers(14, 40))):
            center = (middle[0] + spread * self._about_normal(), middle[1] + spread * self._about_normal())
            radius, degrees = self.rng.uniform(4, 8), self.rng.uniform(-kind.tilt_degrees, kind.tilt_degrees)
            cover = covered(outline, center, radius, degrees, self.size)
            if cover is not None:
                patch = fill("flat", cover.alpha.shape, colors, 1, 0, self.rng)
                self.paint(cover, patch, len(self.objects))

    def finished(self) -> SynthPicture:
        """The picture under uneven light, with what is visible of each object."""
        picture = SynthPicture(lit(self.image, self.rng))
        for number, (label, whole_px, swarm) in enumerate(self.objects, 1):
            visible = self.visible == number
            area = int(visible.sum())
            if area < MIN_PX:
                continue
            rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
            x, y = int(columns[0]), int(rows[0])
            picture.boxes.append((x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y))
            picture.labels.append(label)
            picture.areas.append(area)
            picture.crowd.append(swarm or area < MIN_VISIBLE * whole_px)
        return picture

    def _class(self, size_px: float) -> int:
        """A random class by weight, of those that are distinguishable at this size."""
        fits = [number for number, kind in enumerate(KINDS) if kind.min_px <= max(size_px, 8)]
        ends = np.cumsum([KINDS[number].weight for number in fits])
        return fits[int(np.searchsorted(ends, self.rng.integers(int(ends[-1])), side="right"))]

    def _place(self, radius: float) -> tuple[float, float]:
        """A center: sometimes beside an earlier object, so that they overlap, else the emptiest of a few places."""
        if self.places and self.rng.random() < 0.3:
            x, y, other = self.places[int(self.rng.integers(len(self.places)))]
            angle, away = self.rng.uniform(0, 2 * math.pi), self.rng.uniform(0.5, 1.0) * (radius + other)
            return x + away * math.cos(angle), y + away * math.sin(angle)
        best, room = (0.0, 0.0), -math.inf
        for _ in range(4):
            x, y = self.rng.uniform(0, self.size[1]), self.rng.uniform(0, self.size[0])
            edge = min(x, y, self.size[1] - x, self.size[0] - y) - 0.6 * radius
            free = min([edge, *(math.hypot(x - a, y - b) - r - radius for a, b, r in self.places)])
            if free > room:
                best, room = (x, y), free
        return best

    def _about_normal(self) -> float:
        """About normal, mostly within 1: a sum of uniform numbers, since ``normal`` differs between machines."""
        return float(self.rng.random(3).sum() - 1.5)

    def _within(self, center: tuple[float, float]) -> tuple[int, int]:
        return min(max(int(center[0]), 0), self.size[1] - 1), min(max(int(center[1]), 0), self.size[0] - 1)

    def _random_colors(self, x: int, y: int) -> np.ndarray:
        """Two random colors int64 ``[2, 3]``, the first of which differs from that of pixel x, y."""
        ground = self.image[y, x].astype(np.int64)
        colors = self.rng.integers(0, 256, (2, 3))
        for _ in range(6):
            if abs(colors[0] - ground).sum() > 90:
                break
            colors = self.rng.integers(0, 256, (2, 3))
        return colors

    def _fill(self, cover: Cover, pattern: str | None) -> np.ndarray:
        h, w = cover.alpha.shape
        colors = self._random_colors(cover.left + w // 2, cover.top + h // 2)
        if pattern is not None:
            # the two colors must differ, or hatched and dotted look the same
            colors[1] = (colors[0] + 128 + self.rng.integers(-40, 41, 3)) % 256
            period = max(round(max(h, w) / self.rng.uniform(4, 9)), 4)
            return fill(pattern, (h, w), colors, period, self.rng.uniform(0, 180), self.rng)
        chosen = ("flat", "gradient", "speckled")[int(np.searchsorted([0.55, 0.85], self.rng.random()))]
        if chosen == "speckled":
            colors[1] = colors[0] + (colors[1] - colors[0]) // 4
        return fill(chosen, (h, w), colors, 1, self.rng.uniform(0, 360), self.rng)

    def _shade(self, cover: Cover) -> None:
        """Add a soft shadow of the shape, a little down and to the right of it."""
        h, w = cover.alpha.shape
        by = max(min(h, w) // 12, 1)
        rows = slice(cover.top + by, min(cover.top + by + h, self.size[0]))
        columns = slice(cover.left + by, min(cover.left + by + w, self.size[1]))
        part = self.image[rows, columns]
        dark = cover.alpha[: part.shape[0], : part.shape[1], None].astype(np.uint16) * 100 // 255
        self.image[rows, columns] = (part * (256 - dark) >> 8).astype(np.uint8)

    def paint(self, cover: Cover, colors: np.ndarray, number: int) -> None:
        """Paint the shape on the image; the pixels that it covers by half or more show it from now on."""
        part = self.image[cover.window]
        alpha = cover.alpha[:, :, None].astype(np.uint16)
        mixed = np.asarray(part * (255 - alpha) + colors * alpha + 128, np.uint16)
        # division by 255, rounded
        self.image[cover.window] = (mixed + (mixed >> 8)) >> 8
        self.visible[cover.window][cover.alpha >= 128] = number
