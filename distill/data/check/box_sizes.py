"""The boxes of a data set as a network sees them: their sides and centers in pixels of a square input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill.data.dataset import DataSet
from zoo.images import Resize, placement_of


@dataclass(frozen=True, slots=True, eq=False)
class PlacedBoxes:
    """Boxes in pixels of the input."""

    sides: np.ndarray
    """float64 ``[n, 2]``: width and height."""
    centers: np.ndarray
    """float64 ``[n, 2]``: x and y."""

    @property
    def shorter(self) -> np.ndarray:
        """Shorter sides ``[n]`` in pixels."""
        return np.asarray(self.sides.min(1))

    @property
    def longer(self) -> np.ndarray:
        """Longer sides ``[n]`` in pixels."""
        return np.asarray(self.sides.max(1))

    @property
    def areas(self) -> np.ndarray:
        """Areas ``[n]`` in square pixels."""
        return np.asarray(self.sides.prod(1))


@dataclass(frozen=True, slots=True, eq=False)
class BoxSizes:
    """All boxes of a split without crowds."""

    boxes: np.ndarray
    """float64 ``[n, 4]``: x1, y1, x2, y2 in pixels of the image."""
    image: np.ndarray
    """int64 ``[n]``: the image of every box."""
    image_sizes: np.ndarray
    """int64 ``[m, 2]``: width and height of every image in pixels."""

    @staticmethod
    def of(data: DataSet) -> BoxSizes:
        """The boxes of ``data``."""
        kept = [picture.boxes[~picture.crowd] for picture in data.pictures]
        sizes = [(picture.width, picture.height) for picture in data.pictures]
        image = np.repeat(np.arange(len(kept)), [len(boxes) for boxes in kept])
        boxes = np.concatenate([*kept, np.zeros((0, 4))]).astype(np.float64)
        return BoxSizes(boxes, image, np.array(sizes, dtype=np.int64).reshape(-1, 2))

    def __len__(self) -> int:
        return len(self.boxes)

    def boxes_per_image(self) -> np.ndarray:
        """Number of boxes ``[m]`` of every image."""
        return np.bincount(self.image, minlength=len(self.image_sizes))

    def at(self, input_px: int, resize: Resize) -> PlacedBoxes:
        """The boxes in an input of ``input_px`` pixels, placed as the network places its images."""
        sizes, which = np.unique(self.image_sizes, axis=0, return_inverse=True)
        placed = np.empty((len(sizes), 4))
        for index, (width, height) in enumerate(sizes.tolist()):
            placement, (new_h, new_w) = placement_of(height, width, input_px, input_px, resize)
            placed[index] = new_w, new_h, placement.left, placement.top
        which = which.reshape(-1)[self.image]
        sizes, resized, offsets = sizes[which], placed[which, :2], placed[which, 2:]
        low, high = self.boxes[:, :2], self.boxes[:, 2:]
        # first multiplied, then divided: a side of whole pixels stays one
        return PlacedBoxes((high - low) * resized / sizes, (high + low) / 2 * resized / sizes + offsets)
