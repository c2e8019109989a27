"""Small data sets for tests: images that differ, annotations as a person would write them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NAMES = ("nut", "bolt", "washer")


def picture(seed: int, width: int = 64, height: int = 48) -> Image.Image:
    """Coarse coloured noise: no two alike, whatever the hash."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.NEAREST
    )


def categories(ids: Sequence[int] = (1, 2, 3)) -> list[dict[str, Any]]:
    """``NAMES`` with these ids."""
    return [{"id": i, "name": name} for i, name in zip(ids, NAMES, strict=False)]


def annotation(number: int, image: int, category: int, *box: float, **more: Any) -> dict[str, Any]:
    """One entry; ``box`` is x, y, width, height."""
    return {"id": number, "image_id": image, "category_id": category, "bbox": list(box), **more}


def image(number: int, name: str, width: int = 64, height: int = 48) -> dict[str, Any]:
    """One entry of the list of images."""
    return {"id": number, "file_name": name, "width": width, "height": height}


def coco(images: list[Any], annotations: list[Any], cats: list[Any] | None = None) -> dict[str, Any]:
    """A COCO file as data."""
    return {
        "info": {"year": 2024},
        "images": images,
        "annotations": annotations,
        "categories": categories() if cats is None else cats,
    }


def write_split(root: Path, split: str, data: dict[str, Any], seed: int = 0) -> None:
    """``annotations/SPLIT.json`` and an image for each plain file name in it that is not there yet."""
    folder = root / "images" / split
    folder.mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    for n, one in enumerate(data["images"]):
        name = one.get("file_name") if isinstance(one, dict) else None
        if isinstance(name, str) and "/" not in name and not (folder / name).exists():
            picture(1000 * seed + n, one.get("width") or 64, one.get("height") or 48).save(folder / name)
    (root / "annotations" / f"{split}.json").write_text(json.dumps(data), encoding="utf-8")


def clean(root: Path) -> Path:
    """Train and val with ids 7, 90, 13, an empty image and a crowd, and nothing wrong."""
    cats = categories((7, 90, 13))
    train = coco(
        [image(11, "a.png"), image(5, "b.png"), image(8, "empty.png")],
        [
            annotation(1, 11, 90, 4, 5, 20, 10, area=150.0),
            annotation(2, 11, 7, 30, 5, 10.5, 30),
            annotation(3, 5, 13, 0, 0, 64, 48, iscrowd=1, segmentation={"counts": [0, 3072], "size": [48, 64]}),
            annotation(4, 5, 7, 10, 10, 12, 12, segmentation=[[10, 10, 22, 10, 22, 22]]),
        ],
        cats,
    )
    val = coco(
        [image(21, "c.png")],
        [annotation(1, 21, 13, 1, 2, 30, 40), annotation(2, 21, 7, 40, 2, 9, 9), annotation(3, 21, 90, 40, 20, 9, 9)],
        cats,
    )
    write_split(root, "train", train, seed=1)
    write_split(root, "val", val, seed=2)
    return root
