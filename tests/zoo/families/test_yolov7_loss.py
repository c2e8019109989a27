"""YOLOv7's losses: candidates and choice against plain loops, the sums by loops, and what every loss promises."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor
from torch.nn import functional as F

from tests.zoo.families.loss_checks import SIZE, gradients_of, losses_of, targets_of
from zoo.boxes import cxcywh_to_xyxy
from zoo.detector import Detector, Recipe
from zoo.families.yolov7 import ANCHORS_PX, FAMILY, dynamic_choice
from zoo.learning.losses import box_iou
from zoo.learning.targets import Targets

STRIDES = (8, 16, 32)
Place = tuple[int, int, int, int, int]
"""Image, level, anchor, row, column."""


@pytest.fixture(scope="module")
def detector() -> Detector:
    torch.manual_seed(0)
    return FAMILY.make(Recipe("yolov7", 3))


def drawn_maps(seed: int, images: int, coarse: bool) -> list[Tensor]:
    """Raw maps for inputs of ``SIZE``; ``coarse`` ones hold few values, so that many costs are equal."""
    random = torch.Generator().manual_seed(seed)
    maps = [torch.randn(images, 24, SIZE[0] // s, SIZE[1] // s, generator=random) for s in STRIDES]
    return [level.round() for level in maps] if coarse else maps


def drawn_targets(seed: int, counts: list[int]) -> Targets:
    """Objects from 4 to 120 px a side."""
    random = torch.Generator().manual_seed(seed)
    images = []
    for count in counts:
        sides = 4 + 116 * torch.rand(count, 2, generator=random) ** 2
        low = torch.rand(count, 2, generator=random) * (128 - sides)
        labels = torch.randint(0, 3, (count, 1), generator=random)
        images.append(torch.cat([low, low + sides, labels], 1).tolist())
    return targets_of(*images)


def prediction(maps: list[Tensor], place: Place) -> Tensor:
    """The 8 raw values of one place."""
    image, level, anchor, row, column = place
    return maps[level][image, 8 * anchor : 8 * anchor + 8, row, column]


def box_of(maps: list[Tensor], place: Place) -> Tensor:
    """The predicted box in pixels, in float32 as the detector computes it."""
    _, level, anchor, row, column = place
    values, stride = prediction(maps, place)[:4].sigmoid(), STRIDES[level]
    width_height = torch.tensor(ANCHORS_PX[level][anchor], dtype=torch.float32) / stride
    centre = (values[:2] * 2 + torch.tensor([column - 0.5, row - 0.5])) * stride
    return cxcywh_to_xyxy(torch.cat([centre, (values[2:] * 2) ** 2 * (width_height * stride)]))


def candidates_by_loops(box: list[float], image: int) -> list[Place]:
    """Level by level, anchor by anchor: the cell of the centre, its nearer neighbour beside it, and that above or
    below."""
    found = []
    width, height = box[2] - box[0], box[3] - box[1]
    for level, stride in enumerate(STRIDES):
        across = 128 // stride
        x, y = (box[0] + box[2]) / 2 / stride, (box[1] + box[3]) / 2 / stride
        column, row = min(int(x), across - 1), min(int(y), across - 1)
        beside = column - 1 if x - column < 0.5 else column + 1
        above = row - 1 if y - row < 0.5 else row + 1
        for anchor, (w, h) in enumerate(ANCHORS_PX[level]):
            if max(width / w, w / width, height / h, h / height) >= 4:
                continue
            for r, c in ((row, column), (row, beside), (above, column)):
                if 0 <= r < across and 0 <= c < across:
                    found.append((image, level, anchor, r, c))
    return found


def assigned_by_loops(maps: list[Tensor], targets: Targets) -> dict[Place, int]:
    """Which place learns which object of the batch."""
    taken: dict[Place, tuple[float, int]] = {}
    number = 0
    for image, (boxes, labels) in enumerate(zip(targets.boxes, targets.labels, strict=True)):
        for box, label in zip(boxes, labels, strict=True):
            rows = []
            for order, place in enumerate(candidates_by_loops(box.tolist(), image)):
                iou = box_iou(box_of(maps, place), box)
                raw = prediction(maps, place)
                score = (raw[4].double().sigmoid() * raw[5:].double().sigmoid()).sqrt()
                goal = F.one_hot(label, 3).double()
                entropy = F.binary_cross_entropy(score, goal, reduction="sum")
                rows.append((round(float(entropy - 3 * (iou + 1e-8).log()), 4), order, place, float(iou)))
            if rows:
                best = sorted((iou for *_, iou in rows), reverse=True)[:20]
                for cost, _, place, _ in sorted(rows)[: max(int(sum(best)), 1)]:
                    if place not in taken or cost < taken[place][0]:
                        taken[place] = (cost, number)
            number += 1
    return {place: owner for place, (_, owner) in taken.items()}


def losses_by_loops(maps: list[Tensor], targets: Targets) -> dict[str, float]:
    """The published sums, one level after the other."""
    owners = assigned_by_loops(maps, targets)
    truth, labels = torch.cat(targets.boxes), torch.cat(targets.labels)
    sums = {"box": 0.0, "objectness": 0.0, "classes": 0.0}
    for level, weight in enumerate((4.0, 1.0, 0.4)):
        own = {place: number for place, number in owners.items() if place[1] == level}
        wanted = torch.zeros_like(maps[level][:, 4::8])
        for place, number in own.items():
            overlap = box_iou(box_of(maps, place), truth[number], "ciou")
            sums["box"] += float(1 - overlap) / len(own)
            goal = F.one_hot(labels[number], 3).float()
            entropy = F.binary_cross_entropy_with_logits(prediction(maps, place)[5:], goal)
            sums["classes"] += float(entropy) / len(own)
            image, _, anchor, row, column = place
            wanted[image, anchor, row, column] = overlap.clamp(min=0)
        sums["objectness"] += weight * float(F.binary_cross_entropy_with_logits(maps[level][:, 4::8], wanted))
    images, area = len(targets), 128 * 128 / 640**2
    return {
        "box": 0.05 * images * sums["box"],
        "objectness": 0.7 * area * images * sums["objectness"],
        "classes": 0.3 * 3 / 80 * images * sums["classes"],
    }


@pytest.mark.parametrize("counts", [[3, 0, 2], [0, 0], [25], [1]])
def test_equals_loops(detector: Detector, counts: list[int]) -> None:
    for seed in range(2):
        maps, targets = drawn_maps(seed, len(counts), False), drawn_targets(seed, counts)
        losses = losses_of(detector, {"maps": maps}, targets)
        assert {name: float(value) for name, value in losses.items()} == pytest.approx(
            losses_by_loops(maps, targets), rel=1e-4, abs=1e-7
        )
        owners = assigned_by_loops(maps, targets)
        grads = gradients_of(detector, {"maps": maps}, targets)["maps"]
        learned = {
            (image, level, anchor, row, column)
            for level, grad in enumerate(grads)
            for image, anchor, row, column in (grad.unflatten(1, (3, 8))[:, :, 5:].abs().sum(2) > 0).nonzero().tolist()
        }
        assert learned == set(owners)


def test_the_choice_against_loops_with_ties() -> None:
    """Costs and overlaps of few values; several objects want the same predictions."""
    for seed in range(20):
        random = torch.Generator().manual_seed(seed)
        objects, candidates = 6, 27
        costs = torch.randint(0, 4, (objects, candidates), generator=random).float()
        overlaps = torch.randint(0, 3, (objects, candidates), generator=random) / 4
        usable = torch.rand(objects, candidates, generator=random) < 0.7
        usable[0] = False
        slots = torch.stack([torch.randperm(40, generator=random)[:candidates] for _ in range(objects)])
        found = dynamic_choice(costs, overlaps, slots, usable, 40)
        taken: dict[int, tuple[float, int, int]] = {}
        for number in range(objects):
            rows = sorted((float(costs[number, i]), i) for i in range(candidates) if usable[number, i])
            best = sorted((float(overlaps[number, i]) for _, i in rows), reverse=True)[:20]
            for cost, i in rows[: max(int(sum(best)), 1)]:
                slot = int(slots[number, i])
                taken[slot] = min(taken.get(slot, (math.inf, 0, 0)), (cost, number, i))
        assert {(number, i) for _, number, i in taken.values()} == set(map(tuple, found.nonzero().tolist()))


def test_anchors_come_from_the_detector() -> None:
    """With anchors four times as large, an object of 16 px fits none any more."""
    torch.manual_seed(0)
    detector = FAMILY.make(Recipe("yolov7", 3))
    targets, maps = targets_of([[40, 40, 56, 56, 0]]), drawn_maps(0, 1, False)
    assert float(losses_of(detector, {"maps": maps}, targets)["box"]) > 0
    detector.head.anchors.mul_(6)
    losses = losses_of(detector, {"maps": maps}, targets)
    assert float(losses["box"]) == 0
    assert float(losses["objectness"]) > 0


def test_ignored_regions_are_not_taught_as_background(detector: Detector) -> None:
    targets = targets_of([[4, 4, 40, 40, 0], [80, 80, 110, 112, 1]], ignored=[[64, 64, 128, 128]])
    grads = gradients_of(detector, {"maps": drawn_maps(0, 1, False)}, targets)["maps"]
    for level in grads:
        half = level.shape[2] // 2
        by_anchor = level.unflatten(1, (3, 8))
        objectness, classes = by_anchor[0, :, 4] != 0, by_anchor[0, :, 5:].abs().sum(1) > 0
        assert torch.equal(objectness[:, half:, half:], classes[:, half:, half:])
        assert objectness[:, :half].all() and objectness[:, :, :half].all()
    assert any(
        level.unflatten(1, (3, 8))[0, :, 5:, level.shape[2] // 2 :, level.shape[3] // 2 :].any() for level in grads
    )


def test_one_class_is_taught_too() -> None:
    torch.manual_seed(0)
    detector = FAMILY.make(Recipe("yolov7", 1))
    targets = targets_of([[40, 40, 80, 90, 0]])
    maps = [torch.zeros(1, 18, 128 // s, 128 // s) for s in STRIDES]
    assert float(losses_of(detector, {"maps": maps}, targets)["classes"]) > 0
