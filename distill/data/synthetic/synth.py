"""A synthetic detection set in COCO form, made so that better detectors score higher on it.

Twelve classes, most of which have a look-alike; objects from 6 pixels to most of the picture, that hide one another and
leave the picture; clutter that is no class; swarms that are annotated as one crowd; pictures with nothing; uneven light.

What is annotated is what can be seen: a box is about the pixels of the object that nothing hides, its area their number.
Of less than a quarter of an object (what lies outside the picture counts as hidden) a crowd region is made, which is
neither taught nor judged, and of fewer than ``LEAST_PX`` pixels nothing at all.

Picture k follows from the seed and k alone, whatever the number of pictures, and every fifth goes to ``val``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from distill.data.synthetic.scenery import background, lit
from distill.data.synthetic.shapes import CLUTTER, KINDS, Cover, Draw, covered, fill
from workbench.errors import BadInput
from workbench.files import new_folder, write_atomic

SPLITS = ("train", "val")
VAL_EVERY = 5
MOST_IMAGES = 999_999
LEAST_SHARE = 0.25
LEAST_PX = 9
SAY_EVERY = 20


@dataclass(slots=True)
class SynthPicture:
    """A picture uint8 ``[h, w, 3]`` RGB and its objects."""

    image: np.ndarray
    boxes: list[tuple[int, int, int, int]] = field(default_factory=list)
    """x, y, width and height in pixels."""
    labels: list[int] = field(default_factory=list)
    """Places in ``KINDS``."""
    areas: list[int] = field(default_factory=list)
    """Visible pixels."""
    crowd: list[bool] = field(default_factory=list)


def make(out: str | Path, images: int, seed: int, log: Callable[[str], None] = lambda _: None) -> dict[str, int]:
    """Write ``images`` pictures to the new folder ``out``; the same bytes for the same seed and library versions.

    Gives the number of pictures of either split, of objects, crowd regions and pictures without objects. The folder
    appears when it is whole, or not at all.
    """
    out = Path(out)
    if not VAL_EVERY <= images <= MOST_IMAGES:
        raise BadInput(f"{images} images: must be from {VAL_EVERY}, the least that leave one for val, to {MOST_IMAGES:,}")
    if seed < 0:
        raise BadInput(f"seed {seed}: must be 0 or more")
    if out.is_symlink() or out.exists():
        if not out.is_dir():
            raise BadInput(f"{out} is a file: give the name of a new folder")
        if any(out.iterdir()):
            raise BadInput(f"{out} is not empty: give the name of a new folder, or empty this one first")
    with new_folder(out) as folder:
        return _write(folder, images, seed, log)


def _write(folder: Path, images: int, seed: int, log: Callable[[str], None]) -> dict[str, int]:
    counts = {"train": 0, "val": 0, "objects": 0, "crowds": 0, "empty": 0}
    parts: dict[str, dict[str, list[dict[str, Any]]]] = {split: {"images": [], "annotations": []} for split in SPLITS}
    for split in SPLITS:
        (folder / "images" / split).mkdir(parents=True)
    for index in range(images):
        split = "val" if index % VAL_EVERY == VAL_EVERY - 1 else "train"
        picture = draw_picture(seed, index)
        name = f"{index:06d}.png"
        (folder / "images" / split / name).write_bytes(_png(picture.image))
        part = parts[split]
        height, width = picture.image.shape[:2]
        part["images"].append({"id": index + 1, "file_name": name, "width": width, "height": height})
        for box, label, area, crowd in zip(picture.boxes, picture.labels, picture.areas, picture.crowd, strict=True):
            part["annotations"].append({
                "id": len(part["annotations"]) + 1, "image_id": index + 1, "category_id": label + 1, "bbox": list(box), "area": area, "iscrowd": int(crowd),
            })  # fmt: skip
        counts[split] += 1
        counts["objects"] += picture.crowd.count(False)
        counts["crowds"] += picture.crowd.count(True)
        counts["empty"] += False not in picture.crowd
        if index % SAY_EVERY == SAY_EVERY - 1 or index == images - 1:
            log(f"{index + 1:,} of {images:,} pictures")
    for split, part in parts.items():
        whole = {
            "info": {"description": f"synthetic detection set of nas-workbench, {split}", "seed": seed, "images": images},
            "images": part["images"], "annotations": part["annotations"],
            "categories": [{"id": number + 1, "name": kind.name} for number, kind in enumerate(KINDS)],
        }  # fmt: skip
        write_atomic(folder / "annotations" / f"{split}.json", json.dumps(whole, separators=(",", ":")) + "\n")
    return counts


def _png(image: np.ndarray) -> bytes:
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
    done, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)
    if not done:
        raise RuntimeError("a picture could not be encoded as PNG")
    return data.tobytes()


def draw_picture(seed: int, index: int) -> SynthPicture:
    """Picture ``index`` of the set that ``seed`` names."""
    draw = np.random.default_rng([seed, index])
    long, ratio = int(draw.integers(384, 513)), draw.uniform(0.66, 1.0)
    short = max(round(long * ratio), 320)
    height, width = (short, long) if draw.random() < 0.6 else (long, short)
    canvas = Canvas(background(height, width, draw), draw)
    for _ in range(int(draw.integers(0, 14))):
        canvas.clutter(4, 0.35 * short)
    scene = draw.random()
    if scene >= 0.07:
        if scene < 0.2:
            sizes = [draw.uniform(0.5, 0.95) * short, *_sizes(draw, int(draw.integers(0, 4)), 8, 80)]
        elif scene < 0.65:
            sizes = _sizes(draw, int(draw.integers(1, 9)), 10, 0.55 * short)
        elif scene < 0.88:
            sizes = _sizes(draw, int(draw.integers(8, 25)), 6, 0.25 * short)
        else:
            sizes = _sizes(draw, int(draw.integers(2, 11)), 6, 18)
        # mostly from large to small, so that small ones are seen
        for size in sorted(sizes, key=lambda px: -px * draw.uniform(0.4, 1.6)):
            canvas.object(size)
            if draw.random() < 0.12:
                canvas.clutter(4, 0.5 * size + 12)
        if draw.random() < 0.06:
            canvas.swarm()
    return canvas.finished()


def _sizes(draw: Draw, count: int, low: float, high: float) -> list[float]:
    """Sides in pixels, evenly spread over their logarithm."""
    return [math.exp(draw.uniform(math.log(low), math.log(high))) for _ in range(count)]


class Canvas:
    """A picture in the making, and which thing each of its pixels shows: 0 the ground and clutter, else a number."""

    def __init__(self, image: np.ndarray, draw: Draw) -> None:
        self.image = image
        self.draw = draw
        self.size = (image.shape[0], image.shape[1])
        self.shows = np.zeros(self.size, np.int16)
        self.things: list[tuple[int, float, bool]] = []
        """Class, whole area in square pixels and whether it is a swarm, of things 1, 2, ..."""
        self.places: list[tuple[float, float, float]] = []
        """Centre and radius of the objects so far."""

    def clutter(self, low_px: float, high_px: float) -> None:
        """Something that is no class, anywhere."""
        (radius,) = _sizes(self.draw, 1, low_px, max(high_px, low_px + 1))
        outline = CLUTTER[int(self.draw.integers(len(CLUTTER)))](self.draw)
        centre = (self.draw.uniform(0, self.size[1]), self.draw.uniform(0, self.size[0]))
        cover = covered(outline, centre, radius / 2, self.draw.uniform(-180, 180), self.size)
        if cover is not None:
            self.paint(cover, self._fill(cover, None), 0)

    def object(self, size_px: float) -> None:
        """An object of a random class with sides of about ``size_px``."""
        number = self._class(size_px)
        kind = KINDS[number]
        radius = max(size_px, kind.least_px) / 2
        centre = self._spot(radius)
        self.places.append((*centre, radius))
        cover = covered(kind.outline(self.draw), centre, radius, self.draw.uniform(-kind.tilt_degrees, kind.tilt_degrees), self.size)
        if cover is None:
            return
        self.things.append((number, cover.whole_px, False))
        if self.draw.random() < 0.25:
            self._shade(cover)
        self.paint(cover, self._fill(cover, kind.pattern), len(self.things))

    def swarm(self) -> None:
        """Many small objects of one class on one spot, which count as one crowd."""
        number = self._class(0)
        kind = KINDS[number]
        middle = self._spot(40)
        spread = self.draw.uniform(20, 45)
        outline = kind.outline(self.draw)
        self.things.append((number, 0.0, True))
        colours = self._colours(*self._within(middle))
        for _ in range(int(self.draw.integers(14, 40))):
            centre = (middle[0] + spread * self._bell(), middle[1] + spread * self._bell())
            cover = covered(outline, centre, self.draw.uniform(4, 8), self.draw.uniform(-kind.tilt_degrees, kind.tilt_degrees), self.size)
            if cover is not None:
                self.paint(cover, fill("flat", cover.alpha.shape, colours, 1, 0, self.draw), len(self.things))

    def finished(self) -> SynthPicture:
        """The lit picture with what can be seen of each thing."""
        picture = SynthPicture(lit(self.image, self.draw))
        for number, (label, whole_px, swarm) in enumerate(self.things, 1):
            seen = self.shows == number
            area = int(seen.sum())
            if area < LEAST_PX:
                continue
            rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
            x, y = int(columns[0]), int(rows[0])
            picture.boxes.append((x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y))
            picture.labels.append(label)
            picture.areas.append(area)
            picture.crowd.append(swarm or area < LEAST_SHARE * whole_px)
        return picture

    def _class(self, size_px: float) -> int:
        """A class by weight, of those that can be told at this size."""
        fits = [number for number, kind in enumerate(KINDS) if kind.least_px <= max(size_px, 8)]
        ends = np.cumsum([KINDS[number].weight for number in fits])
        return fits[int(np.searchsorted(ends, self.draw.integers(int(ends[-1])), side="right"))]

    def _spot(self, radius: float) -> tuple[float, float]:
        """A centre: at times beside an earlier object, so that one hides part of the other, else where it is emptiest of a few."""
        if self.places and self.draw.random() < 0.3:
            x, y, other = self.places[int(self.draw.integers(len(self.places)))]
            angle, away = self.draw.uniform(0, 2 * math.pi), self.draw.uniform(0.5, 1.0) * (radius + other)
            return x + away * math.cos(angle), y + away * math.sin(angle)
        best, room = (0.0, 0.0), -math.inf
        for _ in range(4):
            x, y = self.draw.uniform(0, self.size[1]), self.draw.uniform(0, self.size[0])
            edge = min(x, y, self.size[1] - x, self.size[0] - y) - 0.6 * radius
            free = min([edge, *(math.hypot(x - a, y - b) - r - radius for a, b, r in self.places)])
            if free > room:
                best, room = (x, y), free
        return best

    def _bell(self) -> float:
        """A number about 0, mostly within 1: a sum of even ones, as ``normal`` is not the same on every machine."""
        return float(self.draw.random(3).sum() - 1.5)

    def _within(self, centre: tuple[float, float]) -> tuple[int, int]:
        return min(max(int(centre[0]), 0), self.size[1] - 1), min(max(int(centre[1]), 0), self.size[0] - 1)

    def _colours(self, x: int, y: int) -> np.ndarray:
        """Two colours int64 ``[2, 3]``, the first of which can be told from what is at pixel x, y."""
        ground = self.image[y, x].astype(np.int64)
        colours = self.draw.integers(0, 256, (2, 3))
        for _ in range(6):
            if abs(colours[0] - ground).sum() > 90:
                break
            colours = self.draw.integers(0, 256, (2, 3))
        return colours

    def _fill(self, cover: Cover, pattern: str | None) -> np.ndarray:
        h, w = cover.alpha.shape
        colours = self._colours(cover.left + w // 2, cover.top + h // 2)
        if pattern is not None:
            # the two tones must be told apart, or hatched and dotted are one
            colours[1] = (colours[0] + 128 + self.draw.integers(-40, 41, 3)) % 256
            period = max(round(max(h, w) / self.draw.uniform(4, 9)), 4)
            return fill(pattern, (h, w), colours, period, self.draw.uniform(0, 180), self.draw)
        chosen = ("flat", "gradient", "speckled")[int(np.searchsorted([0.55, 0.85], self.draw.random()))]
        if chosen == "speckled":
            colours[1] = colours[0] + (colours[1] - colours[0]) // 4
        return fill(chosen, (h, w), colours, 1, self.draw.uniform(0, 360), self.draw)

    def _shade(self, cover: Cover) -> None:
        """A soft shadow of the shape, a little down and to the right of it."""
        h, w = cover.alpha.shape
        by = max(min(h, w) // 12, 1)
        rows, columns = slice(cover.top + by, min(cover.top + by + h, self.size[0])), slice(cover.left + by, min(cover.left + by + w, self.size[1]))
        part = self.image[rows, columns]
        dark = cover.alpha[: part.shape[0], : part.shape[1], None].astype(np.uint16) * 100 // 255
        self.image[rows, columns] = (part * (256 - dark) >> 8).astype(np.uint8)

    def paint(self, cover: Cover, colours: np.ndarray, number: int) -> None:
        """Lay the shape on the picture; the pixels that it covers by half or more show it from now on."""
        part = self.image[cover.window]
        alpha = cover.alpha[:, :, None].astype(np.uint16)
        mixed = np.asarray(part * (255 - alpha) + colours * alpha + 128, np.uint16)
        # division by 255, rounded
        self.image[cover.window] = (mixed + (mixed >> 8)) >> 8
        self.shows[cover.window][cover.alpha >= 128] = number
