"""Suppression against the plain greedy loop, and the rules of selection."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import BadInput

torch = pytest.importorskip("torch")

import zoo.nms
from zoo.nms import Detections, Selection, best_of_all, iou_matrix, nms, select

PLAIN = Selection(score_threshold=0.1, iou_threshold=0.5, multi_label=True, max_candidates=None, max_detections=None)


def reference(boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor | None, threshold: float) -> list[int]:
    """One box after another, best first, held against every box kept so far."""
    over = (iou_matrix(boxes, boxes) > threshold).tolist()
    same = None if labels is None else labels.tolist()
    kept: list[int] = []
    values = scores.tolist()
    for j in sorted(range(len(values)), key=lambda i: (-values[i], i)):
        if not any(over[i][j] and (same is None or same[i] == same[j]) for i in kept):
            kept.append(j)
    return kept


def random_boxes(n: int, generator: torch.Generator, side_px: float = 200.0) -> torch.Tensor:
    corner = torch.rand(n, 2, generator=generator) * side_px
    return torch.cat([corner, corner + torch.rand(n, 2, generator=generator) * side_px / 2], 1)


def iou_by_hand(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inter = max(width, 0.0) * max(height, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    return inter / union if union else 0.0


@pytest.fixture(params=["as shipped", "small steps"])
def _steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time with blocks so small that a few boxes go through every loop."""
    if request.param == "small steps":
        for name, value in {
            "BLOCK_CPU": 8,
            "KEPT_TILE": 3,
            "SMALLEST_GROUP": 2,
            "PAIRS": 32,
            "GROUPED_FROM": 1,
        }.items():
            monkeypatch.setattr(zoo.nms, name, value)


def test_iou_is_what_the_hand_gets() -> None:
    boxes = random_boxes(12, torch.Generator().manual_seed(0)).double()
    boxes = torch.cat([boxes, torch.tensor([[5.0, 5, 5, 5], [5, 5, 5, 9], [5, 5, 5, 5]]).double(), boxes[:2]])
    by_hand = [[iou_by_hand(a, b) for b in boxes.tolist()] for a in boxes.tolist()]
    assert torch.allclose(iou_matrix(boxes, boxes), torch.tensor(by_hand, dtype=torch.float64), atol=1e-12)
    assert iou_matrix(boxes[:3], boxes[:0]).shape == (3, 0)
    assert iou_matrix(torch.tensor([[0, 0, 10, 10]]), torch.tensor([[0, 0, 10, 5]])).tolist() == [[0.5]]
    backwards = torch.tensor([[9.0, 9, 3, 3]])
    assert iou_matrix(backwards, boxes).max() == 0


