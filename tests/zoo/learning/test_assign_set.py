"""One-to-one matching against trying every possibility, on small cases."""

from __future__ import annotations

import itertools

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor

from zoo.learning.assign_set import HungarianMatcher, MatchedPairs


def drawn(seed: int, layers: int, queries: int, counts: list[int], coarse: bool) -> tuple[Tensor, ...]:
    """Logits, boxes, labels and true boxes; ``coarse`` values are from few, so that many costs are equal."""
    random = torch.Generator().manual_seed(seed)

    def numbers(*shape: int) -> Tensor:
        values = torch.rand(*shape, generator=random)
        return (values * 2).round() / 2 if coarse else values

    logits = numbers(layers, len(counts), queries, 3) * 8 - 4
    boxes = numbers(layers, len(counts), queries, 4) * 0.5 + 0.2
    labels = tuple(torch.randint(0, 3, (count,), generator=random) for count in counts)
    return logits, boxes, labels, tuple(numbers(count, 4) * 0.5 + 0.2 for count in counts)


def cost_by_hand(logit: float, box: list[float], true: list[float]) -> float:
    """Of one pair, with RT-DETR's weights."""
    score = float(torch.tensor(logit, dtype=torch.float64).sigmoid())
    log = lambda p: float(torch.tensor(p + 1e-8, dtype=torch.float64).log())  # noqa: E731
    focal = -0.25 * (1 - score) ** 2 * log(score) + 0.75 * score**2 * log(1 - score)
    l1 = sum(abs(a - b) for a, b in zip(box, true, strict=True))
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = (
        (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2) for cx, cy, w, h in (box, true)
    )
    inter = max(min(ax2, bx2) - max(ax1, bx1), 0) * max(min(ay2, by2) - max(ay1, by1), 0)
    union = box[2] * box[3] + true[2] * true[3] - inter
    around = (max(ax2, bx2) - min(ax1, bx1)) * (max(ay2, by2) - min(ay1, by1))
    return 2 * focal + 5 * l1 - 2 * (inter / union - (around - union) / around)


def table(given: tuple[Tensor, ...], layer: int, image: int) -> list[list[float]]:
    """All costs of one image and layer."""
    logits, boxes, labels, truth = given
    return [
        [
            cost_by_hand(float(logits[layer, image, query, label]), boxes[layer, image, query].tolist(), true.tolist())
            for label, true in zip(labels[image].tolist(), truth[image], strict=True)
        ]
        for query in range(logits.shape[2])
    ]


@pytest.mark.parametrize("coarse", [False, True], ids=["fine", "ties"])
@pytest.mark.parametrize("counts", [[2, 0, 3], [1], [0, 0], [5, 1]])
def test_least_total_cost(counts: list[int], coarse: bool) -> None:
    """Every one-to-one choice is tried; where there are more objects than queries, every choice of objects too."""
    given = drawn(sum(counts), 2, 4, counts, coarse)
    pairs = HungarianMatcher()(*given)
    assert len(pairs.layers) == 2 * sum(min(4, count) for count in counts)
    before = 0
    for image, count in enumerate(counts):
        for layer in range(2):
            costs = table(given, layer, image)
            here = (pairs.layers == layer) & (pairs.images == image)
            queries, objects = pairs.queries[here].tolist(), (pairs.objects[here] - before).tolist()
            assert len(set(queries)) == len(set(objects)) == len(queries) == min(4, count)
            assert queries == sorted(queries)
            spent = sum(costs[q][o] for q, o in zip(queries, objects, strict=True))
            size = min(4, count)
            every = (
                sum(costs[q][o] for q, o in zip(some, order, strict=True))
                for some in itertools.combinations(range(4), size)
                for order in itertools.permutations(range(count), size)
            )
            assert spent == pytest.approx(min(every), abs=1e-5)
        before += count


def test_costs_by_hand() -> None:
    given = drawn(9, 1, 5, [4], False)
    logits, boxes, labels, truth = given
    found = HungarianMatcher().cost(logits[:, 0], boxes[:, 0], labels[0], truth[0])
    torch.testing.assert_close(found[0], torch.tensor(table(given, 0, 0)), rtol=1e-4, atol=1e-5)


def test_numbers_that_are_not_finite_are_taken_last() -> None:
    logits, boxes, labels, truth = drawn(3, 1, 4, [3], False)
    boxes[0, 0, 1] = torch.nan
    logits[0, 0, 2] = torch.inf
    pairs = HungarianMatcher()(logits, boxes, labels, truth)
    assert isinstance(pairs, MatchedPairs)
    assert 1 not in pairs.queries.tolist()
    assert sorted(pairs.objects.tolist()) == [0, 1, 2]


def test_half_precision_is_matched_in_single() -> None:
    logits, boxes, labels, truth = drawn(4, 2, 6, [3, 2], False)
    half = HungarianMatcher()(logits.half(), boxes.half(), labels, truth)
    whole = HungarianMatcher()(logits.half().float(), boxes.half().float(), labels, truth)
    assert all(torch.equal(a, b) for a, b in zip(half, whole, strict=True))
