"""YOLOX of every size: sizes against the published ones, wiring against the graphs traced from the official code."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from tests.zoo.families.checks import (
    assert_folding_and_prediction,
    convolutions,
    convolutions_of_graph,
    disturb,
    official_graph,
    on_meta,
    parameters,
    wiring,
)
from zoo.detector import Recipe
from zoo.factory import family_of
from zoo.families.card import load_cards
from zoo.families.yolox import FAMILY

PARAMS = {
    "yolox-nano": (912_159, 904_463, "0.91"),
    "yolox-tiny": (5_055_855, 5_047_191, "5.06"),
    "yolox-s": (8_968_255, 8_956_703, "9.0"),
    "yolox-m": (25_326_495, 25_304_847, "25.3"),
    "yolox-l": (54_208_895, 54_174_271, "54.2"),
    "yolox-x": (99_071_455, 99_020_975, "99.1"),
}
"""Parameters in training form and deployed, and what the authors publish, in millions: their figures are of training form."""
GRAPHS = {"yolox-s": "YOLOXs", "yolox-l": "YOLOXl", "yolox-x": "YOLOXx"}


@pytest.mark.parametrize("model", PARAMS)
def test_parameters_of_every_size(model: str) -> None:
    detector = on_meta(FAMILY, model)
    training, deployed, published = PARAMS[model]
    assert parameters(detector) == training
    assert f"{training / 1e6:.{len(published.split('.')[1])}f}" == published
    detector.fuse()
    assert parameters(detector) == deployed
    assert not any(isinstance(part, nn.BatchNorm2d) for part in detector.modules())


@pytest.mark.parametrize("model", GRAPHS)
def test_deploy_form_equals_the_official_graph(model: str, shared_dir: Path) -> None:
    official = official_graph(shared_dir, GRAPHS[model])
    detector = on_meta(FAMILY, model).fuse()
    table = official.table(640)
    assert parameters(detector) == int(table.total(table.params))
    assert convolutions(detector) == convolutions_of_graph(official)
    assert sorted(wiring(detector.graph())) == sorted(wiring(official))


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


def test_folding_and_prediction_with_other_classes() -> None:
    torch.manual_seed(0)
    detector = FAMILY.make(Recipe("yolox-nano", 3)).eval()
    disturb(detector)
    image = torch.rand(2, 3, 64, 32) * 255
    assert_folding_and_prediction(detector, image)


def test_fresh_head_expects_little() -> None:
    detector = FAMILY.make(Recipe("yolox-nano", 3)).eval()
    with torch.no_grad():
        _, scores = detector.decode(detector(torch.zeros(1, 3, 64, 64)), (64, 64))
    assert 0.5e-4 < float(scores.mean()) < 2e-4


def test_names() -> None:
    assert family_of("yoloxs") == (FAMILY, "yolox-s")
    small = {card.model: card.input_px for card in load_cards().values() if card.family == "yolox" and card.input_px != 640}
    assert small == {"yolox-nano": 416, "yolox-tiny": 416}
    for model in FAMILY.sizes:
        names = [FAMILY.official_name(name) for name in on_meta(FAMILY, model).state_dict()]
        assert len(set(names)) == len(names)
        assert all(name.startswith(("backbone.", "head.")) for name in names)


