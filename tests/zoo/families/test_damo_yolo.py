"""DAMO-YOLO: the family contract, plain and NMS-free; searched architectures, decoding."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.lowering import lower
from search_spaces.published import PUBLISHED
from search_spaces.space_file import load_space, space_names
from tests.zoo.families.checks import assert_folding_and_prediction, disturb
from tests.zoo.families.contract import FamilyContract, OfficialLayout
from tests.zoo.families.loss_checks import assert_counts_images, targets_of
from tests.zoo.weights.official_files import save_plain
from workbench.errors import BadInput
from zoo.boxes import flatten_levels
from zoo.detector import Detector, Recipe
from zoo.factory import build, build_recipe
from zoo.families.damo_yolo import FAMILY, DamoYolo
from zoo.families.parts.zero_head import ONE_TO_MANY, ONE_TO_ONE, DualZeroHead, ZeroHead, zero_head_boxes
from zoo.learning.targets import Phase, total


def save_with_project(path: Path, tensors: Mapping[str, Tensor], legacy: bool = False) -> None:
    """With the constant that the official DAMO-YOLO stores."""
    save_plain(path, {**tensors, "head.integral.project": torch.arange(17.0)}, legacy=legacy)


def save_legacy(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """In the layout of torch before 1.6."""
    save_with_project(path, tensors, legacy=True)


class TestDamoYolo(FamilyContract):
    """Parameters of every size are in the card; graphs of searched architectures in tests/zoo/graphs."""

    FAMILY = FAMILY
    MODEL = "damo-yolo-ns"
    LICENCE = "Apache-2.0"
    PARAMS: dict[str, tuple[int, int, str]] = {}
    LAYOUTS = {
        "plain": OfficialLayout("damo-yolo-ns", 80, save_with_project),
        "legacy": OfficialLayout("damo-yolo-ns", 3, save_legacy),
    }
    FRESH_SCORES = (0.005, 0.02)
    BACKGROUND = ("quality",)
    LOSS_COUNTS_IMAGES = False
    OVERFIT = {"steps": 300, "batch": 4}
    """AP50 0.99 after 62 s of one core, torch 2.13."""

    def recipe(self, classes: int) -> Recipe:
        return Recipe("damo-yolo-ns", classes, with_head(one_to_one=False))

    def write_official(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        save_plain(path, tensors)

    def test_every_parameter_moves(self) -> None:
        """Boxes of a fresh head reach some 3 cells, so every level finds objects only in a larger input."""
        detector = self.make().train()
        ends = [
            [[x, x, x + side, x + side, 0] for x in range(0, 320 - side, 24)] for side in (20, 50, 100, 150, 200, 280)
        ]
        targets = targets_of(*ends)
        before = {name: value.detach().clone() for name, value in detector.named_parameters()}
        optimizer = torch.optim.Adam(detector.parameters(), lr=1e-3)
        raw = detector.training_raw(detector.features(torch.rand(len(ends), 3, 320, 320) * 255), targets)
        total(detector.loss(raw, targets, (320, 320), Phase())).backward()
        grads = {name: value.grad for name, value in detector.named_parameters()}
        assert [name for name, grad in grads.items() if grad is None or not grad.isfinite().all()] == []
        optimizer.step()
        assert [name for name, value in detector.named_parameters() if torch.equal(value, before[name])] == []

    def test_losses_scale_with_the_number_of_images(self, learner: Detector) -> None:
        """With surer scores than a fresh head's, which do not sum up to the least divisor."""
        detector = copy.deepcopy(learner)
        for part in detector.head.modules():
            if isinstance(part, ZeroHead):
                for conv in part.cls:
                    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        assert detector.loss_counts_images == self.LOSS_COUNTS_IMAGES
        assert_counts_images(detector)


class TestNMSFree(TestDamoYolo):
    """The same with an NMS-free head beside the plain one."""

    LAYOUTS: dict[str, OfficialLayout] = {}
    BACKGROUND = ("quality", f"{ONE_TO_ONE}_quality")

    def recipe(self, classes: int) -> Recipe:
        return Recipe("damo-yolo-ns", classes, with_head(one_to_one=True))


def with_head(one_to_one: bool) -> Architecture:
    """The architecture of DAMO-YOLO-NS with or without an NMS-free head."""
    arch = PUBLISHED["damo-yolo-ns"]
    assert arch.head is not None
    return dataclasses.replace(arch, head=dataclasses.replace(arch.head, one_to_one=one_to_one))


def nms_free(classes: int = 3) -> DamoYolo:
    """An NMS-free detector with spread weights, in evaluation mode."""
    detector = build_recipe(Recipe("damo-yolo-ns", classes, with_head(one_to_one=True)))
    assert isinstance(detector, DamoYolo)
    disturb(detector)
    return detector.eval()


@pytest.mark.parametrize("space", space_names())
def test_a_searched_architecture_folds_and_predicts(space: str) -> None:
    torch.manual_seed(0)
    found = load_space(space)
    arch = found.decode(found.sample(1, np.random.default_rng(1))[0], "searched")
    detector = build_recipe(Recipe("searched", 5, arch)).eval()
    assert arch.head is not None
    assert detector.recipe.architecture == dataclasses.replace(arch, head=dataclasses.replace(arch.head, classes=5))
    disturb(detector)
    assert_folding_and_prediction(detector, torch.rand(2, 3, 64, 96))


