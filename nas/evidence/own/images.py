"""An easy synthetic dataset that a small network learns from in a minute of one core: detection without classification.

The images of ``nas data synth``, scaled down, with all objects in one class. Objects below a share of the image become
crowd regions, which are neither trained on nor evaluated, and images without a larger object are left out. On the
original set a minute of training left AP below 0.2 %.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from distill.data.synthetic.canvas import SynthPicture
from distill.data.synthetic.synth import SPLITS, VAL_EVERY, draw_picture
from workbench.errors import BadInput
from workbench.files import new_folder, write_atomic

MIN_SIDE_SHARE = 1 / 6
"""Least size (root of the box area) of an object that counts, as a share of the image's longer side."""
MAX_IMAGES = 100_000
CLASS_NAME = "thing"


def write_easy_dataset(out: Path, images: int, seed: int, side_px: int, log: Callable[[str], None]) -> None:
    """Write ``images`` images with a longer side of ``side_px`` to the new folder ``out``, every fifth for ``val``."""
    if not VAL_EVERY <= images <= MAX_IMAGES:
        least = f"{VAL_EVERY}, the least that leave one for val"
        raise BadInput(f"--images {images} must be from {least}, to {MAX_IMAGES:,}")
    coco: dict[str, dict[str, list[dict[str, Any]]]] = {split: {"images": [], "annotations": []} for split in SPLITS}
    with new_folder(out) as folder:
        for split in SPLITS:
            (folder / "images" / split).mkdir(parents=True)
        index = written = 0
        while written < images:
            image = draw_picture(seed, index)
            index += 1
            if all(_ignored(image)):
                continue
            split = "val" if written % VAL_EVERY == VAL_EVERY - 1 else "train"
            _add(folder / "images" / split / f"{written:06d}.png", image, side_px, coco[split])
            written += 1
            log(f"{written:,} of {images:,} images drawn")
        for split, part in coco.items():
            info = {"description": f"easy synthetic set of nas-workbench, {split}", "seed": seed, "images": images}
            data = {"info": info, **part, "categories": [{"id": 1, "name": CLASS_NAME}]}
            write_atomic(folder / "annotations" / f"{split}.json", json.dumps(data) + "\n")


def _ignored(image: SynthPicture) -> list[bool]:
    """Which objects are neither trained on nor evaluated."""
    least = MIN_SIDE_SHARE * max(image.image.shape[:2])
    return [crowd or math.sqrt(w * h) < least for (_, _, w, h), crowd in zip(image.boxes, image.crowd, strict=True)]


def _add(path: Path, image: SynthPicture, side_px: int, coco: dict[str, list[dict[str, Any]]]) -> None:
    """Write one image, and add it and its objects to ``coco``; boxes and areas in pixels of the written image."""
    height, width = image.image.shape[:2]
    scale = side_px / max(height, width)
    small = cv2.resize(image.image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    encoded, data = cv2.imencode(".png", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise RuntimeError("an image could not be encoded as PNG")
    path.write_bytes(np.asarray(data).tobytes())
    image_id = len(coco["images"]) + 1
    size = {"width": small.shape[1], "height": small.shape[0]}
    coco["images"].append({"id": image_id, "file_name": path.name, **size})
    for box, area, ignored in zip(image.boxes, image.areas, _ignored(image), strict=True):
        coco["annotations"].append({
            "id": len(coco["annotations"]) + 1,
            "image_id": image_id,
            "category_id": 1,
            "bbox": [round(value * scale, 2) for value in box],
            "area": round(area * scale**2, 2),
            "iscrowd": int(ignored),
        })  # fmt: skip
