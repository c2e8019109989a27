"""Label setting on a toy space, by hand, and its parts on small arrays."""

from __future__ import annotations

import numpy as np

from nas.strategies.exact.labels import Labels, LabelSearch, keep_best_bounds, undominated_sorted
from nas.strategies.exact.values import NOWHERE, Axes, Values
from tests.nas.strategies.exact_toy import toy_layers


def search(high: int, low: int = 0) -> LabelSearch:
    layers = toy_layers()
    return LabelSearch(layers, [Values(layers, Axes(0, 10, step=3))], np.array([high]), np.array([low]))


def test_the_best_row_under_a_limit_is_proved() -> None:
    seen: list[tuple[int, int]] = []
    result = search(8).solve(lambda stage, made: seen.append((stage, made)))
    assert result.row is not None and result.row.tolist() == [16, 32, 16, 3, 2, 64, 16, 3, 2]
    assert (result.score, result.costs.tolist(), result.cut, result.bound) == (192.0, [8], NOWHERE, 192.0)
    assert result.labels >= 3 and seen[0][0] == 1


def test_a_limit_between_two_costs_takes_the_lower() -> None:
    assert search(7).solve().score == 160.0


def test_a_binding_lower_end_is_kept() -> None:
    result = search(10, low=10).solve()
    assert (result.score, result.costs.tolist()) == (224.0, [10])


def test_nothing_fits() -> None:
    result = search(3).solve()
    assert result.row is None and result.score == NOWHERE and result.cut == NOWHERE


def test_a_cheaper_network_of_a_higher_score_dominates() -> None:
    free = np.zeros(2, dtype=bool)
    costs = np.array([[2, 2], [1, 3], [2, 3], [1, 1]])  # in descending order of score
    assert undominated_sorted(costs, free).tolist() == [True, True, False, True]
    # Where the first resource must be equal, (2, 3) is still dominated by (2, 2), and (1, 1) by none before it.
    assert undominated_sorted(costs, np.array([True, False])).tolist() == [True, True, False, True]
    assert undominated_sorted(np.array([[3, 1], [4, 2]]), np.array([True, False])).tolist() == [True, True]
    assert undominated_sorted(np.array([[3], [3], [2]]), np.zeros(1, dtype=bool)).tolist() == [True, False, True]


def test_the_most_promising_labels_are_kept_and_the_rest_has_a_bound() -> None:
    def labels(*bounds: float) -> Labels:
        n = len(bounds)
        return Labels(np.zeros(n, int), np.zeros(n), np.zeros((n, 1), int), np.zeros((n, 5), int), np.array(bounds))

    groups = {16: labels(5.0, 1.0), 32: labels(4.0, 3.0)}
    kept, cut = keep_best_bounds(groups, 2)
    assert {width: group.bound.tolist() for width, group in kept.items()} == {16: [5.0], 32: [4.0]} and cut == 3.0
    assert keep_best_bounds(groups, 4) == (groups, NOWHERE)
