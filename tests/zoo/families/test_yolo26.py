"""YOLO26: the family contract, and what its two branches promise."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from search_spaces.graph import Graph
from tests.zoo.families.checks import assert_deploy_form_equals, on_meta, parameters
from tests.zoo.families.contract import NAMES, FamilyContract, OfficialLayout
from tests.zoo.weights.official_files import pickled, save_pickled_model
from workbench.errors import BadInput
from zoo.detector import Detector, Recipe
from zoo.families.yolo26 import BRANCHES, FAMILY

LOGGED_S = {
    "neck.lateral4": 477_184,
    "neck.out3": 136_192,
    "neck.down3": 147_712,
    "neck.out4": 378_880,
    "neck.down4": 590_336,
    "neck.out5": 1_843_712,
    "head": 993_784,
}
"""Parameters of YOLO26s by layer, of which there is no graph, from a user's log (ultralytics/ultralytics issue
23856)."""


class TestYOLO26(FamilyContract):
    FAMILY = FAMILY
    MODEL = "yolo26n"
    LICENCE = "AGPL-3.0"
    PARAMS = {
        "yolo26n": (2_572_280, 2_408_932, "2.4"),
        "yolo26s": (10_009_784, 9_496_140, "9.5"),
        "yolo26m": (21_896_248, 20_411_132, "20.4"),
        "yolo26l": (26_299_704, 24_807_420, "24.8"),
        "yolo26x": (58_993_368, 55_725_948, "55.7"),
    }
    GFLOPS = {"yolo26n": "5.4", "yolo26s": "20.7", "yolo26m": "68.2", "yolo26l": "86.4", "yolo26x": "193.9"}
    LOGGED = {("yolo26n", 1): 2_504_190, ("yolo26n", 2): 2_504_580, ("yolo26n", 6): 2_506_140}
    GRAPHS = {"yolo26n": "YOLO26n", "yolo26m": "YOLO26m", "yolo26l": "YOLO26l", "yolo26x": "YOLO26x"}
    LAYOUTS = {"pickled": OfficialLayout("yolo26n", 3, pickled(names=NAMES), half=True, named=True)}
    FRESH_SCORES = (0, 1e-3)
    BACKGROUND = ("one_to_many_classes", "one_to_one_classes")
    LOSS_COUNTS_IMAGES = True
    OVERFIT = {"steps": 200, "rate": 4e-3, "batch": 16}

    def write_official(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        save_pickled_model(path, tensors, half=False, ema=True)

    def assert_same_graph(self, ours: Graph, official: Graph, detector: Detector) -> None:
        assert_deploy_form_equals(detector, official)

    def test_folding_keeps_the_branch_in_use(self, trained: Detector, branch: str) -> None:
        detector = copy.deepcopy(trained)
        detector.choose_branch(branch)
        image = torch.rand(2, 3, 64, 96)
        with torch.no_grad():
            raw = detector(image)
            folded = detector.fuse()(image)
        assert set(raw) == {"boxes", "classes", "one_to_one_boxes", "one_to_one_classes"}
        assert set(folded) == {"boxes", "classes"}
        source = "one_to_one_boxes" if branch == "one_to_one" else "boxes"
        torch.testing.assert_close(folded["boxes"], raw[source], rtol=1e-4, atol=1e-4)
        with pytest.raises(BadInput, match="choose"):
            detector.choose_branch(next(other for other in BRANCHES if other != branch))


@pytest.mark.parametrize("part", LOGGED_S)
def test_small_size_equals_a_users_log(part: str) -> None:
    assert parameters(on_meta(FAMILY, "yolo26s").get_submodule(part)) == LOGGED_S[part]


def test_one_to_one_branch_does_not_teach_the_features() -> None:
    torch.manual_seed(0)
    detector = FAMILY.make(Recipe("yolo26n", 3)).train()
    raw = detector(torch.rand(2, 3, 32, 64))
    sum(level.square().sum() for level in raw["one_to_one_classes"]).backward()
    taught = {
        name.split(".")[0] + "." + name.split(".")[1] for name, p in detector.named_parameters() if p.grad is not None
    }
    assert taught == {"head.one_to_one"}
    sum(level.square().sum() for level in raw["classes"]).backward()
    assert all(p.grad is not None for p in detector.backbone.parameters())


def test_decode_by_hand() -> None:
    detector = FAMILY.make(Recipe("yolo26n", 2)).eval()
    raw = {
        "boxes": [torch.zeros(1, 4, s, s) for s in (8, 4, 2)],
        "classes": [torch.zeros(1, 2, s, s) for s in (8, 4, 2)],
    }
    raw["boxes"][1][0, :, 1, 2] = torch.tensor([1.0, 2.0, 3.5, -1.0])
    boxes, scores = detector.decode(raw, (64, 64))
    assert boxes.shape == (1, 84, 4)
    assert scores.unique().tolist() == [0.5]
    assert boxes[0, 64 + 6].tolist() == [24.0, -8.0, 96.0, 8.0]


def test_batch_norms_are_set() -> None:
    norms = {
        (part.eps, part.momentum) for part in on_meta(FAMILY, "yolo26n").modules() if isinstance(part, nn.BatchNorm2d)
    }
    assert norms == {(1e-3, 0.03)}
