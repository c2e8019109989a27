"""Orders stay small where the wiring is a chain or a tree, and refuse what is too entangled."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nas.shrinking.solver import plan
from nas.shrinking.solver.elimination import MaxSum
from nas.shrinking.solver.network import build_network
from nas.shrinking.solver.order import find_order
from nas.shrinking.solver.problem import Factor, LinearForm, Problem, Variable
from tests.nas.shrinking.solver.synthetic_detector import synthetic_detector
from workbench.errors import BadInput


def pairwise(states: int, count: int, pairs: list[tuple[int, int]]) -> Problem:
    variables = tuple(Variable(f"v{number}", tuple(range(states))) for number in range(count))
    table = np.ones((states, states), dtype=int)
    factors = [Factor((LinearForm(((a, 1),)), LinearForm(((b, 1),))), {"cost": table}) for a, b in pairs]
    return Problem(variables, tuple(factors), {})


def test_a_chain_needs_no_table_over_three() -> None:
    network = build_network(pairwise(9, 40, [(number, number + 1) for number in range(39)]), ("cost",))
    assert find_order(network).largest == 81


def test_a_concatenation_stays_a_chain_of_sums() -> None:
    """Eight branches of nine states: 9^8 as one table, at most (sums x branch x output) as links."""
    variables = tuple(Variable(f"v{number}", tuple(range(8, 80, 8))) for number in range(9))
    form = LinearForm(tuple((number, 1) for number in range(8)))
    factor = Factor((form, LinearForm(((8, 1),))), {"cost": np.ones((65, 9), dtype=int)})
    network = build_network(Problem(variables, (factor,), {}), ("cost",))
    order = find_order(network)
    assert {step.node for step in order.steps} == set(range(len(network.sizes)))
    assert order.largest <= 65 * 9 * 9


def test_detectors_stay_small() -> None:
    network = build_network(synthetic_detector(seed=0, depth=4), ("latency",))
    assert find_order(network).largest < 300_000


def test_entangled_variables_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "LARGEST", 10_000)
    network = build_network(pairwise(6, 7, list(itertools.combinations(range(7), 2))), ("cost",))
    with pytest.raises(BadInput, match="fewer states"):
        MaxSum(network)
