"""The judge of exported networks: what it must catch, and what it must let pass."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor

from zoo.export.gap import (
    EXCHANGED,
    MOST_MATCHED,
    OutputGap,
    dense_gaps,
    rows_gap,
    worst,
)
from zoo.export.scenes import prepared_scenes, sample_images
from zoo.factory import build

SIDE = 640


def dense(rows: int = 60, classes: int = 5, batch: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Boxes ``[batch, rows, 4]`` in pixels and scores ``[batch, rows, classes]``, all different."""
    random = torch.Generator().manual_seed(seed)
    return torch.rand(batch, rows, 4, generator=random) * SIDE, torch.rand(batch, rows, classes, generator=random)


def listed(count: int = 20, seed: int = 0) -> Tensor:
    """Detections ``[count, 6]``, best first, scores 0.9 down to 0.1, three labels."""
    random = torch.Generator().manual_seed(seed)
    boxes = torch.rand(count, 4, generator=random) * SIDE
    return torch.cat([boxes, torch.linspace(0.9, 0.1, count)[:, None], (torch.arange(count) % 3)[:, None].float()], 1)


def changed(rows: Tensor, place: tuple[int, ...], by: float) -> Tensor:
    """A copy with one number moved."""
    rows = rows.clone()
    rows[place] += by
    return rows


def largest(gaps: dict[str, OutputGap]) -> float:
    return max(gap.relative for gap in gaps.values())


def test_equal_outputs_have_no_gap() -> None:
    gaps = dense_gaps(dense(), dense(), SIDE, 1e-3)
    assert gaps == {"boxes": OutputGap(0.0, 0.0, 120), "scores": OutputGap(0.0, 0.0, 120)}
    assert rows_gap(listed(), listed(), SIDE, 300) == OutputGap(0.0, 0.0, 20)
    assert rows_gap(listed(0), listed(0), SIDE, 300) == OutputGap(0.0, 0.0, 0)


def test_boxes_are_judged_in_sides_and_scores_as_they_are() -> None:
    boxes, scores = dense()
    boxes[0, 7, 0] = 100.0
    gaps = dense_gaps(
        (boxes, scores), (changed(boxes, (0, 7, 0), 0.32), changed(scores, (1, 3, 2), 0.0007)), SIDE, 1e-3
    )
    assert gaps["boxes"].absolute == pytest.approx(0.32, rel=1e-3)
    assert gaps["boxes"].relative == pytest.approx(0.32 / SIDE, rel=1e-3)
    assert gaps["scores"].absolute == gaps["scores"].relative == pytest.approx(0.0007, rel=1e-3)
    # far outside the picture, coordinates are as exact as their size allows
    boxes[0, 7, 0] = 1e6
    assert dense_gaps((boxes, scores), (changed(boxes, (0, 7, 0), 100), scores), SIDE, 1e-3)[
        "boxes"
    ].relative == pytest.approx(1e-4, rel=1e-2)


@pytest.mark.parametrize("shift", [("boxes", 5.0), ("boxes", -1.0), ("scores", 0.01), ("scores", -0.2)])
@pytest.mark.parametrize("row", [0, 31, 59])
def test_one_wrong_number_among_many_is_caught(shift: tuple[str, float], row: int) -> None:
    boxes, scores = dense()
    name, by = shift
    wrong = (changed(boxes, (1, row, 2), by), scores) if name == "boxes" else (boxes, changed(scores, (1, row, 2), by))
    gaps = dense_gaps((boxes, scores), wrong, SIDE, 1e-3)
    assert gaps[name].absolute == pytest.approx(abs(by), rel=1e-3)
    assert largest(gaps) > 1e-3


def test_rows_may_change_places_but_only_whole() -> None:
    boxes, scores = dense()
    order = torch.arange(60)
    order[[3, 4, 50]] = torch.tensor([4, 50, 3])
    moved = (boxes[:, order], scores[:, order])
    assert largest(dense_gaps((boxes, scores), moved, SIDE, 1e-3)) == 0.0
    assert largest(dense_gaps((boxes, scores), (moved[0], scores), SIDE, 1e-3)) > 0.01
    twice = boxes.clone(), scores.clone()
    twice[0][0, 4], twice[1][0, 4] = boxes[0, 3], scores[0, 3]
    assert largest(dense_gaps((boxes, scores), twice, SIDE, 1e-3)) > 0.01
    assert largest(dense_gaps(twice, (boxes, scores), SIDE, 1e-3)) > 0.01


def test_another_network_is_told_without_matching_every_row() -> None:
    count = MOST_MATCHED + 500
    gaps = dense_gaps(dense(count, batch=1), dense(count, batch=1, seed=1), SIDE, 1e-3)
    assert gaps["scores"].relative > 0.5 and gaps["boxes"].rows == count


def test_the_last_rows_of_a_ranking_may_be_others() -> None:
    boxes, scores = dense(rows=100, batch=1)
    loose = round(100 * EXCHANGED)
    assert loose == 5
    last = changed(boxes, (0, 99, 0), 200.0), scores
    assert largest(dense_gaps((boxes, scores), last, SIDE, 1e-3)) > 0.1
    gaps = dense_gaps((boxes, scores), last, SIDE, 1e-3, ranked=True)
    assert gaps["boxes"] == OutputGap(0.0, 0.0, 99)
    above = changed(boxes, (0, 99 - loose, 0), 200.0), scores
    assert largest(dense_gaps((boxes, scores), above, SIDE, 1e-3, ranked=True)) > 0.1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("whose", [0, 1])
