"""YOLOX: the family contract, depth-wise convolutions and decoding."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from search_spaces.graph import Graph
from tests.zoo.families.checks import convolutions, convolutions_of_graph, on_meta, parameters, wiring
from tests.zoo.families.contract import FamilyContract, OfficialLayout
from tests.zoo.weights.official_files import save_npz, save_plain
from zoo.detector import Detector
from zoo.factory import family_of
from zoo.families.card import load_cards
from zoo.families.yolox import FAMILY


def save_parallel(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """As written from inside DistributedDataParallel."""
    save_plain(path, {f"module.{name}": value for name, value in tensors.items()})


class TestYOLOX(FamilyContract):
    FAMILY = FAMILY
    MODEL = "yolox-nano"
    LICENCE = "Apache-2.0"
    PARAMS = {
        "yolox-nano": (912_159, 904_463, "0.91"),
        "yolox-tiny": (5_055_855, 5_047_191, "5.06"),
        "yolox-s": (8_968_255, 8_956_703, "9.0"),
        "yolox-m": (25_326_495, 25_304_847, "25.3"),
        "yolox-l": (54_208_895, 54_174_271, "54.2"),
        "yolox-x": (99_071_455, 99_020_975, "99.1"),
    }
    GRAPHS = {"yolox-s": "YOLOXs", "yolox-l": "YOLOXl", "yolox-x": "YOLOXx"}
    LAYOUTS = {
        "plain": OfficialLayout("yolox-nano", 80, lambda path, tensors: save_plain(path, tensors, start_epoch=300)),
        "parallel": OfficialLayout("yolox-nano", 1, save_parallel),
        "npz": OfficialLayout("yolox-nano", 3, save_npz, "(top level)", suffix=".npz"),
    }
    FRESH_SCORES = (0.5e-4, 2e-4)
    BACKGROUND = ("objectness",)
    LOSS_COUNTS_IMAGES = False
    OVERFIT = {"steps": 320}
    """AP50 1.0 after 56 s of one core, torch 2.13."""

    def write_official(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        save_plain(path, tensors)

    def published_params(self, training: int, deployed: int, published: str) -> str:
        return f"{training / 1e6:.{len(published.split('.')[1])}f}"

    def assert_same_graph(self, ours: Graph, official: Graph, detector: Detector) -> None:
        assert parameters(detector) == int(ours.table(640).params.sum())
        assert convolutions(detector) == convolutions_of_graph(official)
        assert sorted(wiring(ours)) == sorted(wiring(official))


def test_nano_is_the_one_with_depthwise_convolutions() -> None:
    depthwise = {
        model: sum(isinstance(part, nn.Conv2d) and part.groups > 1 for part in on_meta(FAMILY, model).modules())
        for model in FAMILY.sizes
    }
    assert depthwise.pop("yolox-nano") == 30
    assert set(depthwise.values()) == {0}


def test_decoding_by_hand() -> None:
    detector = on_meta(FAMILY, "yolox-nano")
    raw = {
        name: [torch.zeros(1, c, 64 // s, 96 // s) for s in detector.strides]
        for name, c in (("boxes", 4), ("objectness", 1), ("classes", 80))
    }
    boxes, scores = detector.decode(raw, (64, 96))
    assert boxes.shape == (1, 96 + 24 + 6, 4)
    assert scores.unique().tolist() == [0.25]
    assert boxes[0, 13].tolist() == [4, 4, 12, 12]  # second row, second column of stride 8: a cell around its corner
    assert boxes[0, -1].tolist() == [48, 16, 80, 48]


def test_names() -> None:
    assert family_of("yoloxs") == (FAMILY, "yolox-s")
    small = {card.model: card.input_px for card in load_cards().values() if card.family == "yolox"}
    assert {model: px for model, px in small.items() if px != 640} == {"yolox-nano": 416, "yolox-tiny": 416}
    for model in FAMILY.sizes:
        names = [FAMILY.official_name(name) for name in on_meta(FAMILY, model).state_dict()]
        assert all(name.startswith(("backbone.", "head.")) for name in names)
