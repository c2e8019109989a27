"""One training sample: the pictures that go into it, put together as a preset says."""

from __future__ import annotations

import numpy as np

from distill.data.feed import mosaic
from distill.data.feed.augment import (
    Scene,
    blended,
    chained,
    crop_region,
    cut,
    distorted,
    flipped,
    kept,
    moved,
    random_affine,
    recoloured,
    scaling,
    warped,
)
from distill.data.feed.cache import Pictures
from distill.data.feed.presets import Affine, Preset

BLACK = 0
ZOOM_OUT_MOST = 4.0


class Sampler:
    """Makes samples of the pictures; not shared between processes, as it keeps one canvas to work on."""

    def __init__(self, pictures: Pictures) -> None:
        self.pictures = pictures
        side = 2 * pictures.input_px
        self._canvas = np.empty((side, side, 3), np.uint8)

    def sample(self, index: int, preset: Preset, side_px: int, draw: np.random.Generator) -> Scene:
        """Picture ``index`` under ``preset`` in a square of ``side_px``; what happens follows from ``draw`` alone."""
        scene = self._mosaic(index, preset, side_px, draw) if draw.random() < preset.mosaic else self._single(index, preset, side_px, draw)
        if draw.random() < preset.mixup and (~scene.crowd).any() and len(self.pictures.with_objects):
            scene = blended(scene, self._partner(preset, side_px, draw))
        if preset.colours is not None:
            scene = scene.with_image(recoloured(scene.image, preset.colours, draw))
        if draw.random() < preset.flip:
            scene = flipped(scene)
        return kept(scene, preset.keep)

    def _mosaic(self, index: int, preset: Preset, side_px: int, draw: np.random.Generator) -> Scene:
        count, lay = (9, mosaic.nine) if draw.random() < preset.nine else (4, mosaic.four)
        others = draw.integers(len(self.pictures), size=count - 1).tolist()
        native = self.pictures.input_px
        self._canvas.fill(self.pictures.preprocess.pad)
        scene = lay([self.pictures.scene(i) for i in [index, *others]], native, self._canvas, draw)
        # without a map of its own the canvas's middle is shown
        matrix = random_affine(preset.mosaic_affine or Affine(), 2 * native, native, draw)
        return self._warped(scene, matrix, side_px)

    def _warped(self, scene: Scene, matrix: np.ndarray, side_px: int) -> Scene:
        """Under ``matrix``, whose output is the native input, at ``side_px``."""
        factor = side_px / self.pictures.input_px
        return warped(scene, chained(scaling(factor, factor), matrix), side_px, side_px, self.pictures.preprocess.pad)

    def _single(self, index: int, preset: Preset, side_px: int, draw: np.random.Generator) -> Scene:
        scene = self.pictures.scene(index)
        native = self.pictures.input_px
        if draw.random() < preset.distort:
            scene = scene.with_image(distorted(scene.image, draw))
        zoomed = draw.random() < preset.zoom_out
        cropped = draw.random() < preset.crop
        if zoomed or cropped:
            return self._region(scene, self.pictures.squeeze(index), zoomed, cropped, side_px, draw)
        left, top = self.pictures.corner(index)
        if preset.affine is not None:
            matrix = chained(random_affine(preset.affine, native, native, draw), scaling(1, 1, left, top))
            return self._warped(scene, matrix, side_px)
        if side_px != native:
            return self._warped(scene, scaling(1, 1, left, top), side_px)
        h, w = scene.image.shape[:2]
        image = np.full((native, native, 3), self.pictures.preprocess.pad, np.uint8)
        image[top : top + h, left : left + w] = scene.image
        boxes = scene.boxes + np.array([left, top, left, top], dtype=np.float32)
        return Scene(image, boxes, scene.labels, scene.crowd, scene.share)

    def _region(self, scene: Scene, squeeze: float, zoomed: bool, cropped: bool, side_px: int, draw: np.random.Generator) -> Scene:
        """The picture inside a larger black one, then cropped; what is left is fitted as the family does."""
        height, width = scene.image.shape[:2]
        if zoomed:
            times = draw.uniform(1, ZOOM_OUT_MOST)
            right, down = draw.random(2) * (width * (times - 1), height * (times - 1))
            shift = scaling(1, 1, right, down)
            width, height = width * times, height * times
        else:
            shift = scaling(1, 1)
        boxes = moved(scene.boxes, shift)
        region = crop_region(boxes[~scene.crowd], width, height, squeeze, draw) if cropped else None
        x1, y1, x2, y2 = region or (0.0, 0.0, float(width), float(height))
        if region:
            # objects go by their centre, so that a crop's rim is not full of parts
            centres = (boxes[:, :2] + boxes[:, 2:]) / 2
            inside = ((centres > (x1, y1)) & (centres < (x2, y2))).all(1)
            scene = scene.chosen(inside | scene.crowd)
        how = self.pictures.preprocess
        if how.resize == "stretch":
            matrix = chained(scaling(side_px / (x2 - x1), side_px / (y2 - y1)), chained(scaling(1, 1, -x1, -y1), shift))
            return warped(scene, matrix, side_px, side_px, BLACK if zoomed else how.pad)
        ratio = min(side_px / (x2 - x1), side_px / (y2 - y1))
        w, h = (max(round(side * ratio), 1) for side in (x2 - x1, y2 - y1))
        inner = warped(scene, chained(scaling(w / (x2 - x1), h / (y2 - y1)), chained(scaling(1, 1, -x1, -y1), shift)), h, w, BLACK if zoomed else how.pad)
        left, top = ((side_px - w) // 2, (side_px - h) // 2) if how.resize == "letterbox-center" else (0, 0)
        image = np.full((side_px, side_px, 3), how.pad, np.uint8)
        image[top : top + h, left : left + w] = inner.image
        return Scene(image, inner.boxes + np.array([left, top, left, top], dtype=np.float32), inner.labels, inner.crowd, inner.share)

    def _partner(self, preset: Preset, side_px: int, draw: np.random.Generator) -> Scene:
        """The second picture of a mix: scaled, at random flipped, and where it is too large a random part of it."""
        chosen = int(self.pictures.with_objects[draw.integers(len(self.pictures.with_objects))])
        scale = draw.uniform(*preset.mixup_scale)
        flip = draw.random() < 0.5
        framed = self.pictures.input_px * scale
        right, down = draw.random(2) * max(framed - self.pictures.input_px, 0)
        # the frame turns over with its padding, before a part of it is taken
        turned = np.array([[-1.0, 0, framed], [0, 1, 0]]) if flip else scaling(1, 1)
        matrix = chained(scaling(1, 1, -right, -down), chained(turned, scaling(scale, scale)))
        scene = self.pictures.scene(chosen)
        return self._mixed_in(scene, matrix, framed, side_px)

    def _mixed_in(self, scene: Scene, matrix: np.ndarray, framed: float, side_px: int) -> Scene:
        factor = side_px / self.pictures.input_px
        out = warped(scene, chained(scaling(factor, factor), matrix), side_px, side_px, self.pictures.preprocess.pad)
        edge = round(framed * factor)
        if edge < side_px:
            # beyond its frame YOLOX mixes in black
            out.image[edge:] = BLACK
            out.image[:, edge:] = BLACK
            out = cut(out, 0, 0, edge, edge)
        return out
