"""Local improvement on problems whose best assignment is known."""

from __future__ import annotations

import time

import numpy as np
import pytest

from nas.shrinking.solver.dual import Bounds
from nas.shrinking.solver.moves import connect, improve, repair
from nas.shrinking.solver.network import Network, build_network
from nas.shrinking.solver.problem import Factor, LinearForm, Problem, Variable

BOUNDS = Bounds(np.array([-np.inf]), np.array([10.0]))
FREE = np.zeros(1)


def items(*pairs: tuple[int, float]) -> Network:
    """One variable an item: left (0) or taken (1), with its cost and value."""
    variables = tuple(Variable(f"v{number}", (0, 1)) for number in range(len(pairs)))
    factors = [
        Factor((LinearForm(((number, 1),)),), {"cost": np.array([0, cost])}, np.array([0.0, value]))
        for number, (cost, value) in enumerate(pairs)
    ]
    return build_network(Problem(variables, tuple(factors), {}), ("cost",))


def soon() -> float:
    return time.monotonic() + 10


def test_a_pair_is_swapped_where_no_single_change_helps() -> None:
    network = items((6, 5.0), (10, 8.0), (4, 4.0))
    better = improve(network, np.array([0, 1, 0]), BOUNDS, FREE, soon())
    assert better.tolist() == [0, 1, 0]  # [1, 0, 1] is better, but three changes away
    assert improve(network, np.array([0, 0, 1]), BOUNDS, FREE, soon()).tolist() == [1, 0, 1]
    network = items((6, 5.0), (7, 5.5))
    assert improve(network, np.array([1, 0]), BOUNDS, FREE, soon()).tolist() == [0, 1]


def test_repair_gives_up_the_least_value_per_cost() -> None:
    network = items((6, 6.0), (6, 1.0), (4, 4.0))
    repaired = repair(network, np.array([1, 1, 1]), BOUNDS, soon())
    assert repaired is not None and repaired.tolist() == [1, 0, 1]


def test_repair_that_cannot_succeed_says_so() -> None:
    bounds = Bounds(np.array([20.0]), np.array([30.0]))
    assert repair(items((6, 6.0), (6, 1.0)), np.array([0, 0]), bounds, soon()) is None


def test_way_between_two_assignments_passes_the_best_that_fits() -> None:
    network = items((6, 6.0), (5, 3.0), (4, 4.0))
    best = connect(network, np.array([0, 0, 0]), np.array([1, 1, 1]), BOUNDS, FREE)
    assert best is not None and best.tolist() == [1, 0, 1]
    assert connect(network, np.array([1, 1, 1]), np.array([1, 1, 1]), BOUNDS, FREE) is None


@pytest.mark.parametrize("seed", range(5))
def test_improvement_never_loses(seed: int) -> None:
    random = np.random.default_rng(seed)
    network = items(*((int(cost), float(value)) for cost, value in random.uniform(1, 6, size=(12, 2))))
    row = np.zeros(12, dtype=np.int64)
    better = improve(network, row, BOUNDS, FREE, soon())
    values, costs = network.measure(np.stack([row, better]))
    assert values[1] > values[0] and costs[0, 1] <= 10
