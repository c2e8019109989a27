"""YOLOv7's losses: candidates and choice against plain loops, the sums by loops, and what every loss promises."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor
from torch.nn import functional as F

from tests.zoo.families.loss_checks import SIZE, gradients_of, losses_of, targets_of
from tests.zoo.families.test_loss_reference import CASES
from zoo.boxes import cxcywh_to_xyxy
from zoo.detector import Detector, Recipe
from zoo.families.parts.yolov7_layers import ANCHORS_PX
from zoo.families.yolov7 import FAMILY, _assigned_objects, _last_of_each
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


def candidates_by_loops(boxes: list[list[float]], image: int) -> list[Place]:
    """Level by level: for the center's cell, then those left, above, right and below; anchor by anchor; object by
    object. A center on a border of cells counts its cell once more for the right or lower one."""
    found = []
    for level, stride in enumerate(STRIDES):
        across = 128 // stride
        for dx, dy in ((0.0, 0.0), (-0.5, 0.0), (0.0, -0.5), (0.5, 0.0), (0.0, 0.5)):
            for anchor, (w, h) in enumerate(ANCHORS_PX[level]):
                for box in boxes:
                    width, height = box[2] - box[0], box[3] - box[1]
                    if max(width / w, w / width, height / h, h / height) >= 4:
                        continue
                    x, y = (box[0] + box[2]) / 2 / stride, (box[1] + box[3]) / 2 / stride
                    along = x if dx else y
                    if dx < 0 or dy < 0:
                        near = along % 1 < 0.5 and along > 1
                    elif dx > 0 or dy > 0:
                        near = (across - along) % 1 < 0.5 and across - along > 1
                    else:
                        near = True
                    if near:
                        place = min(int(y + dy), across - 1), min(int(x + dx), across - 1)
                        found.append((image, level, anchor, *place))
    return found


def assigned_by_loops(maps: list[Tensor], targets: Targets) -> list[tuple[Place, int]]:
    """Which places learn which objects of the batch, in the order of the candidates."""
    found, before = [], 0
    for image, (boxes, labels) in enumerate(zip(targets.boxes, targets.labels, strict=True)):
        places = candidates_by_loops(boxes.tolist(), image)
        costs: list[list[float]] = []
        takers: dict[int, list[int]] = {}
        for number, (box, label) in enumerate(zip(boxes, labels, strict=True)):
            ious = [float(box_iou(box_of(maps, place), box)) for place in places]
            costs.append([])
            for place, iou in zip(places, ious, strict=True):
                raw = prediction(maps, place)
                score = (raw[4].double().sigmoid() * raw[5:].double().sigmoid()).sqrt()
                goal = F.one_hot(label, 3).double()
                entropy = F.binary_cross_entropy(score, goal, reduction="sum")
                costs[-1].append(round(float(entropy - 3 * math.log(iou + 1e-8)), 4))
            count = max(int(sum(sorted(ious, reverse=True)[:10])), 1)
            for place in sorted(range(len(places)), key=costs[-1].__getitem__)[:count]:
                takers.setdefault(place, []).append(number)
        for place, numbers in sorted(takers.items()):
            rivals = range(len(boxes)) if len(numbers) > 1 else numbers
            found.append((places[place], before + min(rivals, key=lambda number: costs[number][place])))
        before += len(boxes)
    return found


def losses_by_loops(maps: list[Tensor], targets: Targets) -> dict[str, float]:
    """The published sums, one level after the other."""
    owners = assigned_by_loops(maps, targets)
    truth, labels = torch.cat(targets.boxes), torch.cat(targets.labels)
    sums = {"box": 0.0, "objectness": 0.0, "classes": 0.0}
    for level, weight in enumerate((4.0, 1.0, 0.4)):
        own = [(place, number) for place, number in owners if place[1] == level]
        wanted = torch.zeros_like(maps[level][:, 4::8])
        for place, number in own:
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
        assert learned == {place for place, _ in owners}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "hundred" else []) for name in sorted(CASES)]
)
def test_equals_loops_for_targets_of_many_kinds(detector: Detector, name: str) -> None:
    """None, one, a hundred, tiny ones, at the border, twice the same."""
    maps, targets = drawn_maps(5, 2, False), targets_of(*CASES[name])
    losses = losses_of(detector, {"maps": maps}, targets)
    assert {key: float(value) for key, value in losses.items()} == pytest.approx(
        losses_by_loops(maps, targets), rel=1e-4, abs=1e-7
    )


def test_without_ota_every_candidate_learns_its_object(detector: Detector) -> None:
    maps, targets = drawn_maps(3, 2, False), targets_of(*CASES["several"])
    levels = [detector._candidates(i, level.unflatten(1, (3, 8)), targets) for i, level in enumerate(maps)]  # type: ignore[operator]
    truth = torch.cat(targets.boxes)
    wanted = sum(0.05 * 2 * float((1 - box_iou(x.boxes, truth[x.objects], "ciou")).mean()) for x in levels)
    detector.ota = False  # type: ignore[assignment]
    try:
        assert float(losses_of(detector, {"maps": maps}, targets)["box"]) == pytest.approx(wanted, rel=1e-5)
    finally:
        detector.ota = True  # type: ignore[assignment]


def test_an_object_takes_the_candidates_of_another_one(detector: Detector) -> None:
    """An object so narrow that no anchor fits it has no candidates of its own, and learns those of one it crosses."""
    targets = targets_of([[20, 20, 60, 70, 0], [30, 2, 34, 126, 1]])
    maps = [torch.zeros(1, 3, 8, 128 // s, 128 // s) for s in STRIDES]
    for level in maps:
        level[:, :, [4, 6]], level[:, :, [5, 7]] = 8.0, -8.0  # everything is said to be of the second class
    assert not candidates_by_loops([targets.boxes[0][1].tolist()], 0)
    levels = [detector._candidates(i, level, targets) for i, level in enumerate(maps)]  # type: ignore[operator]
    assert 1 in torch.cat(_assigned_objects(levels, targets))


def test_of_an_anchor_taken_twice_the_last_overlap_is_learned() -> None:
    places = torch.tensor([3, 1, 3, 0, 1, 3])
    assert _last_of_each(places, 5).tolist() == [5, 4, 5, 3, 4, 5]


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
