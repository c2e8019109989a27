"""Photographs: what the network saw is the image again, best and worst pictures are those."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pycocotools")
from PIL import Image

from distill.report.matching import match
from distill.report.pictures import as_jpeg, best_and_worst, pixels_of, png
from tests.distill.train.test_evaluate import real_data, row
from zoo.images import Preprocess, prepare

SCALED = Preprocess("rgb", 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize("how", [SCALED, Preprocess("bgr", 1.0)])
def test_pixels_are_those_of_the_image(how: Preprocess) -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    batch, _ = prepare([image], 32, how)
    assert (pixels_of(batch[0].numpy(), how) == image).all()


def test_best_and_worst_pictures(tmp_path: Path) -> None:
    data = real_data(tmp_path, 3)
    ids = [picture.id for picture in data.pictures]
    perfect = [
        row(picture.id, data.classes.original_ids[label], [x1, y1, x2 - x1, y2 - y1], 0.9)
        for picture in data.pictures[:1]
        for (x1, y1, x2, y2), label in zip(picture.boxes.tolist(), picture.labels.tolist(), strict=True)
    ]
    results = [*perfect, row(ids[2], data.classes.original_ids[0], [0, 0, 5, 5], 0.8)]
    good, poor = best_and_worst(data, results, match(data, results), 0.5)
    assert all(shown.caption.startswith(data.pictures[0].file.name) for shown in good)
    assert poor[0].caption.startswith(data.pictures[2].file.name) and "found that are none" in poor[0].caption


def test_a_photograph_becomes_smaller_as_jpeg() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    file = png(Image.fromarray(noise))
    packed = as_jpeg(file)
    assert Image.open(io.BytesIO(packed)).format == "JPEG" and len(packed) < len(file)
