"""Pictures of training."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pycocotools")
from PIL import Image

from distill.train.evaluate import evaluate_detections
from distill.train.plots import detections_png, precision_recall_png
from tests.distill.train.test_evaluate import DATA, PERFECT, real_data, row


def opened(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_curves_differ_with_the_results() -> None:
    good = opened(precision_recall_png(evaluate_detections(DATA, PERFECT), DATA.classes.names))
    poor = opened(precision_recall_png(evaluate_detections(DATA, PERFECT[:1]), DATA.classes.names))
    assert good.shape == (480, 640, 3) and (good != poor).any()


def test_found_boxes_are_below_true_ones(tmp_path: Path) -> None:
    data = real_data(tmp_path, 3)
    bare = opened(detections_png(data, []))
    one = opened(detections_png(data, [row(100, 7, [20, 20, 30, 30], 0.9), row(101, 7, [20, 20, 30, 30], 0.1)]))
    assert bare.shape == (640, 960, 3)
    changed = np.argwhere((bare != one).any(2))
    assert changed[:, 0].min() >= 320 and changed[:, 1].max() < 320


def test_more_than_three_pictures_take_another_line(tmp_path: Path) -> None:
    data = real_data(tmp_path, 5)
    bare = opened(detections_png(data, []))
    fifth = opened(detections_png(data, [row(104, 7, [20, 20, 30, 30], 0.9)]))
    assert bare.shape == (1280, 960, 3)
    changed = np.argwhere((bare != fifth).any(2))
    assert changed[:, 0].min() >= 960 and changed[:, 1].min() >= 320 and changed[:, 1].max() < 640
