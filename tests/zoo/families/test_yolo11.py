"""YOLO11 of every size: sizes against the published ones, wiring against the graphs traced from the official code."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor

from tests.zoo.families.checks import (
    assert_deploy_form_equals,
    assert_folding_and_prediction,
    assert_own_landmark,
    assert_sizes,
    disturb,
    official_graph,
    on_meta,
    parameters,
)
from zoo.detector import Recipe
from zoo.families.yolo11 import FAMILY

PARAMS = {
    "yolo11n": (2_624_080, 2_616_248, "2.6"),
    "yolo11s": (9_458_752, 9_443_760, "9.4"),
    "yolo11m": (20_114_688, 20_091_712, "20.1"),
    "yolo11l": (25_372_160, 25_340_992, "25.3"),
    "yolo11x": (56_966_176, 56_919_424, "56.9"),
}
"""Parameters in training form and deployed, and what the authors publish, in millions: their figures are of the deploy form."""
GFLOPS = {"yolo11n": "6.5", "yolo11s": "21.5", "yolo11m": "68.0", "yolo11l": "86.9", "yolo11x": "194.9"}
"""What the authors publish: twice the MACs of the convolutions, at 640 px."""
LOGGED = {("yolo11n", 1): 2_590_035}
"""Parameters in users' training logs of the official code, by model and number of classes."""
GRAPHS = {"yolo11n": "YOLO11n", "yolo11s": "YOLO11s", "yolo11l": "YOLO11l", "yolo11x": "YOLO11x"}


@pytest.mark.parametrize("model", PARAMS)
def test_every_size(model: str) -> None:
    assert_sizes(FAMILY, model, PARAMS[model], GFLOPS[model])


@pytest.mark.parametrize(("model", "classes"), LOGGED)
def test_training_form_equals_users_logs(model: str, classes: int) -> None:
    assert parameters(on_meta(FAMILY, model, classes)) == LOGGED[model, classes]


@pytest.mark.parametrize("model", GRAPHS)
def test_deploy_form_equals_the_official_graph(model: str, shared_dir: Path) -> None:
    detector = on_meta(FAMILY, model).fuse()
    assert_deploy_form_equals(detector, official_graph(shared_dir, GRAPHS[model]))


def test_landmark() -> None:
    assert_own_landmark(FAMILY)


def test_folding_and_prediction_with_other_classes() -> None:
    torch.manual_seed(0)
    detector = FAMILY.make(Recipe("yolo11n", 3)).eval()
    disturb(detector)
    assert_folding_and_prediction(detector, torch.rand(2, 3, 64, 96))


def test_fresh_head_expects_little() -> None:
    torch.manual_seed(0)
    detector = FAMILY.make(Recipe("yolo11n")).eval()
    with torch.no_grad():
        _, scores = detector.decode(detector(torch.rand(1, 3, 64, 64)), (64, 64))
    assert 0 < float(scores.mean()) < 1e-3


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