def test_nan_and_infinity_are_faults(bad: float, whose: int) -> None:
    pairs = [dense(), dense()]
    pairs[whose][1][0, 5, 1] = bad
    gaps = dense_gaps(pairs[0], pairs[1], SIDE, 1e-3)
    assert "1 numbers of " + ("torch", "the file")[whose] in gaps["scores"].fault
    assert all(gap.relative == float("inf") and gap.rows == 0 for gap in gaps.values())
    lists = [listed(), listed()]
    lists[whose][4, 0] = bad
    assert "NaN or infinite" in rows_gap(lists[0], lists[1], SIDE, 300).fault


def test_other_shapes_are_faults() -> None:
    boxes, scores = dense()
    assert (
        "shape [2, 59, 4] where torch has [2, 60, 4]"
        in dense_gaps((boxes, scores), (boxes[:, 1:], scores), SIDE, 1e-3)["boxes"].fault
    )
    assert "shape" in rows_gap(listed(), listed()[:, :5], SIDE, 300).fault


@pytest.mark.parametrize("most", [20, 300, None])
def test_order_of_detections_does_not_matter(most: int | None) -> None:
    shuffled = listed()[torch.randperm(20, generator=torch.Generator().manual_seed(3))]
    gap = rows_gap(listed(), shuffled, SIDE, most)
    assert gap.relative == 0.0 and not gap.fault
    assert gap.rows == (19 if most == 20 else 20)


WRONG = {
    "missing": lambda rows: rows[torch.arange(20) != 6],
    "missing lowest": lambda rows: rows[:-1],
    "none": lambda rows: rows[:0],
    "extra": lambda rows: torch.cat([rows, torch.tensor([[10.0, 10, 50, 50, 0.8, 1]])]),
    "extra instead of another": lambda rows: torch.cat([rows[:-1], torch.tensor([[10.0, 10, 50, 50, 0.8, 1]])]),
    "one twice instead of another": lambda rows: torch.cat([rows[:7], rows[6:7], rows[8:]]),
    "label": lambda rows: changed(rows, (6, 5), 1.0),
    "new label": lambda rows: changed(rows, (6, 5), 4.0),
    "box": lambda rows: changed(rows, (6, 2), 3.0),
    "score": lambda rows: changed(rows, (6, 4), 0.02),
}


@pytest.mark.parametrize("most", [20, 300])
@pytest.mark.parametrize("how", WRONG)
def test_wrong_lists_are_caught(how: str, most: int) -> None:
    wrong = WRONG[how](listed())
    assert rows_gap(listed(), wrong, SIDE, most).relative > 1e-3
    assert rows_gap(wrong, listed(), SIDE, most).relative > 1e-3


def test_equal_scores_where_a_list_was_cut_are_free_but_must_be_real() -> None:
    boxes = torch.arange(40.0).reshape(10, 4) * 10
    scores = torch.full((10, 2), 0.1)
    scores[:3, 1] = torch.tensor([0.9, 0.8, 0.7])

    def rows(*picked: tuple[int, int]) -> Tensor:
        return torch.stack([torch.cat([boxes[n], scores[n, c, None], torch.tensor([float(c)])]) for n, c in picked])

    ours, theirs = rows((0, 1), (1, 1), (2, 1), (3, 0), (4, 0)), rows((0, 1), (1, 1), (2, 1), (8, 0), (9, 1))
    assert rows_gap(ours, theirs, SIDE, 5, (boxes, scores)) == OutputGap(0.0, 0.0, 5)
    assert rows_gap(ours, theirs, SIDE, 6, (boxes, scores)).relative > 1e-3, "a list that is not full was not cut"
    for wrong in (changed(theirs, (4, 0), 3.0), changed(theirs, (0, 0), 3.0), changed(theirs, (1, 5), -1.0)):
        assert rows_gap(ours, wrong, SIDE, 5, (boxes, scores)).relative > 1e-3
    for label in (2.0, -1.0, 0.5):
        wrong = theirs.clone()
        wrong[4, 5] = label
        assert f"label {label:g} is none of the 2 classes" in rows_gap(ours, wrong, SIDE, 5, (boxes, scores)).fault


def test_the_worst_of_several_runs_keeps_the_fault_and_counts_rows() -> None:
    runs = [
        {"boxes": OutputGap(1.0, 0.1, 5)},
        {"boxes": OutputGap(0.5, 0.2, 5), "detections": OutputGap(0.0, 0.0, 3)},
        {"boxes": OutputGap.broken("why")},
    ]
    found = worst(runs)
    assert found["boxes"] == OutputGap(float("inf"), float("inf"), 10, "why")
    assert found["detections"] == OutputGap(0.0, 0.0, 3)
    assert worst([]) == {}


def test_scenes_are_pictures_that_differ_and_repeat() -> None:
    first, again = sample_images(3, 64, 96), sample_images(3, 64, 96)
    assert [picture.shape for picture in first] == [(64, 96, 3)] * 3
    assert all(picture.dtype == np.uint8 and picture.std() > 10 for picture in first)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], first[1]) and not np.array_equal(first[0], sample_images(1, 64, 96, seed=1)[0])
    batches = prepared_scenes(build("yolox-nano"), 2, 64, 96, count=2)
    assert [list(batch.shape) for batch in batches] == [[2, 3, 64, 96]] * 2
    assert float(batches[0].max()) > 100, "YOLOX takes pixels from 0 to 255"
