"""The Lagrangian bound and its least multipliers."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from nas.shrinking.solver.dual import Bounds, Effort, Relaxation, minimize_bound
from nas.shrinking.solver.network import build_network
from nas.shrinking.solver.problem import Factor, LinearForm, Problem, Variable
from tests.nas.shrinking.solver.small_problems import brute_force, small_problem


def relaxation_of(problem: Problem) -> Relaxation:
    sides = np.array(list(problem.limits.values()), dtype=float)
    return Relaxation(build_network(problem, tuple(problem.limits)), Bounds(sides[:, 0], sides[:, 1]))


def knapsack(low: float, high: float) -> Problem:
    """Two items: value 3 for cost 2, value 2 for cost 2."""
    items = [(np.array([0, 2]), np.array([0.0, 3.0])), (np.array([0, 2]), np.array([0.0, 2.0]))]
    variables = (Variable("a", (0, 1)), Variable("b", (0, 1)))
    factors = [
        Factor((LinearForm(((number, 1),)),), {"cost": cost}, value) for number, (cost, value) in enumerate(items)
    ]
    return Problem(variables, tuple(factors), {"cost": (low, high)})


@pytest.mark.parametrize(
    ("low", "high", "multiplier", "bound"),
    [
        (-math.inf, 3, 1.0, 4.0),  # the second item costs 2 for 2, and half of it fits
        (-math.inf, 1, 1.5, 1.5),  # half of the first
        (-math.inf, 9, 0.0, 5.0),
        (0, 4, 0.0, 5.0),
    ],
)
def test_least_bound_of_a_knapsack(low: float, high: float, multiplier: float, bound: float) -> None:
    relaxation = relaxation_of(knapsack(low, high))
    allowed = np.ones(relaxation.network.states, dtype=bool)
    effort = Effort(50, time.monotonic() + 10, 1e-9)
    result = minimize_bound(relaxation, np.zeros(1), allowed, -1.0, effort)
    assert result is not None
    assert result.best.bound == pytest.approx(bound)
    assert result.best.multipliers == pytest.approx([multiplier], abs=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_every_multiplier_gives_a_bound(seed: int) -> None:
    problem = small_problem(seed)
    relaxation = relaxation_of(problem)
    best = brute_force(problem)
    random = np.random.default_rng(seed)
    for _ in range(20):
        multipliers = random.normal(scale=0.05, size=len(problem.limits))
        multipliers[np.isinf(relaxation.bounds.high) & (multipliers > 0)] = 0.0
        multipliers[np.isinf(relaxation.bounds.low) & (multipliers < 0)] = 0.0
        trial = relaxation.evaluate(multipliers)
        assert trial is not None
        assert trial.bound >= best
        assert relaxation.marginals(trial).max() == pytest.approx(trial.bound)


def test_violation_counts_both_sides_in_parts_of_the_limit() -> None:
    bounds = Bounds(np.array([-np.inf, 50.0]), np.array([10.0, 100.0]))
    costs = np.array([[10, 12, 0], [75, 75, 40]])
    np.testing.assert_allclose(bounds.violation(costs), [0.0, 0.2, 0.1])
