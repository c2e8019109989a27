"""AlignedOTA and SimOTA against plain loops over objects and cells, and what must hold of any assignment."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor

from tests.zoo.families.loss_cases import random_targets
from tests.zoo.families.loss_checks import targets_of
from zoo.boxes import anchor_points
from zoo.learning import assign_ota as assign
from zoo.learning.assign_ota import (
    Assignment,
    aligned_ota,
    dynamic_k_assignment,
    one_to_one_assignment,
    sim_ota,
    topk_smallest,
)
from zoo.learning.targets import Targets

CLASSES = 3
Pair = tuple[bool, float]
"""Whether a cell is a candidate for other objects only, and the cost: the first decides."""
Costs = list[list[Pair | None]]
"""For every object, of every cell; None where impossible."""


@dataclasses.dataclass(frozen=True)
class Predicted:
    """Predictions for images of ``size``: boxes, class logits, objectness logits; cells and strides."""

    boxes: Tensor
    logits: Tensor
    objectness: Tensor
    cells: Tensor
    strides: Tensor

    def aligned(self, targets: Targets, one_to_one: bool = False) -> Assignment:
        return aligned_ota(self.boxes, self.logits, self.cells * self.strides, self.strides, targets, one_to_one)

    def sim(self, targets: Targets) -> Assignment:
        return sim_ota(
            self.boxes, self.logits, self.objectness, (self.cells + 0.5) * self.strides, self.strides, targets
        )

    def image(self, at: int) -> Predicted:
        one = slice(at, at + 1)
        return dataclasses.replace(
            self, boxes=self.boxes[one], logits=self.logits[one], objectness=self.objectness[one]
        )


def predicted(seed: int, images: int, size: tuple[int, int], same: bool = False) -> Predicted:
    """Random predictions; ``same`` gives every cell the one of the first, so that costs are equal."""
    random = np.random.RandomState(seed)
    levels = [torch.zeros(images, 1, size[0] // stride, size[1] // stride) for stride in (8, 16, 32)]
    cells, strides = anchor_points(levels, (8, 16, 32), 0.0)

    def drawn(channels: int) -> Tensor:
        values = torch.from_numpy(random.standard_normal((images, len(cells), channels)).astype(np.float32))
        return values[:, :1].expand_as(values) if same else values

    if same:
        boxes = torch.tensor([4.0, 6.0, 24.0, 28.0]).expand(images, len(cells), 4)
    else:
        reach = (0.5 * drawn(4)).exp() * 2 * strides
        boxes = torch.cat([cells * strides - reach[..., :2], cells * strides + reach[..., 2:]], -1)
    return Predicted(boxes, 2 * drawn(CLASSES) - 1, drawn(1), cells, strides)


def one(targets: Targets, at: int) -> Targets:
    return Targets((targets.boxes[at],), (targets.labels[at],), (targets.ignored[at],))


def overlap(a: list[float], b: list[float]) -> float:
    inter = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def entropy(score: float, goal: float) -> float:
    return -goal * math.log(score) - (1 - goal) * math.log(1 - score)


def plain_costs(
    predictions: Predicted,
    targets: Targets,
    offset: float,
    own: Callable[[float, float, float, list[float]], tuple[bool, bool]],
    cost: Callable[[list[float], float, int, float], float],
) -> tuple[Costs, list[list[float]]]:
    """Costs and overlaps of every object and cell of the one image, cell by cell.

    ``own`` says of x, y, stride and box whether the cell is a candidate, and one of the object's own.
    """
    centres = ((predictions.cells + offset) * predictions.strides).tolist()
    strides = predictions.strides[:, 0].tolist()
    true, labels = targets.boxes[0].tolist(), targets.labels[0].tolist()
    cells = [(x, y, s) for (x, y), s in zip(centres, strides, strict=True)]
    candidate = [any(own(*cell, box)[0] for box in true) for cell in cells]
    costs: Costs = []
    overlaps = []
    for box, label in zip(true, labels, strict=True):
        ious = [overlap(box, guess) for guess in predictions.boxes[0].tolist()]
        row: list[Pair | None] = []
        for at, cell in enumerate(cells):
            value = cost(predictions.logits[0, at].tolist(), float(predictions.objectness[0, at]), label, ious[at])
            row.append((not own(*cell, box)[1], value) if candidate[at] else None)
        costs.append(row)
        overlaps.append([iou if candidate[at] else 0.0 for at, iou in enumerate(ious)])
    return costs, overlaps


def plain_aligned(predictions: Predicted, targets: Targets) -> tuple[Costs, list[list[float]]]:
    def own(x: float, y: float, stride: float, box: list[float]) -> tuple[bool, bool]:
        inside = box[0] < x < box[2] and box[1] < y < box[3]
        near = abs(x - (box[0] + box[2]) / 2) < 2.5 * stride and abs(y - (box[1] + box[3]) / 2) < 2.5 * stride
        return inside or near, inside and near

    def cost(logits: list[float], objectness: float, label: int, iou: float) -> float:
        goals = [iou if kind == label else 0.0 for kind in range(CLASSES)]
        quality = sum(entropy(sigmoid(x), q) * (q - sigmoid(x)) ** 2 for x, q in zip(logits, goals, strict=True))
        return quality - 3 * math.log(iou + 1e-7)

    return plain_costs(predictions, targets, 0.0, own, cost)


def plain_sim(predictions: Predicted, targets: Targets) -> tuple[Costs, list[list[float]]]:
    def own(x: float, y: float, stride: float, box: list[float]) -> tuple[bool, bool]:
        near = abs(x - (box[0] + box[2]) / 2) < 1.5 * stride and abs(y - (box[1] + box[3]) / 2) < 1.5 * stride
        return near, near

    def cost(logits: list[float], objectness: float, label: int, iou: float) -> float:
        scores = [math.sqrt(sigmoid(x) * sigmoid(objectness)) for x in logits]
        return sum(entropy(p, float(kind == label)) for kind, p in enumerate(scores)) - 3 * math.log(iou + 1e-8)

    return plain_costs(predictions, targets, 0.5, own, cost)


def plain_few(costs: Costs, overlaps: list[list[float]]) -> list[int]:
    """Each object's cheapest cells, object by object, and then each cell's cheapest object."""
    cells = len(costs[0])
    takers: list[list[int]] = [[] for _ in range(cells)]
    for at, (row, ious) in enumerate(zip(costs, overlaps, strict=True)):
        wanted = max(int(sum(sorted(ious)[-10:])), 1)
        ranked = sorted((pair, cell) for cell, pair in enumerate(row) if pair is not None)
        for _, cell in ranked[:wanted]:
            takers[cell].append(at)
    answer = []
    for cell, some in enumerate(takers):
        every = [(row[cell], at) for at, row in enumerate(costs) if row[cell] is not None]
        answer.append(-1 if not some else some[0] if len(some) == 1 else min(every)[1])  # type: ignore[type-var]
    return answer


def plain_one_each(costs: Costs) -> list[int]:
    """Pairs by rising cost, each object and each cell once."""
    pairs = sorted(
        (pair, at, cell) for at, row in enumerate(costs) for cell, pair in enumerate(row) if pair is not None
    )
    answer = [-1] * len(costs[0])
    done: set[int] = set()
    for _, at, cell in pairs:
        if at not in done and answer[cell] < 0:
            answer[cell] = at
            done.add(at)
    return answer


CASES = [*range(12), "crowded", "tiny", "twins", "nothing"]


def case(name: int | str) -> tuple[Predicted, Targets]:
    size = (64, 96)
    if name == "crowded":  # more objects than the 21 cells of an image
        targets = random_targets(1, 2, CLASSES, (32, 32), 40, 30)
        return predicted(1, 2, (32, 32)), targets
    if name == "tiny":  # no cell lies in any of these boxes
        return predicted(2, 1, size), targets_of([[9, 9, 12, 12, 0], [41, 33, 45, 38, 1], [42, 34, 44, 39, 1]])
    if name == "twins":  # the same box twice, once with another class
        box = [10, 10, 40, 50]
        return predicted(3, 1, size), targets_of([[*box, 1], [*box, 1], [*box, 2]])
    if name == "nothing":
        return predicted(4, 2, size), targets_of([], [])
    assert isinstance(name, int)
    return predicted(name, 3, size), random_targets(100 + name, 3, CLASSES, size, 8)


def numbers(assignment: Assignment) -> list[list[int]]:
    return assignment.objects.tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["aligned", "sim"])
def test_assignment_is_that_of_plain_loops(kind: str, name: int | str) -> None:
    predictions, targets = case(name)
    found = predictions.aligned(targets) if kind == "aligned" else predictions.sim(targets)
    for at in range(len(targets)):
        if not len(targets.labels[at]):
            assert not found.positive[at].any() and not found.ious[at].any()
            continue
        plain = plain_aligned if kind == "aligned" else plain_sim
        costs, overlaps = plain(predictions.image(at), one(targets, at))
        expected = plain_few(costs, overlaps)
        assert numbers(found)[at] == expected
        ious = [overlaps[which][cell] if which >= 0 else 0.0 for cell, which in enumerate(expected)]
        torch.testing.assert_close(found.ious[at], torch.tensor(ious), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_one_cell_an_object_is_that_of_plain_loops(name: int | str) -> None:
    predictions, targets = case(name)
    found = predictions.aligned(targets, one_to_one=True)
    for at in range(len(targets)):
        if len(targets.labels[at]):
            assert numbers(found)[at] == plain_one_each(plain_aligned(predictions.image(at), one(targets, at))[0])
        else:
            assert not found.positive[at].any()


@pytest.mark.parametrize("kind", ["aligned", "one_to_one", "sim"])
def test_of_equal_costs_the_first_cell_wins(kind: str) -> None:
    predictions = predicted(5, 1, (64, 64), same=True)
    targets = targets_of([[2, 2, 30, 30, 0], [20, 20, 62, 62, 1], [2, 2, 30, 30, 0]])
    costs, overlaps = (plain_sim if kind == "sim" else plain_aligned)(predictions, targets)
    finite = [pair for row in costs for pair in row if pair is not None]
    assert len(set(finite)) < len(finite) / 4
    if kind == "one_to_one":
        assert numbers(predictions.aligned(targets, True))[0] == plain_one_each(costs)
    else:
        found = predictions.sim(targets) if kind == "sim" else predictions.aligned(targets)
        assert numbers(found)[0] == plain_few(costs, overlaps)


@pytest.mark.parametrize("seed", range(20))
def test_matching_of_many_equal_costs(seed: int) -> None:
    """Costs of a few whole numbers, some pairs impossible."""
    random = np.random.RandomState(seed)
    objects, cells = random.randint(1, 8), random.randint(1, 16)
    cost = torch.from_numpy(random.randint(0, 5, (2, objects, cells)).astype(np.float32))
    cost = cost.masked_fill(torch.from_numpy(random.rand(2, 1, cells) < 0.3), torch.inf)
    ious = torch.from_numpy(random.randint(0, 5, (2, objects, cells)).astype(np.float32) / 4).masked_fill(
        cost.isinf(), 0
    )
    few, single = dynamic_k_assignment(cost, ious), one_to_one_assignment(cost)
    for at in range(2):
        plain: Costs = [[None if math.isinf(v) else (False, v) for v in row] for row in cost[at].tolist()]
        for taken, expected in ((few[at], plain_few(plain, ious[at].tolist())), (single[at], plain_one_each(plain))):
            assert taken.sum(0).max() <= 1
            assert torch.where(taken.any(0), taken.to(torch.uint8).argmax(0), -1).tolist() == expected


def test_one_each_is_the_cheapest_first_whatever_the_order() -> None:
    """Small cases against every order of the objects that lets each choose its cheapest free cell: the best pair is in
    one."""
    cost = torch.rand(1, 4, 5, generator=torch.Generator().manual_seed(0))
    taken = one_to_one_assignment(cost)[0]
    assert taken.sum(1).tolist() == [1, 1, 1, 1] and taken.sum(0).max() == 1
    for a, b in itertools.permutations(range(4), 2):
        # no object and cell would both rather have one another
        mine, its = int(taken[a].to(torch.uint8).argmax()), int(taken[b].to(torch.uint8).argmax())
        assert not (cost[0, a, its] < cost[0, a, mine] and cost[0, a, its] < cost[0, b, its])


def test_lowest_takes_exactly_as_many_as_wanted() -> None:
    values = torch.tensor([[3.0, 1, 1, 1, 2], [0, 0, 0, 0, 0], [torch.inf, torch.inf, 5, torch.inf, 4]])
    picked = topk_smallest(values, torch.tensor([2, 3, 3]), 4)
    assert picked.int().tolist() == [[0, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 0, 1, 0, 1]]


@pytest.mark.parametrize("kind", ["aligned", "one_to_one", "sim"])
def test_an_image_is_assigned_as_if_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions, targets = predicted(7, 6, (64, 96)), random_targets(9, 6, CLASSES, (64, 96), 5)

    def of(guesses: Predicted, true: Targets) -> Assignment:
        return guesses.sim(true) if kind == "sim" else guesses.aligned(true, kind == "one_to_one")

    together = of(predictions, targets)
    for at in range(6):
        alone = of(predictions.image(at), one(targets, at))
        assert torch.equal(alone.objects[0], together.objects[at]) and torch.equal(alone.ious[0], together.ious[at])
    monkeypatch.setattr(assign, "PAIRS", 1)
    little = of(predictions, targets)
    assert torch.equal(little.objects, together.objects) and torch.equal(little.ious, together.ious)


def test_ignored_regions_do_not_move_the_assignment() -> None:
    predictions, targets = case(0)
    crowd = dataclasses.replace(targets, ignored=tuple(torch.tensor([[0.0, 0.0, 96.0, 64.0]]) for _ in targets.labels))
    assert torch.equal(predictions.aligned(targets).objects, predictions.aligned(crowd).objects)
    assert torch.equal(predictions.sim(targets).objects, predictions.sim(crowd).objects)


def test_found_cells_carry_their_objects() -> None:
    predictions, targets = case(1)
    assignment = predictions.aligned(targets)
    found = assignment.positives(targets)
    assert len(found) == int(assignment.positive.sum()) > 0
    assert torch.equal(found.select(assignment.ious), found.ious)
    for row, cell, box, label in zip(found.rows.tolist(), found.cells.tolist(), found.boxes, found.labels, strict=True):
        which = int(assignment.objects[row, cell])
        assert torch.equal(box, targets.boxes[row][which]) and int(label) == int(targets.labels[row][which])


def test_values_that_are_no_numbers_end_the_matching_too() -> None:
    """What overflowed is caught by the training loop; assigning must neither hang nor fail on it."""
    predictions, targets = case(0)
    spoilt = dataclasses.replace(
        predictions, boxes=torch.full_like(predictions.boxes, torch.nan), logits=predictions.logits * torch.nan
    )
    for assignment in (spoilt.aligned(targets), spoilt.aligned(targets, True), spoilt.sim(targets)):
        assert not assignment.positive.any()
