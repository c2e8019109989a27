"""A synthetic detection set in COCO format on which better detectors score higher.

Twelve classes, most of which have a look-alike; objects from 6 pixels to most of the image, which overlap and leave the
image; clutter that is no class; swarms that are annotated as one crowd; empty images; uneven light.

Annotations describe what is visible: a box encloses the pixels of the object that nothing covers, its area is their
number. If less than a quarter of an object is visible (parts outside the image count as covered), it becomes a crowd
region, which is ignored in training and evaluation; with fewer than ``MIN_PX`` visible pixels it is not annotated.

Image k follows from the seed and k alone, whatever the number of images, and every fifth is in ``val``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from distill.data.synthetic.canvas import Canvas, SynthPicture, random_sizes
from distill.data.synthetic.scenery import background
from distill.data.synthetic.shapes import KINDS
from workbench.errors import BadInput
from workbench.files import new_folder, write_atomic

SPLITS = ("train", "val")
VAL_EVERY = 5
MAX_IMAGES = 999_999
LOG_EVERY = 20
"""Images between two lines of progress."""


def make(out: str | Path, images: int, seed: int, log: Callable[[str], None] = lambda _: None) -> dict[str, int]:
    """Write ``images`` images to the new folder ``out``; the same bytes for the same seed and library versions.

    Returns the number of images in ``train`` and ``val``, of ``objects``, of ``crowds`` and of images without objects
    (``empty``). The folder appears when it is complete, or not at all.
    """
    out = Path(out)
    if not VAL_EVERY <= images <= MAX_IMAGES:
        limits = f"from {VAL_EVERY}, the least that leave one for val, to {MAX_IMAGES:,}"
        raise BadInput(f"{images} images: must be {limits}")
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
                "id": len(part["annotations"]) + 1, "image_id": index + 1, "category_id": label + 1, "bbox": list(box),
                "area": area, "iscrowd": int(crowd),
            })  # fmt: skip
        counts[split] += 1
        counts["objects"] += picture.crowd.count(False)
        counts["crowds"] += picture.crowd.count(True)
        counts["empty"] += False not in picture.crowd
        if index % LOG_EVERY == LOG_EVERY - 1 or index == images - 1:
            log(f"{index + 1:,} of {images:,} images")
    for split, part in parts.items():
        content = {
            "info": {
                "description": f"synthetic detection set of nas-workbench, {split}", "seed": seed, "images": images,
            },
            "images": part["images"], "annotations": part["annotations"],
            "categories": [{"id": number + 1, "name": kind.name} for number, kind in enumerate(KINDS)],
        }  # fmt: skip
        write_atomic(folder / "annotations" / f"{split}.json", json.dumps(content, separators=(",", ":")) + "\n")
    return counts


def _png(image: np.ndarray) -> bytes:
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
    encoded, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)
    if not encoded:
        raise RuntimeError("an image could not be encoded as PNG")
    return data.tobytes()


def draw_picture(seed: int, index: int) -> SynthPicture:
    """Image ``index`` of the set with ``seed``."""
    rng = np.random.default_rng([seed, index])
    long, ratio = int(rng.integers(384, 513)), rng.uniform(0.66, 1.0)
    short = max(round(long * ratio), 320)
    height, width = (short, long) if rng.random() < 0.6 else (long, short)
    canvas = Canvas(background(height, width, rng), rng)
    for _ in range(int(rng.integers(0, 14))):
        canvas.clutter(4, 0.35 * short)
    scene = rng.random()
    if scene >= 0.07:
        if scene < 0.2:
            sizes = [rng.uniform(0.5, 0.95) * short, *random_sizes(rng, int(rng.integers(0, 4)), 8, 80)]
        elif scene < 0.65:
            sizes = random_sizes(rng, int(rng.integers(1, 9)), 10, 0.55 * short)
        elif scene < 0.88:
            sizes = random_sizes(rng, int(rng.integers(8, 25)), 6, 0.25 * short)
        else:
            sizes = random_sizes(rng, int(rng.integers(2, 11)), 6, 18)
        # mostly from large to small, so that small ones stay visible
        for size in sorted(sizes, key=lambda px: -px * rng.uniform(0.4, 1.6)):
            canvas.object(size)
            if rng.random() < 0.12:
                canvas.clutter(4, 0.5 * size + 12)
        if rng.random() < 0.06:
            canvas.swarm()
    return canvas.finished()
