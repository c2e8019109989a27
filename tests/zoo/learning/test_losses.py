"""Overlaps of boxes and focal losses, each against the plain formula written out for single numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor

from tests.zoo.families.loss_checks import targets_of
from workbench.errors import BadInput
from zoo.learning.losses import box_iou, distribution_focal, in_ignored, iou_pairwise, quality_focal, varifocal

Box = list[float]


def random_boxes(count: int, seed: int) -> Tensor:
    ends = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(seed)) * 20
    return torch.cat([ends.amin(1), ends.amax(1) + 0.5], 1)


def plain_overlap(a: Box, b: Box, kind: str) -> float:
    inter = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    iou = inter / union
    width, height = max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])
    if kind == "iou":
        return iou
    if kind == "giou":
        return iou - (width * height - union) / (width * height)
    apart = ((a[0] + a[2] - b[0] - b[2]) / 2) ** 2 + ((a[1] + a[3] - b[1] - b[3]) / 2) ** 2
    turn = math.atan((a[2] - a[0]) / (a[3] - a[1])) - math.atan((b[2] - b[0]) / (b[3] - b[1]))
    aspect = 4 / math.pi**2 * turn**2
    return iou - apart / (width**2 + height**2) - aspect**2 / (1 - iou + aspect)


@pytest.mark.parametrize("kind", ["iou", "giou", "ciou"])
def test_overlap_is_the_formula(kind: str) -> None:
    a, b = random_boxes(40, 1), random_boxes(40, 2)
    expected = torch.tensor([plain_overlap(*pair, kind) for pair in zip(a.tolist(), b.tolist(), strict=True)])
    torch.testing.assert_close(box_iou(a, b, kind), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["iou", "giou", "ciou"])
def test_every_pair_is_the_overlap_of_that_pair(kind: str) -> None:
    a, b = random_boxes(10, 3).reshape(2, 5, 4), random_boxes(14, 4).reshape(2, 7, 4)
    every = iou_pairwise(a, b, kind)
    assert every.shape == (2, 5, 7)
    for row in range(2):
        for i in range(5):
            for j in range(7):
                torch.testing.assert_close(every[row, i, j], box_iou(a[row, i], b[row, j], kind))


def test_known_overlaps() -> None:
    a = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    same, half, apart = a, torch.tensor([[1.0, 0.0, 3.0, 2.0]]), torch.tensor([[4.0, 4.0, 6.0, 6.0]])
    for kind in ("iou", "giou", "ciou"):
        assert float(box_iou(a, same, kind)) == pytest.approx(1.0)
    assert float(box_iou(a, half)) == pytest.approx(1 / 3)
    assert float(box_iou(a, half, "giou")) == pytest.approx(1 / 3)
    assert float(box_iou(a, half, "ciou")) == pytest.approx(1 / 3 - 1 / 13)
    assert float(box_iou(a, apart)) == 0
    assert float(box_iou(a, apart, "giou")) == pytest.approx(-28 / 36)


def test_unknown_overlap_is_refused() -> None:
    with pytest.raises(BadInput, match="overlap 'diou'"):
        box_iou(random_boxes(1, 0), random_boxes(1, 1), "diou")


@pytest.mark.parametrize("kind", ["iou", "giou", "ciou"])
def test_boxes_without_area_have_finite_gradients(kind: str) -> None:
    true = torch.tensor([[4.0, 4.0, 8.0, 9.0]]).expand(5, 4)
    point, line, turned, far, equal = (
        [5.0, 5, 5, 5],
        [4.0, 6, 8, 6],
        [7.0, 7, 5, 5],
        [1e6, 1e6, 1e6, 2e6],
        [4.0, 4, 8, 9],
    )
    boxes = torch.tensor([point, line, turned, far, equal], requires_grad=True)
    value = box_iou(boxes, true, kind)
    value.sum().backward()
    assert value.isfinite().all() and boxes.grad is not None and boxes.grad.isfinite().all()
    empty = box_iou(torch.zeros(1, 4), torch.zeros(1, 4), kind)
    assert empty.isfinite().all()


def test_gradient_of_ciou_holds_the_aspects_weight() -> None:
    a, b = random_boxes(6, 5).double(), random_boxes(6, 6).double()
    moved = a.clone().requires_grad_()
    box_iou(moved, b, "ciou").sum().backward()

    def aspect(boxes: Tensor) -> Tensor:
        size, other = boxes[:, 2:] - boxes[:, :2], b[:, 2:] - b[:, :2]
        return 4 / math.pi**2 * (torch.atan(size[:, 0] / size[:, 1]) - torch.atan(other[:, 0] / other[:, 1])) ** 2

    weight = aspect(a) / (1 - box_iou(a, b) + aspect(a))
    again = a.clone().requires_grad_()
    low, high = torch.minimum(again[:, :2], b[:, :2]), torch.maximum(again[:, 2:], b[:, 2:])
    apart = ((again[:, :2] + again[:, 2:] - b[:, :2] - b[:, 2:]) / 2).square().sum(1) / (high - low).square().sum(1)
    (box_iou(again, b) - apart - weight * aspect(again)).sum().backward()
    torch.testing.assert_close(moved.grad, again.grad)


def plain_entropy(score: float, goal: float) -> float:
    return -goal * math.log(score) - (1 - goal) * math.log(1 - score)


def test_quality_focal_loss_is_the_formula() -> None:
    logits, goals = [-4.0, -1.0, 0.0, 2.0, 3.0], [0.0, 0.7, 0.5, 0.0, 1.0]
    scores = [1 / (1 + math.exp(-x)) for x in logits]
    expected = [plain_entropy(p, q) * abs(q - p) ** 2 for p, q in zip(scores, goals, strict=True)]
    torch.testing.assert_close(quality_focal(torch.tensor(logits), torch.tensor(goals)), torch.tensor(expected))
    assert float(quality_focal(torch.zeros(1), torch.tensor([0.5]))) == 0


def test_varifocal_loss_is_the_formula() -> None:
    logits, goals, positive = [-4.0, -1.0, 0.0, 2.0, 1.0], [0.0, 0.7, 0.0, 0.9, 0.0], [False, True, False, True, True]
    scores = [1 / (1 + math.exp(-x)) for x in logits]
    expected = [
        plain_entropy(p, q) * (q if there else 0.75 * p**2) for p, q, there in zip(scores, goals, positive, strict=True)
    ]
    x = torch.tensor(logits, requires_grad=True)
    value = varifocal(x, torch.tensor(goals), torch.tensor(positive))
    torch.testing.assert_close(value.detach(), torch.tensor(expected))
    value.sum().backward()
    # the entropy's slope is score minus goal, and the weight does not move with the score
    slopes = [(p - q) * (q if there else 0.75 * p**2) for p, q, there in zip(scores, goals, positive, strict=True)]
    torch.testing.assert_close(x.grad, torch.tensor(slopes))


def test_distribution_focal_loss_is_the_formula() -> None:
    logits = torch.randn(6, 9, generator=torch.Generator().manual_seed(0))
    distances = torch.tensor([0.0, 0.25, 3.0, 5.5, 7.999, 8.0])
    chances = logits.softmax(-1).tolist()
    expected = []
    for row, distance in zip(chances, distances.tolist(), strict=True):
        left = min(int(distance), 7)
        expected.append(-(left + 1 - distance) * math.log(row[left]) - (distance - left) * math.log(row[left + 1]))
    torch.testing.assert_close(distribution_focal(logits, distances), torch.tensor(expected))


def test_distribution_focal_loss_is_least_where_the_expectation_is_true() -> None:
    logits = torch.zeros(1, 9, requires_grad=True)
    distance = torch.tensor([3.3])
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        distribution_focal(logits, distance).sum().backward()
        optimizer.step()
    chances = logits.detach().softmax(-1)
    assert float((chances * torch.arange(9)).sum()) == pytest.approx(3.3, abs=0.01)
    assert chances[0, 3:5].tolist() == pytest.approx([0.7, 0.3], abs=0.01)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_losses_are_computed_in_full_precision(kind: torch.dtype) -> None:
    logits = torch.tensor([-40.0, 0.0, 60.0], dtype=kind)
    goals, boxes = torch.tensor([0.0, 0.5, 1.0]), random_boxes(3, 0).to(kind)
    made: list[Callable[[], Tensor]] = [
        lambda: quality_focal(logits, goals),
        lambda: varifocal(logits, goals, goals > 0),
        lambda: distribution_focal(logits, torch.tensor(0.5)),
        lambda: box_iou(boxes * 1000, boxes, "ciou"),
        lambda: iou_pairwise(boxes, boxes),
    ]
    for make in made:
        with torch.autocast("cpu", dtype=kind):
            value = make()
        assert value.dtype == torch.float32 and value.isfinite().all()


def test_cells_in_ignored_regions() -> None:
    regions = (torch.zeros(0, 4), torch.tensor([[0.0, 0.0, 8.0, 8.0], [20.0, 0.0, 30.0, 30.0]]))
    targets = dataclasses.replace(targets_of([], []), ignored=regions)
    centres = torch.tensor([[4.0, 4.0], [8.0, 4.0], [12.0, 4.0], [24.0, 29.0]])
    assert in_ignored(centres, targets).tolist() == [[False] * 4, [True, False, False, True]]
