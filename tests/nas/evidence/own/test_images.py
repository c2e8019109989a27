"""The easy synthetic set that small trainings learn from."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

pytest.importorskip("cv2")
pytest.importorskip("torch")

from distill.data.formats.readers import open_pair
from distill.data.synthetic.synth import draw_picture
from nas.evidence.own.images import CLASS_NAME, MIN_SIDE_SHARE, write_easy_dataset
from workbench.errors import BadInput


def test_large_things_of_one_class_are_left(tmp_path: Path) -> None:
    write_easy_dataset(tmp_path / "easy", 20, 3, 96, lambda text: None)
    data, val = open_pair(tmp_path / "easy")
    assert (len(data), len(val)) == (16, 4) and data.classes.names == (CLASS_NAME,)
    for split in ("train", "val"):
        coco = json.loads((tmp_path / "easy" / "annotations" / f"{split}.json").read_text())
        assert all(max(image["width"], image["height"]) == 96 for image in coco["images"])
        for image in coco["images"]:
            objects = [item for item in coco["annotations"] if item["image_id"] == image["id"]]
            assert any(not item["iscrowd"] for item in objects)
            for item in objects:
                x, y, w, h = item["bbox"]
                assert x + w <= image["width"] + 1 and y + h <= image["height"] + 1
                assert item["iscrowd"] or math.sqrt(w * h) >= MIN_SIDE_SHARE * 96 - 0.1


def test_they_are_the_synthetic_sets_own_objects(tmp_path: Path) -> None:
    write_easy_dataset(tmp_path / "easy", 5, 0, 64, lambda text: None)
    easy = json.loads((tmp_path / "easy" / "annotations" / "train.json").read_text())
    boxes = [item["bbox"] for item in easy["annotations"] if item["image_id"] == 1]
    images = [draw_picture(0, index) for index in range(20)]
    scaled = [
        [[round(value * 64 / max(picture.image.shape[:2]), 2) for value in box] for box in picture.boxes]
        for picture in images
    ]
    assert boxes and scaled.count(boxes) == 1


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_easy_dataset(tmp_path / name, 5, seed, 64, lambda text: None)
    read = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in "abc"
    ]
    assert read[0] == read[1] != read[2]


def test_too_few_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--images 4 must be from 5"):
        write_easy_dataset(tmp_path / "easy", 4, 0, 96, lambda text: None)
    assert not (tmp_path / "easy").exists()
