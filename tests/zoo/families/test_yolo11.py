"""YOLO11: the family contract, and decoding."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor

from search_spaces.graph import Graph
from tests.zoo.families.checks import assert_deploy_form_equals
from tests.zoo.families.contract import NAMES, FamilyContract, OfficialLayout
from tests.zoo.weights.official_files import pickled, save_pickled_model, save_safetensors
from zoo.detector import Detector, Recipe
from zoo.families.yolo11 import BINS, FAMILY


class TestYOLO11(FamilyContract):
    FAMILY = FAMILY
    MODEL = "yolo11n"
    LICENCE = "AGPL-3.0"
    PARAMS = {
        "yolo11n": (2_624_080, 2_616_248, "2.6"),
        "yolo11s": (9_458_752, 9_443_760, "9.4"),
        "yolo11m": (20_114_688, 20_091_712, "20.1"),
        "yolo11l": (25_372_160, 25_340_992, "25.3"),
        "yolo11x": (56_966_176, 56_919_424, "56.9"),
    }
    GFLOPS = {"yolo11n": "6.5", "yolo11s": "21.5", "yolo11m": "68.0", "yolo11l": "86.9", "yolo11x": "194.9"}
    LOGGED = {("yolo11n", 1): 2_590_035}
    GRAPHS = {"yolo11n": "YOLO11n", "yolo11s": "YOLO11s", "yolo11l": "YOLO11l", "yolo11x": "YOLO11x"}
    LAYOUTS = {
        "pickled": OfficialLayout("yolo11n", 3, pickled(names=dict(enumerate(NAMES))), half=True, named=True),
        "averaged": OfficialLayout("yolo11s", 3, pickled(names=NAMES, ema=True), "ema", half=True, named=True),
        "safetensors": OfficialLayout("yolo11n", 80, save_safetensors, "(top level)", suffix=".safetensors"),
    }
    FRESH_SCORES = (0, 1e-3)
    BACKGROUND = ("classes",)
    LOSS_COUNTS_IMAGES = True
    OVERFIT = {"steps": 200, "rate": 4e-3, "batch": 16}

    def write_official(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        save_pickled_model(path, tensors, half=False)

    def assert_same_graph(self, ours: Graph, official: Graph, detector: Detector) -> None:
        assert_deploy_form_equals(detector, official)

    def prepare_to_learn(self, detector: Detector) -> None:
        """Fresh boxes are 15 strides wide, too wide for the coarse levels on so small an image; these are three."""
        with torch.no_grad():
            for level in detector.head.boxes:  # type: ignore[union-attr]
                level[-1].bias.view(4, BINS).sub_(torch.arange(BINS) / 2)


def test_decode_by_hand() -> None:
    """One bin of each side is certain: the box reaches exactly that many strides from the cell's middle."""
    detector = FAMILY.make(Recipe("yolo11n", 2)).eval()
    raw = {
        "boxes": [certain(0, 0, 0, 0, side) for side in (8, 4, 2)],
        "classes": [torch.zeros(1, 2, s, s) for s in (8, 4, 2)],
    }
    raw["boxes"][1][:, :, 1, 2] = certain(1, 2, 3, 15, 1)[:, :, 0, 0]
    boxes, scores = detector.decode(raw, (64, 64))
    assert boxes.shape == (1, 84, 4)
    assert scores.unique().tolist() == [0.5]
    torch.testing.assert_close(boxes[0, 64 + 6], torch.tensor([24.0, -8.0, 88.0, 264.0]))
    torch.testing.assert_close(boxes[0, 9], torch.tensor([12.0, 12.0, 12.0, 12.0]))


def certain(left: int, top: int, right: int, bottom: int, side: int) -> Tensor:
    """Logits ``[1, 64, side, side]`` that are certain of one distance for each side of the box."""
    bins = torch.full((4, 16), -100.0)
    for row, bin_ in enumerate((left, top, right, bottom)):
        bins[row, bin_] = 100.0
    return bins.reshape(1, 64, 1, 1).repeat(1, 1, side, side)
