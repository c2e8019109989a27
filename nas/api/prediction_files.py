"""Detections of ``nas predict`` as COCO JSON, YOLO text and CSV, and patterns of image files."""

from __future__ import annotations

import csv
import glob
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from workbench.errors import BadInput, unknown_name
from workbench.files import write_atomic

COCO, CSV, YOLO = "coco.json", "predictions.csv", "labels"
"""Files, and for YOLO the folder, in the output folder."""


class FoundObject(Protocol):
    """One object; ``box`` is x1, y1, x2, y2 in pixels of the image."""

    @property
    def label(self) -> str: ...
    @property
    def class_index(self) -> int: ...
    @property
    def score(self) -> float: ...
    @property
    def box(self) -> tuple[float, ...]: ...


class FoundImage(Protocol):
    """The detections of one image; sides in pixels."""

    @property
    def image(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def objects(self) -> Sequence[FoundObject]: ...
    @property
    def class_names(self) -> Sequence[str]: ...


def expanded(texts: Sequence[str]) -> list[str]:
    """Paths, with those of a pattern (``photos/**/*.jpg``) in its place; a file of that very name is no pattern."""
    paths: list[str] = []
    for text in texts:
        if glob.has_magic(text) and not Path(text).exists():
            found = sorted(glob.glob(text, recursive=True))
            if not found:
                raise BadInput(f"{text}: no file matches this pattern")
            paths += found
        else:
            paths.append(text)
    return paths


def check_forms(names: Sequence[str], out: object) -> list[str]:
    """The names of forms, each known; they need a folder to be written to."""
    if names and out is None:
        raise BadInput(f"save={','.join(names)} needs a folder: give out")
    for name in names:
        if name not in FORMS:
            raise unknown_name("form of detections", name, list(FORMS))
    return list(names)


def write_coco(images: Sequence[FoundImage], out: Path) -> None:
    """``coco.json``: images, categories and annotations with scores, as annotation tools import them."""
    names = images[0].class_names if images else ()
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(images, start=1):
        for one in image.objects:
            x1, y1, x2, y2 = one.box
            box = [round(x1, 2), round(y1, 2), round(x2 - x1, 2), round(y2 - y1, 2)]
            annotations.append({
                "id": len(annotations) + 1, "image_id": number, "category_id": one.class_index + 1, "bbox": box,
                "area": round(box[2] * box[3], 2), "iscrowd": 0, "score": round(one.score, 5),
            })  # fmt: skip
    data = {
        "images": [
            {"id": number, "file_name": image.image, "width": image.width, "height": image.height}
            for number, image in enumerate(images, start=1)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
        "annotations": annotations,
    }  # fmt: skip
    write_atomic(out / COCO, json.dumps(data, indent=1) + "\n")


def write_yolo(images: Sequence[FoundImage], out: Path) -> None:
    """``labels/NAME.txt``: class, center, size as shares of the image, score; one file an image, empty without objects.
    """
    used: set[str] = set()
    for image in images:
        stem, name, n = Path(image.image).stem, Path(image.image).stem, 1
        while name in used:
            n += 1
            name = f"{stem}-{n}"
        used.add(name)
        lines = []
        for one in image.objects:
            x1, y1, x2, y2 = (v / side for v, side in zip(one.box, (image.width, image.height) * 2, strict=True))
            values = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, one.score)
            lines.append(" ".join([str(one.class_index), *(f"{value:.6f}" for value in values)]) + "\n")
        write_atomic(out / YOLO / f"{name}.txt", "".join(lines))


def write_csv(images: Sequence[FoundImage], out: Path) -> None:
    """``predictions.csv``: one row an object, boxes in pixels."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "label", "class", "score", "x1", "y1", "x2", "y2"])
    for image in images:
        for one in image.objects:
            box = [round(value, 2) for value in one.box]
            writer.writerow([image.image, one.label, one.class_index, round(one.score, 5), *box])
    write_atomic(out / CSV, text.getvalue())


FORMS: Mapping[str, Callable[[Sequence[FoundImage], Path], None]] = {
    "coco": write_coco, "yolo": write_yolo, "csv": write_csv,
}  # fmt: skip
"""Forms of detections by name."""
