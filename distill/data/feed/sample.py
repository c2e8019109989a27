"""A training sample in the making: what augmentations read and change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill.data.feed.cache import Pictures
from distill.data.feed.scene import Scene, compose, scale_shift, warp

BLACK = 0


@dataclass(frozen=True, slots=True)
class Window:
    """The region of a plane that is shown in the network's input."""

    matrix: np.ndarray
    """Pixels of the image to coordinates of the plane, ``[2, 3]``."""
    left: float
    top: float
    right: float
    bottom: float
    fill: int | None = None
    """Gray level outside the image; None is the family's padding."""

    @staticmethod
    def of(image: np.ndarray) -> Window:
        """The whole image."""
        height, width = image.shape[:2]
        return Window(scale_shift(1, 1), 0.0, 0.0, float(width), float(height))

    @property
    def width(self) -> float:
        """In the plane's units."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """In the plane's units."""
        return self.bottom - self.top


@dataclass(slots=True)
class Sample:
    """One training sample. Augmentations replace ``scene``, ``window`` or ``matrix``."""

    index: int
    """Of the first picture in the data."""
    pictures: Pictures
    """All pictures, for augmentations that use several."""
    side_px: int
    """Side of the sample when it is finished."""
    canvas: np.ndarray
    """uint8 ``[2 native, 2 native, 3]`` to work on, where native is the side of ``pictures``' input."""
    scene: Scene
    """At first the picture fitted into the native input, without padding."""
    window: Window | None = None
    """What is shown of the picture, where it is not the whole."""
    matrix: np.ndarray | None = None
    """A map of the native input onto itself, ``[2, 3]``; not used together with ``window``."""

    def warp_native(self, scene: Scene, matrix: np.ndarray) -> Scene:
        """``scene`` under ``matrix``, whose output is the native input, at the sample's size."""
        factor = self.side_px / self.pictures.input_px
        scaled = compose(scale_shift(factor, factor), matrix)
        return warp(scene, scaled, self.side_px, self.side_px, self.pictures.preprocess.pad)

    def place(self) -> None:
        """Put the single picture into the input: by its window, by its matrix, or else as evaluation does."""
        if self.window is not None:
            self.scene = self._show(self.window)
            return
        native = self.pictures.input_px
        left, top = self.pictures.corner(self.index)
        if self.matrix is not None:
            self.scene = self.warp_native(self.scene, compose(self.matrix, scale_shift(1, 1, left, top)))
        elif self.side_px != native:
            self.scene = self.warp_native(self.scene, scale_shift(1, 1, left, top))
        else:
            self.scene = pad(self.scene, left, top, native, self.pictures.preprocess.pad)

    def _show(self, window: Window) -> Scene:
        """The window resized and padded as the family's preprocessing says."""
        how = self.pictures.preprocess
        fill = how.pad if window.fill is None else window.fill
        side_px = self.side_px
        to_corner = compose(scale_shift(1, 1, -window.left, -window.top), window.matrix)
        if how.resize == "stretch":
            matrix = compose(scale_shift(side_px / window.width, side_px / window.height), to_corner)
            return warp(self.scene, matrix, side_px, side_px, fill)
        ratio = min(side_px / window.width, side_px / window.height)
        width, height = (max(round(side * ratio), 1) for side in (window.width, window.height))
        matrix = compose(scale_shift(width / window.width, height / window.height), to_corner)
        inner = warp(self.scene, matrix, height, width, fill)
        centered = how.resize == "letterbox-center"
        left, top = ((side_px - width) // 2, (side_px - height) // 2) if centered else (0, 0)
        return pad(inner, left, top, side_px, how.pad)


def pad(scene: Scene, left: int, top: int, side_px: int, fill: int) -> Scene:
    """``scene`` with its corner at ``left``, ``top`` of a square image."""
    height, width = scene.image.shape[:2]
    image = np.full((side_px, side_px, 3), fill, np.uint8)
    image[top : top + height, left : left + width] = scene.image
    return scene.with_image(image).with_boxes(scene.boxes + np.array([left, top, left, top], dtype=np.float32))
