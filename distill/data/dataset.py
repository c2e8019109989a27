"""A detection data set as everything here sees it: pictures with boxes, and one class map.

Readers (``coco``, ``yolo``, ``voc``) make one, the doctor examines one, the loader feeds on one, evaluation turns one
into COCO's form. Boxes are x1, y1, x2, y2 in pixels of the picture; labels are contiguous from 0.
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
    """One picture and what is on it.

    ``width`` and ``height``, in pixels, are those the annotations state. Boxes are pixels of the image as
    ``zoo.images.read_image`` gives it, EXIF rotation applied; nothing rescales them if the statement is false, the
    doctor tells of it (``wrong-size``). Whoever decodes the file goes by the size of what comes out.
    """

    id: int
    """The data's own image id, or the position where it has none."""
    file: Path
    """Absolute, inside the data's folder."""
    width: int
    height: int
    boxes: np.ndarray
    """float32 ``[n, 4]``, inside the picture, wider and higher than 0."""
    labels: np.ndarray
    """int64 ``[n]``."""
    crowd: np.ndarray
    """bool ``[n]``: a region of many, ignored in training and evaluation."""
    areas: np.ndarray
    """float32 ``[n]``, square pixels: COCO's size classes go by the mask's area where the data states one."""


@dataclass(frozen=True, slots=True, eq=False)
class DataSet:
    """A split of a data set."""

    root: Path
    """The folder that no path of the data may leave."""
    name: str
    """``train``, ``val`` or what the data calls it."""
    classes: ClassMap
    pictures: tuple[Picture, ...]
    handled: Mapping[str, int] = field(default_factory=dict)
    """Boxes that were clipped (``outside``) and dropped (``degenerate``) by rule when the data were read."""

    def __len__(self) -> int:
        return len(self.pictures)

    def digest(self) -> str:
        """SHA-256 of what is stated: classes, file names, sizes, boxes and labels. Pixels are not read."""
        found = hashlib.sha256(repr((self.classes.names, self.classes.original_ids)).encode())
        for p in self.pictures:
            found.update(repr((p.id, p.file.name, p.width, p.height)).encode())
            for values in (p.boxes, p.labels, p.crowd):
                found.update(np.ascontiguousarray(values).tobytes())
        return found.hexdigest()

    def to_coco(self) -> dict[str, Any]:
        """COCO's JSON form with the data's own image and category ids: what pycocotools takes as ground truth."""
        annotations: list[dict[str, Any]] = []
        for picture in self.pictures:
            for box, label, crowd, area in zip(picture.boxes.tolist(), picture.labels.tolist(), picture.crowd.tolist(), picture.areas.tolist(), strict=True):
                x1, y1, x2, y2 = box
                annotations.append({
                    "id": len(annotations) + 1, "image_id": picture.id, "category_id": self.classes.original_ids[label],
                    "bbox": [x1, y1, x2 - x1, y2 - y1], "area": area, "iscrowd": int(crowd),
                })  # fmt: skip
        return {
            "images": [{"id": p.id, "file_name": p.file.name, "width": p.width, "height": p.height} for p in self.pictures],
            "annotations": annotations,
            "categories": [{"id": i, "name": name} for i, name in zip(self.classes.original_ids, self.classes.names, strict=True)],
        }