@pytest.mark.usefixtures("_steps")
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.65, 0.9, 1.0])
@pytest.mark.parametrize("classes", [None, 1, 3, 90])
@pytest.mark.parametrize("n", [0, 1, 2, 60, 300])
def test_nms_is_the_greedy_loop(n: int, classes: int | None, threshold: float) -> None:
    generator = torch.Generator().manual_seed(n)
    boxes = random_boxes(n, generator)
    boxes[: n // 4] = boxes[n // 4 : 2 * (n // 4)]  # identical boxes
    boxes[2 * (n // 4) : 2 * (n // 4) + n // 8, 2:] = boxes[2 * (n // 4) : 2 * (n // 4) + n // 8, :2]  # without area
    scores = torch.randint(6, (n,), generator=generator) / 5  # many ties
    labels = None if classes is None else torch.randint(classes, (n,), generator=generator)
    expected = reference(boxes, scores, labels, threshold)
    assert nms(boxes, scores, labels, threshold).tolist() == expected
    assert nms(boxes, scores, labels, threshold, max_kept=7).tolist() == expected[:7]


@given(data=st.data())
@settings(max_examples=60)
def test_nms_on_a_grid_of_equal_overlaps(data: st.DataObject) -> None:
    """Whole coordinates make IoUs that are equal to the threshold, and chains in which one box frees the next."""
    edge = st.integers(0, 6)
    rows = data.draw(st.lists(st.tuples(edge, edge, edge, edge, st.integers(0, 3), st.integers(0, 2)), max_size=40))
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    boxes = torch.cat([table[:, :2].minimum(table[:, 2:4]), table[:, :2].maximum(table[:, 2:4])], 1)
    scores, labels = table[:, 4] / 3, data.draw(st.sampled_from([None, table[:, 5].long()]))
    threshold = data.draw(st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 1.0]))
    assert nms(boxes, scores, labels, threshold).tolist() == reference(boxes, scores, labels, threshold)


@pytest.mark.parametrize("labelled", [False, True])
def test_nms_of_many_boxes(labelled: bool) -> None:
    """Enough of them for several blocks, and labels of very unequal sizes."""
    generator = torch.Generator().manual_seed(3)
    boxes, scores = random_boxes(1500, generator, 400), torch.rand(1500, generator=generator)
    labels = (torch.rand(1500, generator=generator) ** 4 * 40).long() if labelled else None
    assert nms(boxes, scores, labels, 0.4).tolist() == reference(boxes, scores, labels, 0.4)


def test_nms_of_a_chain_as_long_as_a_block() -> None:
    """Every box removes the next one only, so each pass settles but one more."""
    start = torch.arange(300.0) * 4
    boxes = torch.stack([start, torch.zeros(300), start + 10, torch.full((300,), 10.0)], 1)
    assert nms(boxes, torch.linspace(1, 0, 300), None, 0.4).tolist() == list(range(0, 300, 2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_lifted(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    boxes, scores = random_boxes(200, generator).to(dtype), torch.rand(200, generator=generator).to(dtype)
    assert nms(boxes, scores, None, 0.5).tolist() == reference(boxes.float(), scores.float(), None, 0.5)
    found = select(boxes[None], scores[None, :, None], PLAIN)[0]
    assert found.boxes.dtype == found.scores.dtype == torch.float32
    # 300 x 300 pixels are more than float16 holds
    wide = torch.tensor([[0, 0, 300, 300], [0, 0, 300, 200]], dtype=dtype)
    assert nms(wide, torch.tensor([1.0, 0.5]), None, 0.5).tolist() == [0]


def test_labels_far_away_do_not_shift_a_box() -> None:
    """An offset by class would round these boxes together at label 100,000."""
    boxes = torch.tensor([[0.0, 0, 1, 1], [0.51, 0, 1.51, 1]])
    assert nms(boxes, torch.tensor([0.9, 0.8]), torch.tensor([10**9, 10**9]), 0.33).tolist() == [0, 1]


def rows(found: Detections) -> list[tuple[float, float, int]]:
    """Left edge, score and label of every detection."""
    return [
        (round(float(b[0]), 3), round(float(s), 3), int(c))
        for b, s, c in zip(found.boxes, found.scores, found.labels, strict=True)
    ]


def test_selection_by_hand() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [1, 0, 11, 10], [50, 0, 60, 10]]])
    scores = torch.tensor([[[0.9, 0.2], [0.8, 0.3], [0.1, 0.7]]])
    every = [(0.0, 0.9, 0), (50.0, 0.7, 1), (1.0, 0.3, 1)]
    assert rows(select(boxes, scores, PLAIN)[0]) == every, "the score 0.1 is not greater than 0.1"
    best_only = Selection(0.1, 0.5, False, None, None)
    assert rows(select(boxes, scores, best_only)[0]) == [(0.0, 0.9, 0), (50.0, 0.7, 1)]
    assert rows(select(boxes, scores, Selection(0.1, 0.5, True, 2, None))[0]) == [(0.0, 0.9, 0)], "0.9 and 0.8 go in"
    assert rows(select(boxes, scores, Selection(0.1, 0.5, True, None, 2))[0]) == every[:2]
    ranked = [(0.0, 0.9, 0), (1.0, 0.8, 0), (50.0, 0.7, 1), (1.0, 0.3, 1)]
    assert rows(select(boxes, scores, Selection(0.0, None, True, None, 4))[0]) == ranked
    assert rows(select(boxes, scores, Selection(0.0, None, True, 3, 4))[0]) == ranked[:3]
    assert rows(select(boxes, scores, Selection(0.0, None, False, None, 4))[0]) == ranked[:3]


@pytest.mark.parametrize("iou_threshold", [None, 0.6])
@pytest.mark.parametrize("multi_label", [True, False])
@pytest.mark.parametrize(("most_in", "most_out"), [(None, None), (50, 20), (50, None), (None, 20)])
def test_selection_is_the_plain_one(
    iou_threshold: float | None, multi_label: bool, most_in: int | None, most_out: int | None
) -> None:
    generator = torch.Generator().manual_seed(5)
    boxes = torch.stack([random_boxes(60, generator) for _ in range(2)])
    scores = torch.randint(30, (2, 60, 4), generator=generator) / 29  # ties across the caps
    found = select(boxes, scores, Selection(0.25, iou_threshold, multi_label, most_in, most_out))
    for image, have in enumerate(found):
        flat = [(-float(scores[image, i, c]), i, c) for i in range(60) for c in range(4)]
        if not multi_label:
            flat = [min(flat[4 * i : 4 * i + 4]) for i in range(60)]
        flat = sorted(x for x in flat if -x[0] > 0.25)[:most_in]
        at, labels = torch.tensor([x[1] for x in flat]), torch.tensor([x[2] for x in flat])
        values = torch.tensor([-x[0] for x in flat])
        kept = range(len(flat)) if iou_threshold is None else reference(boxes[image][at], values, labels, iou_threshold)
        chosen = torch.tensor(list(kept)[:most_out])
        assert torch.equal(have.boxes, boxes[image][at][chosen])
        assert torch.equal(have.scores, values[chosen]) and torch.equal(have.labels, labels[chosen])
        assert have.labels.dtype == torch.int64


@pytest.mark.parametrize("iou_threshold", [None, 0.5])
@pytest.mark.parametrize("multi_label", [True, False])
@pytest.mark.parametrize("shape", [(0, 5, 3), (1, 0, 3), (1, 5, 0), (1, 5, 3)])
def test_selection_of_nothing(iou_threshold: float | None, multi_label: bool, shape: tuple[int, int, int]) -> None:
    found = select(torch.rand(*shape[:2], 4), torch.zeros(shape), Selection(0.5, iou_threshold, multi_label, 10, 10))
    assert [len(one) for one in found] == [0] * shape[0]
    assert all(one.boxes.shape == (0, 4) and one.labels.dtype == torch.int64 for one in found)


def test_a_score_that_is_not_a_number_is_no_detection() -> None:
    scores = torch.tensor([[[float("nan")], [0.7]]])
    assert select(torch.rand(1, 2, 4), scores, PLAIN)[0].scores.tolist() == pytest.approx([0.7])


def test_wrong_input_is_named() -> None:
    boxes, scores = torch.zeros(3, 4), torch.zeros(3)
    for wrong in (
        lambda: nms(boxes, scores, None, 1.5),
        lambda: nms(boxes, scores[:2], None, 0.5),
        lambda: nms(boxes[:, :3], scores, None, 0.5),
        lambda: nms(boxes, scores, torch.zeros(2), 0.5),
        lambda: select(boxes[None], scores[None], PLAIN),
        lambda: Selection(0.1, -0.1, True, None, None),
        lambda: Selection(0.1, 0.5, True, 0, None),
        lambda: Selection(0.1, 0.5, True, None, 0),
    ):
        with pytest.raises(BadInput):
            wrong()


def test_best_of_all_is_the_selection_without_suppression() -> None:
    torch.manual_seed(0)
    boxes, scores = torch.rand(2, 700, 4), torch.rand(2, 700, 5)
    rows = best_of_all(boxes, scores, 300)
    assert rows.shape == (2, 300, 6)
    for row, found in zip(rows, select(boxes, scores, Selection(0.0, None, True, None, 300)), strict=True):
        assert torch.equal(row[:, :4], found.boxes)
        assert torch.equal(row[:, 4], found.scores)
        assert torch.equal(row[:, 5].long(), found.labels)
    assert best_of_all(boxes[:, :7], scores[:, :7], 300).shape == (2, 7, 6)
