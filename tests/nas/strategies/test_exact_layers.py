"""The layered graph of a toy space, by hand."""

from __future__ import annotations

import numpy as np

from nas.strategies.exact.layers import Options, undominated
from search_spaces.space import Rules
from tests.nas.strategies.exact_toy import toy_layers, toy_space


def test_nodes_and_arcs() -> None:
    layers = toy_layers()
    assert layers.depth == 2 and layers.widths == [[16], [16, 32], [32, 64]]
    assert layers.outs(0, 16) == [16, 32] and layers.outs(1, 32) == [32, 64]
    assert layers.combos(1, 32) == [()] and layers.next_combo(1, (), 64) == (), "a backbone alone has no taps"
    # One stem, two arcs of three depths, four arcs of two.
    assert layers.arcs == 1 + 2 * 3 + 4 * 2


def test_an_arc_lists_depths_with_score_and_layers() -> None:
    arc = toy_layers().arc(0, 16, 32)
    assert arc.genes.tolist() == [[32, 16, 3, 1, 0], [32, 16, 3, 2, 0], [32, 16, 3, 3, 0]]
    assert arc.score.tolist() == [32, 64, 96]
    assert arc.costs.tolist() == [[2], [4], [6]]
    assert arc.take(np.array([2, 0])).score.tolist() == [96, 32]


def test_rules_remove_arcs_and_unreachable_widths() -> None:
    layers = toy_layers(space=toy_space(rules=Rules(out_growth_max=2.0)))
    assert layers.outs(1, 16) == [32] and layers.outs(1, 32) == [32, 64]
    # Channels of 16 with an inner width of at least their half: inner 32 is too wide for 16.
    narrow = toy_layers(space=toy_space((32,), Rules(btn_to_out=(0.25, 1.0))))
    assert narrow.widths == [[16], [32], [32, 64]]


def test_cheapest_ways_and_totals() -> None:
    layers = toy_layers()
    assert layers.cheapest_before[1] == {16: [2], 32: [2]}
    assert layers.cheapest_after[0][16].tolist() == [4] and layers.cheapest_after[1][32].tolist() == [2]
    assert layers.least_total().tolist() == [4] and layers.greatest_total().tolist() == [10]
    assert layers.common_unit(0) == 2


def test_undominated_by_hand() -> None:
    genes = np.array([[4, 0, 0, 0], [3, 0, 0, 0], [2, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    score = np.array([5, 5, 7, 1, 6])
    costs = np.array([[2, 1], [2, 1], [3, 1], [9, 0], [3, 1]])
    options = Options(genes, score, costs)
    # Options 0 and 1 are equal: the smaller genes stay. Option 4 costs what 2 costs and scores less.
    assert undominated(options, (0,)).tolist() == [1, 2]
    # Option 3 scores least and costs most, but alone needs none of the second resource.
    assert undominated(options, (0, 1)).tolist() == [1, 2, 3]
