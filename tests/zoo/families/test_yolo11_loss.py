"""YOLO11's losses: against plain loops, and what every loss promises."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor

from tests.zoo.families.loss_checks import SIZE, gradients_of, losses_of, mapped, raw_of, some_targets, targets_of
from zoo.detector import Detector, Recipe
from zoo.families.yolo11 import FAMILY
from zoo.learning.targets import Targets


@pytest.fixture(scope="module")
def detector() -> Detector:
    torch.manual_seed(0)
    return FAMILY.make(Recipe("yolo11n", 3))


def ciou(a: list[float], b: list[float]) -> float:
    """Overlap less the distance of the centres and the difference of the aspect ratios (Zheng et al. 2020)."""
    inter = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    (aw, ah), (bw, bh) = ((box[2] - box[0], box[3] - box[1]) for box in (a, b))
    iou = inter / (aw * ah + bw * bh - inter)
    apart = ((a[0] + a[2] - b[0] - b[2]) / 2) ** 2 + ((a[1] + a[3] - b[1] - b[3]) / 2) ** 2
    diagonal = (max(a[2], b[2]) - min(a[0], b[0])) ** 2 + (max(a[3], b[3]) - min(a[1], b[1])) ** 2
    aspect = 4 / math.pi**2 * (math.atan(aw / ah) - math.atan(bw / bh)) ** 2
    return iou - apart / diagonal - (aspect * aspect / (1 - iou + aspect) if aspect else 0)


def by_loops(detector: Detector, raw: dict[str, list[Tensor]], targets: Targets) -> dict[str, float]:
    """One cell after the other; only the assignment, which has a test of its own, is the detector's."""
    boxes, scores = detector.decode(raw, SIZE)
    sides = [8] * 256 + [16] * 64 + [32] * 16
    places = [((i % 16) * 8 + 4, (i // 16) * 8 + 4) for i in range(256)]
    places += [((i % 8) * 16 + 8, (i // 8) * 16 + 8) for i in range(64)]
    places += [((i % 4) * 32 + 16, (i // 4) * 32 + 16) for i in range(16)]
    found = detector.assign(scores, boxes, torch.tensor(places, dtype=torch.float32), targets)
    truth, labels = torch.cat(targets.boxes).tolist(), torch.cat(targets.labels).tolist()
    bins = torch.cat([level.flatten(2) for level in raw["boxes"]], 2).double()
    sums = {"box": 0.0, "classes": 0.0, "distribution": 0.0}
    for image in range(len(targets)):
        for cell, (x, y) in enumerate(places):
            number, quality = int(found.objects[image, cell]), float(found.qualities[image, cell])
            for kind in range(3):
                goal = quality if number >= 0 and labels[number] == kind else 0.0
                score = min(max(float(scores[image, cell, kind]), 1e-12), 1 - 1e-12)
                sums["classes"] -= goal * math.log(score) + (1 - goal) * math.log(1 - score)
            if number < 0:
                continue
            box, stride = truth[number], sides[cell]
            sums["box"] += quality * (1 - ciou(boxes[image, cell].tolist(), box))
            for side, reach in enumerate((x - box[0], y - box[1], box[2] - x, box[3] - y)):
                reach = min(max(reach / stride, 0), 15)
                logs = bins[image, 16 * side : 16 * side + 16, cell].log_softmax(0)
                low = min(int(reach), 14)
                entropy = -float(logs[low]) * (low + 1 - reach) - float(logs[low + 1]) * (reach - low)
                sums["distribution"] += quality * entropy / 4
    share = len(targets) / max(float(found.qualities.sum()), 1)
    return {
        "box": 7.5 * share * sums["box"],
        "classes": 0.5 * share * sums["classes"],
        "distribution": 1.5 * share * sums["distribution"],
    }


def test_equals_loops(detector: Detector) -> None:
    targets = some_targets()
    raw = mapped(raw_of(detector, targets), lambda x: x.detach() * 2)
    losses = losses_of(detector, raw, targets)
    assert {name: float(value) for name, value in losses.items()} == pytest.approx(
        by_loops(detector, raw, targets), rel=1e-4
    )


def test_a_perfect_prediction_costs_next_to_nothing(detector: Detector) -> None:
    """Box sides on whole bins and sure classes; an object of 64 px in the cells that find it exactly."""
    targets = targets_of([[32, 32, 96, 96, 1]])
    raw = {
        "boxes": [torch.zeros(1, 64, s, s) for s in (16, 8, 4)],
        "classes": [torch.full((1, 3, s, s), -20.0) for s in (16, 8, 4)],
    }
    for y in range(2, 6):
        for x in range(2, 6):
            # sides are 0.5, 1.5, 2.5 or 3.5 strides away: both bins beside that, evenly
            for side, reach in enumerate((x - 1.5, y - 1.5, 5.5 - x, 5.5 - y)):
                raw["boxes"][1][0, 16 * side + int(reach), y, x] = 40.0
                raw["boxes"][1][0, 16 * side + int(reach) + 1, y, x] = 40.0
            raw["classes"][1][0, 1, y, x] = 20.0
    losses = losses_of(detector, raw, targets)
    assert float(losses["box"]) == pytest.approx(0, abs=1e-4)
    assert float(losses["distribution"]) == pytest.approx(1.5 * math.log(2), rel=1e-3)
    others = 6 * 20.0 * 0.5 / 10  # six of the sixteen cells are background, and sure of the object
    assert float(losses["classes"]) == pytest.approx(others, rel=1e-3)


def test_ignored_regions_are_not_taught_as_background(detector: Detector) -> None:
    targets = targets_of([[4, 4, 40, 40, 0]], ignored=[[64, 64, 128, 128]])
    grads = gradients_of(detector, raw_of(detector, targets), targets)
    finest = grads["classes"][0][0].abs().sum(0)
    assert not finest[8:, 8:].any()
    assert (finest[:8] > 0).all() and (finest[:, :8] > 0).all()
    within = targets_of([[70, 70, 120, 120, 0]], ignored=[[64, 64, 128, 128]])
    grads = gradients_of(detector, raw_of(detector, within), within)
    learned = sum(int((level[0].abs().sum(0) > 0).sum()) for level in grads["boxes"])
    assert 0 < learned <= 10
    in_region = [level[0, 0, level.shape[2] // 2 :, level.shape[3] // 2 :] != 0 for level in grads["classes"]]
    assert sum(int(part.sum()) for part in in_region) == learned