def test_channels_and_strides_are_stated_once() -> None:
    arch = PUBLISHED["damo-yolo-s"]
    with torch.device("meta"):
        detector = build("damo-yolo-s").eval()
        levels = detector.features(torch.empty(1, 3, 320, 256))
        backbone = detector.backbone(torch.empty(1, 3, 320, 256))
    assert arch.neck is not None
    assert [x.shape[1] for x in backbone] == list(arch.tap_channels)
    assert [x.shape[1] for x in levels] == list(arch.neck.out)
    assert [tuple(x.shape[2:]) for x in levels] == [(320 // s, 256 // s) for s in detector.strides]


def test_nms_free_head_selects_without_suppression() -> None:
    torch.manual_seed(0)
    detector = nms_free()
    image = torch.rand(1, 3, 64, 64) * 255
    assert (
        isinstance(detector.head, DualZeroHead)
        and detector.end2end
        and list(detector.selections) == [ONE_TO_ONE, ONE_TO_MANY]
    )
    with torch.no_grad():
        raw = detector(image)
        single = detector.decode(raw, (64, 64))
        assert torch.equal(single[0], zero_head_boxes(raw["one_to_one_boxes"], detector.strides, detector.reg_max))
        assert torch.equal(single[1], flatten_levels(raw["one_to_one_classes"]).sigmoid())
        detector.choose_branch(ONE_TO_MANY)
        assert not detector.end2end
        many = detector.decode(raw, (64, 64))
    assert not torch.allclose(single[1], many[1])


@pytest.mark.parametrize("branch", [ONE_TO_ONE, ONE_TO_MANY])
def test_nms_free_head_deploys_as_one_plain_head(branch: str) -> None:
    torch.manual_seed(0)
    detector = nms_free()
    detector.choose_branch(branch)
    image = torch.rand(1, 3, 64, 64) * 255
    with torch.no_grad():
        before = detector.decode(detector(image), (64, 64))
        detector.fuse()
        after = detector.decode(detector(image), (64, 64))
    for ours, folded in zip(before, after, strict=True):
        torch.testing.assert_close(ours, folded, rtol=1e-3, atol=1e-3)
    assert type(detector.head) is ZeroHead
    arch = detector.recipe.architecture
    assert arch is not None and arch.head is not None
    # Deployed, an NMS-free detector costs what the plain one costs, by every door.
    plain = dataclasses.replace(arch, head=dataclasses.replace(arch.head, one_to_one=False))
    assert lower(arch).digest() == lower(plain).digest()
    params = sum(p.numel() for p in detector.parameters())
    table = lower(dataclasses.replace(plain, head=dataclasses.replace(arch.head, classes=3))).table(640)
    assert params == int(table.total(table.params))
    with pytest.raises(BadInput, match="before folding"):
        detector.choose_branch(ONE_TO_MANY if branch == ONE_TO_ONE else ONE_TO_ONE)


@pytest.mark.parametrize("branch", [ONE_TO_ONE, ONE_TO_MANY])
def test_both_branches_teach_the_features(branch: str) -> None:
    torch.manual_seed(0)
    detector = nms_free().train()
    raw = detector(torch.rand(2, 3, 64, 64) * 255)
    sum(
        x.sum() for name, maps in raw.items() if name.startswith(ONE_TO_ONE) == (branch == ONE_TO_ONE) for x in maps
    ).backward()
    for part in (detector.backbone, detector.neck, detector.head.get_submodule(branch)):
        assert all(p.grad is not None for p in part.parameters())


def test_architecture_with_one_to_one_round_trips() -> None:
    arch = nms_free().recipe.architecture
    assert arch is not None
    again = Architecture.from_yaml(arch.to_yaml())
    assert again == arch and again.head is not None and again.head.one_to_one
    assert "one_to_one" not in PUBLISHED["damo-yolo-s"].to_yaml()


def test_decoding_by_hand() -> None:
    """One cell a level: distances are expectations over bins, anchored at the cell's corner."""
    reg_max = 4
    boxes = torch.full((1, 4 * (reg_max + 1), 1, 1), -50.0)
    for side, bin_number in enumerate((0, 1, 2, 4)):
        boxes[0, side * (reg_max + 1) + bin_number] = 50.0
    found = zero_head_boxes([boxes] * 3, (8, 16, 32), reg_max)
    assert torch.allclose(found[0], torch.tensor([[0.0 * s, -1 * s, 2 * s, 4 * s] for s in (8, 16, 32)]))


def test_fresh_head_expects_little() -> None:
    head = build("damo-yolo-ns", 7).head
    assert isinstance(head, ZeroHead)
    for conv in head.cls:
        assert conv.bias is not None
        assert torch.allclose(conv.bias, torch.full((7,), -math.log(99.0)))  # type: ignore[arg-type]


def test_a_bare_backbone_is_refused() -> None:
    with pytest.raises(BadInput, match="bare backbone"):
        build_recipe(Recipe("b", 80, PUBLISHED["damo-yolo-s"].backbone()))
