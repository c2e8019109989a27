"""A detection data set: pictures with boxes, and a class map.

Formats make one, the loader makes batches of one, evaluation turns one into COCO's format. Boxes are x1, y1, x2, y2 in
pixels of the picture; labels are contiguous from 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from distill.data.classes import ClassMap


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One image file and its boxes.

    ``width`` and ``height``, in pixels, are those that the annotations state. Boxes are pixels of the image as
    ``zoo.images.read_image`` gives it, EXIF rotation applied. They are not rescaled if the stated size is wrong; the
    doctor reports it (``wrong-size``).
    """

    id: int
    """The data's own image id, or the index where they have none."""
    file: Path
    """Absolute, inside the data's folder."""
    width: int
    height: int
    boxes: np.ndarray
    """float32 ``[n, 4]``, inside the picture, wider and higher than 0."""
    labels: np.ndarray
    """int64 ``[n]``."""
    crowd: np.ndarray
    """bool ``[n]``: a region of many objects, ignored in training and evaluation."""
    areas: np.ndarray
    """float32 ``[n]``, square pixels; of the mask where the data state it, which decides COCO's size class."""


@dataclass(frozen=True, slots=True, eq=False)
class DataSet:
    """A split of a data set."""

    root: Path
    """The folder that no path of the data may leave."""
    name: str
    """``train``, ``val`` or the data's own name."""
    classes: ClassMap
    pictures: tuple[Picture, ...]
    handled: Mapping[str, int] = field(default_factory=dict)
    """Number of boxes that were clipped (``outside``) and dropped (``degenerate``) when the data were read."""

    def __len__(self) -> int:
        return len(self.pictures)

    def digest(self) -> str:
        """SHA-256 of the annotations: classes, file names, sizes, boxes and labels. Pixels are not read."""
        digest = hashlib.sha256(repr((self.classes.names, self.classes.original_ids)).encode())
        for p in self.pictures:
            digest.update(repr((p.id, p.file.name, p.width, p.height)).encode())
            for values in (p.boxes, p.labels, p.crowd):
                digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()

    def to_coco(self) -> dict[str, Any]:
        """COCO's JSON format with the data's own image and category ids: pycocotools' ground truth."""
        annotations: list[dict[str, Any]] = []
        for picture in self.pictures:
            columns = (picture.boxes, picture.labels, picture.crowd, picture.areas)
            rows = zip(*(column.tolist() for column in columns), strict=True)
            for (x1, y1, x2, y2), label, crowd, area in rows:
                annotations.append({
                    "id": len(annotations) + 1, "image_id": picture.id,
                    "category_id": self.classes.original_ids[label],
                    "bbox": [x1, y1, x2 - x1, y2 - y1], "area": area, "iscrowd": int(crowd),
                })  # fmt: skip
        return {
            "images": [
                {"id": p.id, "file_name": p.file.name, "width": p.width, "height": p.height} for p in self.pictures
            ],
            "annotations": annotations,
            "categories": [
                {"id": number, "name": name}
                for number, name in zip(self.classes.original_ids, self.classes.names, strict=True)
            ],
        }
