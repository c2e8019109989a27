"""Value tables of a toy space, by hand.

Exactly r layers: 4 is depths 1 and 1 (32 + 64), 6 is 1 and 2 (32 + 128), 8 is 2 and 2, 10 is 3 and 2.
"""

from __future__ import annotations

import numpy as np
import pytest

from nas.strategies.exact.values import NOWHERE, Axes, Values, table_bytes
from tests.nas.strategies.exact_toy import toy_layers, toy_space


def bound(table: Values, cin: int, left: int) -> float:
    """Bound on what stage 2 can still score with ``left`` steps."""
    return float(table.bound(1, cin, np.array([0]), np.array([0]), np.array([left]))[0])


def test_exact_table_holds_the_best_score_of_every_cost() -> None:
    shares: list[float] = []
    table = Values(toy_layers(), Axes(0, 10), progress=shares.append)
    assert table.root_low == 4
    assert table.root.tolist() == [[96.0, NOWHERE, 160.0, NOWHERE, 192.0, NOWHERE, 224.0]]
    assert shares == sorted(shares) and shares[0] == 0.1
    assert table.entries > 0 and table.reached == 4 + 2 + 2  # costs from the stem, from width 16 and from width 32


def test_a_root_value_is_traced_back_to_its_row() -> None:
    table = Values(toy_layers(), Axes(0, 10))
    assert table.trace(0, 6, 160.0).tolist() == [16, 32, 16, 3, 1, 64, 16, 3, 2]
    assert table.trace(0, 10, 224.0).tolist() == [16, 32, 16, 3, 3, 64, 16, 3, 2]
    with pytest.raises(AssertionError):
        table.trace(0, 6, 161.0)


def test_bounds_are_the_best_at_most() -> None:
    table = Values(toy_layers(), Axes(0, 10))
    assert [bound(table, 32, left) for left in (-1, 1, 2, 3, 4, 100)] == [NOWHERE, NOWHERE, 64, 64, 128, 128]


def test_a_coarse_table_never_underestimates() -> None:
    exact, coarse = Values(toy_layers(), Axes(0, 10)), Values(toy_layers(), Axes(0, 10, step=4))
    assert all(bound(coarse, 32, left // 4) >= bound(exact, 32, left) for left in range(11))
    weighted = Values(toy_layers(), Axes(0, 5, weights=np.array([0.5])))
    assert weighted.root_low == 2 and weighted.root.tolist() == [[96.0, 160.0, 192.0, 224.0]]


def test_a_second_resource_has_an_axis_of_its_own() -> None:
    table = Values(toy_layers(), Axes(0, 10, second=0, second_unit=2))
    assert table.root.shape == (6, 7)
    assert [table.root[units, main] for units, main in ((2, 0), (3, 2), (5, 6), (3, 0))] == [96, 160, 224, NOWHERE]


def test_pruning_drops_equals_with_larger_genes() -> None:
    layers = toy_layers(space=toy_space((16, 32)))
    assert len(layers.arc(0, 16, 32)) == 6
    assert Values(layers, Axes(0, 10)).options(0, 16, 32).options.genes[:, 1].tolist() == [16, 16, 16]
    assert len(Values(layers, Axes(0, 10), prune=False).options(0, 16, 32).options) == 6


def test_nothing_below_the_least_cost() -> None:
    assert not np.isfinite(Values(toy_layers(3), Axes(0, 3)).root).any()


def test_size_of_the_tables() -> None:
    # Three nodes have 10 - 4 = 6 layers of room each: entries 0 to 6, eight bytes an entry; in steps of 2, 0 to 3.
    assert table_bytes(toy_layers(), 0, 0, 1) == 8 * 3 * 7
    assert table_bytes(toy_layers(), 0, 0, 2) == 8 * 3 * 4
    assert table_bytes(toy_layers(), 0, 1, 1) == 8 * 3 * 7 * 2
