"""The synthetic set made so easy that a minute of one core teaches a small network something: finding, not telling apart.

The same pictures as ``nas data synth`` draws, scaled down, all objects of one class. What is smaller than a share of the picture is a region
that is neither taught nor judged, and pictures with nothing larger are left out. On the set itself a minute left AP below 0.2 %.
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

LEAST_SHARE = 1 / 6
"""Of the picture's longer side: objects whose box has a smaller side, as the root of its area, are left alone."""
MOST_IMAGES = 100_000
CLASS = "thing"


def make_easy(out: Path, images: int, seed: int, side_px: int, log: Callable[[str], None]) -> None:
    """Write ``images`` pictures with a longer side of ``side_px`` to the new folder ``out``, every fifth for ``val``."""
    if not VAL_EVERY <= images <= MOST_IMAGES:
        raise BadInput(f"--images {images} must be from {VAL_EVERY}, the least that leave one for val, to {MOST_IMAGES:,}")
    parts: dict[str, dict[str, list[dict[str, Any]]]] = {split: {"images": [], "annotations": []} for split in SPLITS}
    with new_folder(out) as folder:
        for split in SPLITS:
            (folder / "images" / split).mkdir(parents=True)
        drawn = kept = 0
        while kept < images:
            picture = draw_picture(seed, drawn)
            drawn += 1
            if all(_left_alone(picture)):
                continue
            split = "val" if kept % VAL_EVERY == VAL_EVERY - 1 else "train"
            _add(folder / "images" / split / f"{kept:06d}.png", picture, side_px, parts[split])
            kept += 1
            log(f"{kept:,} of {images:,} pictures drawn")
        for split, part in parts.items():
            whole = {"info": {"description": f"easy synthetic set of nas-workbench, {split}", "seed": seed, "images": images}, **part}
            write_atomic(folder / "annotations" / f"{split}.json", json.dumps({**whole, "categories": [{"id": 1, "name": CLASS}]}) + "\n")


def _left_alone(picture: SynthPicture) -> list[bool]:
    """Which objects are neither taught nor judged."""
    least = LEAST_SHARE * max(picture.image.shape[:2])
    return [crowd or math.sqrt(w * h) < least for (_, _, w, h), crowd in zip(picture.boxes, picture.crowd, strict=True)]


def _add(path: Path, picture: SynthPicture, side_px: int, part: dict[str, list[dict[str, Any]]]) -> None:
    """Write one picture, and what stands on it into ``part``; boxes and areas in pixels of what is written."""
    height, width = picture.image.shape[:2]
    share = side_px / max(height, width)
    small = cv2.resize(picture.image, (round(width * share), round(height * share)), interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".png", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
    if not done:
        raise RuntimeError("a picture could not be encoded as PNG")
    path.write_bytes(np.asarray(data).tobytes())
    number = len(part["images"]) + 1
    part["images"].append({"id": number, "file_name": path.name, "width": small.shape[1], "height": small.shape[0]})
    for box, area, alone in zip(picture.boxes, picture.areas, _left_alone(picture), strict=True):
        part["annotations"].append({
            "id": len(part["annotations"]) + 1, "image_id": number, "category_id": 1, "bbox": [round(value * share, 2) for value in box],
            "area": round(area * share**2, 2), "iscrowd": int(alone),
        })  # fmt: skip
