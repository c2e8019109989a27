"""YOLO26's losses: two branches that share the weight, the distances by loops, and what every loss promises."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from tests.zoo.families.loss_checks import SIZE, gradients_of, losses_of, mapped, raw_of, some_targets, targets_of
from zoo.boxes import anchor_points, flatten_levels, ltrb_to_xyxy
from zoo.detector import Detector, Recipe
from zoo.families.yolo26 import ASSIGN, FAMILY
from zoo.families.yolo26 import raw_of as branch_of
from zoo.learning.losses import box_iou
from zoo.learning.targets import Phase, total

NAMES = {f"{branch}_{name}" for branch in ("one_to_many", "one_to_one") for name in ("box", "classes", "l1")}


@pytest.fixture(scope="module")
def detector() -> Detector:
    torch.manual_seed(0)
    return FAMILY.make(Recipe("yolo26n", 3))


@pytest.mark.parametrize("branch", ASSIGN)
def test_box_losses_by_loops(detector: Detector, branch: str) -> None:
    """One taught cell after the other: 1 - CIoU, and the distances to the sides as shares of the image."""
    targets = some_targets()
    raw = mapped(raw_of(detector, targets), lambda x: x.detach() * 1.5)
    own = branch_of(raw, branch)
    centres, strides = anchor_points(own["boxes"], (8, 16, 32), 0.5)
    centres = centres * strides
    reach = flatten_levels(own["boxes"]) * strides
    boxes, scores = ltrb_to_xyxy(reach, centres), flatten_levels(own["classes"]).sigmoid()
    found = ASSIGN[branch](scores, boxes, centres, targets)
    truth, box_sum, l1_sum = torch.cat(targets.boxes), 0.0, 0.0
    for image, cell in (found.objects >= 0).nonzero().tolist():
        true, quality = truth[found.objects[image, cell]], float(found.qualities[image, cell])
        box_sum += quality * (1 - float(box_iou(boxes[image, cell], true, "ciou")))
        (x, y), wanted = centres[cell].tolist(), true.tolist()
        sides = (x - wanted[0], y - wanted[1], wanted[2] - x, wanted[3] - y)
        l1_sum += quality * sum(abs(a - b) / 128 for a, b in zip(sides, reach[image, cell].tolist(), strict=True)) / 4
    share = 3 / max(float(found.qualities.sum()), 1) / 2  # the branches weigh the same 3/7 through training
    losses = detector.loss(raw, targets, SIZE, Phase(3 / 7))
    assert float(losses[f"{branch}_box"]) == pytest.approx(7.5 * share * box_sum, rel=1e-4)
    assert float(losses[f"{branch}_l1"]) == pytest.approx(1.5 * share * l1_sum, rel=1e-4)
    goal = torch.zeros_like(scores)
    for image, cell in (found.objects >= 0).nonzero().tolist():
        label = torch.cat(targets.labels)[found.objects[image, cell]]
        goal[image, cell, label] = found.qualities[image, cell]
    entropy = float(torch.nn.functional.binary_cross_entropy(scores.double(), goal.double(), reduction="sum"))
    assert float(losses[f"{branch}_classes"]) == pytest.approx(0.5 * share * entropy, rel=1e-4)


def test_distances_are_shares_of_height_and_width(detector: Detector) -> None:
    """On an input twice as wide as high the same miss counts half as much sideways."""
    targets = targets_of([[32, 16, 96, 48, 0]])
    raw = {"boxes": [torch.full((1, 4, 64 // s, 128 // s), 2.0) for s in (8, 16, 32)]}
    raw["classes"] = [torch.zeros(1, 3, *level.shape[2:]) for level in raw["boxes"]]
    raw |= {f"one_to_one_{name}": value for name, value in raw.items()}
    raw = mapped(raw, lambda x: x.clone().requires_grad_())
    losses = detector.loss(raw, targets, (64, 128), Phase())
    losses["one_to_many_l1"].backward()
    grads = [level.grad[0] for level in raw["boxes"]]
    left, top = (max(float(grad[side].abs().max()) for grad in grads) for side in (0, 1))
    assert left > 0
    assert top == pytest.approx(2 * left)


def test_the_weight_moves_to_the_one_to_one_branch(detector: Detector) -> None:
    targets = some_targets()
    raw = mapped(raw_of(detector, targets), lambda x: x.detach())
    bare = {
        name: float(v) / (0.8 if "many" in name else 0.2)
        for name, v in losses_of(detector, raw, targets, Phase()).items()
    }
    assert set(bare) == NAMES
    for progress, many in ((0.0, 0.8), (0.5, 0.45), (1.0, 0.1)):
        for name, value in losses_of(detector, raw, targets, Phase(progress)).items():
            assert float(value) == pytest.approx(bare[name] * (many if "many" in name else 1 - many), rel=1e-5)


def test_one_to_one_teaches_one_cell_an_object(detector: Detector) -> None:
    targets = some_targets()
    grads = gradients_of(detector, raw_of(detector, targets), targets)
    cells = {
        name: sum(int((level.abs().sum(1) > 0).sum()) for level in grads[name])
        for name in ("boxes", "one_to_one_boxes")
    }
    assert cells["one_to_one_boxes"] == targets.objects
    assert targets.objects < cells["boxes"] <= 10 * targets.objects


def test_one_to_one_losses_leave_the_features_alone() -> None:
    torch.manual_seed(0)
    detector = FAMILY.make(Recipe("yolo26n", 3))
    targets = some_targets()
    losses = losses_of(detector, raw_of(detector, targets), targets)
    total({name: value for name, value in losses.items() if "one_to_one" in name}).backward()
    taught = {
        name.rsplit(".boxes" if ".boxes" in name else ".classes")[0]
        for name, p in detector.named_parameters()
        if p.grad is not None
    }
    assert taught == {"head.one_to_one"}


def test_ignored_regions_are_not_taught_as_background(detector: Detector) -> None:
    targets = targets_of([[4, 4, 40, 40, 0]], ignored=[[64, 64, 128, 128]])
    grads = gradients_of(detector, raw_of(detector, targets), targets)
    for name in ("classes", "one_to_one_classes"):
        finest = grads[name][0][0].abs().sum(0)
        assert not finest[8:, 8:].any()
        assert (finest[:8] > 0).all() and (finest[:, :8] > 0).all()
