"""Task-aligned assignment against loops that do what the text says, on small random cases and by hand."""

from __future__ import annotations

import itertools

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor

from zoo.learning.assign_task import ALIGNMENT_EPS, TaskAlignedAssigner, best_of, largest
from zoo.learning.losses import box_iou
from zoo.learning.targets import Targets

RULES = {
    "yolo11": TaskAlignedAssigner(),
    "few": TaskAlignedAssigner(topk=3, alpha=1.0, beta=2.0),
    "one": TaskAlignedAssigner(topk=7, beta=2.0, kept=1),
    "small": TaskAlignedAssigner(topk=5, small_px=12.0, small_as_px=20.0),
    "not small": TaskAlignedAssigner(topk=7, kept=2, small_px=0.0),
}


def grid(side: int, stride: int) -> Tensor:
    """Centres ``[side ** 2, 2]`` of a square of cells, in pixels."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return (torch.stack([x, y], -1).reshape(-1, 2) + 0.5) * stride


def drawn(seed: int, counts: list[int], coarse: bool) -> tuple[Tensor, Tensor, Tensor, Targets]:
    """Scores, boxes, centres and targets; ``coarse`` values are from few, so that many are equal."""
    random = torch.Generator().manual_seed(seed)
    centres = torch.cat([grid(6, 8), grid(3, 16)])
    n = len(centres)
    scores = torch.rand(len(counts), n, 3, generator=random)
    sides = torch.rand(len(counts), n, 4, generator=random) * 20
    boxes, labels = [], []
    for count in counts:
        middle = torch.rand(count, 2, generator=random) * 48
        half = torch.rand(count, 2, generator=random) * 16 + 0.5
        box = torch.cat([middle - half, middle + half], 1).clamp(0, 48)
        boxes.append(box.round() if coarse else box)
        labels.append(torch.randint(0, 3, (count,), generator=random))
    if coarse:
        scores, sides = (scores * 4).round() / 4, (sides / 8).round() * 8
    predicted = torch.cat([centres - sides[..., :2], centres + sides[..., 2:]], -1)
    nothing = torch.zeros(0, 4)
    return scores, predicted, centres, Targets(tuple(boxes), tuple(labels), tuple(nothing for _ in counts))


def overlap(a: list[float], b: list[float]) -> float:
    """CIoU in float32, as the rule computes it, at least 0."""
    return float(box_iou(torch.tensor(a), torch.tensor(b), "ciou").clamp(min=0))


def by_loops(
    rule: TaskAlignedAssigner, scores: Tensor, boxes: Tensor, centres: Tensor, targets: Targets
) -> tuple[Tensor, Tensor]:
    """The same, one image, object and cell after the other."""
    objects, qualities = torch.full(scores.shape[:2], -1), torch.zeros(scores.shape[:2])
    before = 0
    for image, (truth, labels) in enumerate(zip(targets.boxes, targets.labels, strict=True)):
        inside: dict[tuple[int, int], tuple[float, float]] = {}
        chosen: set[tuple[int, int]] = set()
        for number, (box, label) in enumerate(zip(truth.tolist(), labels.tolist(), strict=True)):
            wide = list(box)
            for axis in (0, 1):
                if box[axis + 2] - box[axis] < rule.small_px:
                    middle = (box[axis] + box[axis + 2]) / 2
                    wide[axis], wide[axis + 2] = middle - rule.small_as_px / 2, middle + rule.small_as_px / 2
            own = []
            for cell, (x, y) in enumerate(centres.tolist()):
                if wide[0] < x < wide[2] and wide[1] < y < wide[3]:
                    iou = torch.tensor(overlap(boxes[image, cell].tolist(), box))
                    metric = float(scores[image, cell, label].pow(rule.alpha) * iou.pow(rule.beta))
                    own.append((-metric, cell))
                    inside[number, cell] = (metric, float(iou))
            chosen |= {(number, cell) for _, cell in sorted(own)[: rule.topk]}
        for cell in range(len(centres)):
            takers = {number for number, other in chosen if other == cell}
            if len(takers) > 1:
                chosen -= {(number, cell) for number in takers}
                rivals = [number for number, other in inside if other == cell]
                chosen.add((min(rivals, key=lambda number: (-inside[number, cell][1], number)), cell))
        for number in range(len(labels)):
            pairs = sorted((-inside[pair][0], pair[1], inside[pair][1]) for pair in chosen if pair[0] == number)
            for metric, cell, _ in pairs[: rule.kept]:
                objects[image, cell] = before + number
                share = -metric / (-pairs[0][0] + ALIGNMENT_EPS)
                qualities[image, cell] = share * max(iou for *_, iou in pairs[: rule.kept])
        before += len(labels)
    return objects, qualities


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("coarse", [False, True], ids=["fine", "ties"])
def test_equals_loops(name: str, coarse: bool) -> None:
    cases = ([2, 0, 5], [0, 1], [12, 3], [60], [1])
    for seed, counts in enumerate(cases):
        given = drawn(seed, counts, coarse)
        found = RULES[name](*given)
        objects, qualities = by_loops(RULES[name], *given)
        assert torch.equal(found.objects, objects), (counts, seed)
        torch.testing.assert_close(found.qualities, qualities, rtol=1e-5, atol=1e-7)
        if sum(counts) > 3:
            assert (found.objects >= 0).any()


def test_no_object_is_all_background() -> None:
    found = TaskAlignedAssigner()(*drawn(0, [0, 0], False))
    assert found.objects.unique().tolist() == [-1]
    assert not found.qualities.any()


def test_of_one_kept_cell_every_object_has_at_most_one() -> None:
    """Objects that nearly coincide want the same cells; each cell goes to the one that it overlaps most."""
    scores, boxes, centres, targets = drawn(1, [9, 4], False)
    found = TaskAlignedAssigner(topk=7, kept=1)(scores, boxes, centres, targets)
    assigned = found.objects[found.objects >= 0]
    assert len(assigned) == len(assigned.unique()) >= 9


def test_a_cell_goes_to_an_object_that_did_not_choose_it() -> None:
    """Two objects choose the middle cell; the third one it lies in overlaps it most, and had chosen another."""
    centres = torch.tensor([[4.0, 4], [12, 4], [20, 4]])
    boxes = torch.tensor([[[0.0, 0, 24, 8], [0, 0, 16, 8], [0, 0, 16, 6]]])
    truth = torch.tensor([[8.0, 0, 16, 8], [8, 0, 18, 8], [0, 0, 24, 8]])
    scores = torch.tensor([[[1.0], [0.9], [0.0]]])
    targets = Targets((truth,), (torch.zeros(3, dtype=torch.int64),), (torch.zeros(0, 4),))
    found = TaskAlignedAssigner(topk=1, beta=1.0)(scores, boxes, centres, targets)
    assert found.objects.tolist() == [[2, 2, -1]]


def test_tiny_objects_have_cells_when_sides_are_lengthened() -> None:
    """Between four cell centres lies nothing; with sides of at least 16 px each object of 2 px finds a cell."""
    scores, boxes, centres, _ = drawn(2, [0], False)
    corners = torch.tensor(list(itertools.product([7.0, 15.0, 23.0, 0.0, 46.0], repeat=2)))
    for corner in corners:
        truth = torch.cat([corner, corner + 2])[None]
        targets = Targets((truth,), (torch.zeros(1, dtype=torch.int64),), (torch.zeros(0, 4),))
        sure = TaskAlignedAssigner()(scores, boxes, centres, targets)
        assert (sure.objects == 0).any()
    unsure = TaskAlignedAssigner(small_px=0.0)(scores, boxes, centres, targets)
    assert not (unsure.objects == 0).any()


def test_qualities_by_hand() -> None:
    """Two cells in one object: the better aligned one gets the best overlap, the other its share."""
    centres = torch.tensor([[4.0, 4], [12, 4]])
    boxes = torch.tensor([[[0.0, 0, 16, 8], [4, 2, 12, 6]]])  # overlaps 1 and 1/4: same center, same shape
    scores = torch.tensor([[[1 / 16], [1.0]]])
    targets = Targets((torch.tensor([[0.0, 0, 16, 8]]),), (torch.tensor([0]),), (torch.zeros(0, 4),))
    found = TaskAlignedAssigner(alpha=0.5, beta=1.0)(scores, boxes, centres, targets)  # alignments 1/4 and 1/4
    assert found.qualities.tolist() == [pytest.approx([1.0, 1.0], rel=1e-6)]
    found = TaskAlignedAssigner(alpha=0.5, beta=2.0)(scores, boxes, centres, targets)  # 1/4 and 1/16
    assert found.qualities.tolist() == [pytest.approx([1.0, 0.25], rel=1e-6)]


def test_half_precision_and_broken_predictions_do_not_stop_it() -> None:
    scores, boxes, centres, targets = drawn(4, [4, 2], False)
    whole = TaskAlignedAssigner()(scores.half().float(), boxes.half().float(), centres, targets)
    half = TaskAlignedAssigner()(scores.half(), boxes.half(), centres.half(), targets)
    assert torch.equal(whole.objects, half.objects)
    assert half.qualities.dtype == torch.float32
    scores[0] = torch.nan
    boxes[1] = torch.inf
    assert TaskAlignedAssigner()(scores, boxes, centres, targets).objects.shape == scores.shape[:2]


def test_largest_and_best_of_prefer_the_first() -> None:
    values = torch.tensor([[1.0, 3, 3, 3, 2], [-1, -1, 0, -1, -1]])
    assert largest(values, 2).tolist() == [[False, True, True, False, False], [False, False, True, False, False]]
    assert largest(values, 9).sum(1).tolist() == [5, 1]
    slots, values, order = torch.tensor([0, 0, 2, 0]), torch.tensor([1.0, 2, 0, 2]), torch.tensor([0, 5, 1, 3])
    assert best_of(slots, values, order, 3).tolist() == [False, False, True, True]
