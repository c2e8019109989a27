"""Solutions against brute force, and the gap on problems with a detector's wiring."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nas.shrinking.solver import branch
from nas.shrinking.solver.problem import Factor, LinearForm, Problem, Variable
from nas.shrinking.solver.solve import Solution, solve, solve_front
from tests.nas.shrinking.solver.small_problems import brute_force, small_problem
from tests.nas.shrinking.solver.synthetic_detector import synthetic_detector
from workbench.errors import BadInput

SEEDS = range(72)


def check_certificate(problem: Problem, solution: Solution) -> None:
    """What the solution says of itself holds on the problem's own tables."""
    value, costs = problem.measure(solution.states)
    assert solution.feasible
    assert (solution.value, solution.costs) == (value, costs)
    assert problem.respects_limits(costs)
    assert solution.bound >= solution.value
    assert solution.gap == pytest.approx((solution.bound - value) / abs(solution.bound) if solution.bound else 0.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_small_problems_equal_brute_force(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed % 2:
        monkeypatch.setattr(branch, "ENUMERATED", 1)  # otherwise small problems never branch
    problem = small_problem(seed)
    best = brute_force(problem)
    solution = solve(problem)
    assert solution.proved
    assert solution.feasible == math.isfinite(best)
    if solution.feasible:
        check_certificate(problem, solution)
        assert solution.value == pytest.approx(best, rel=1e-8, abs=1e-8)


def test_small_problems_are_of_all_kinds() -> None:
    """Feasible and infeasible ones, one to three limits, ranges, long forms, forbidden combinations."""
    problems = [small_problem(seed) for seed in SEEDS]
    infeasible = sum(not math.isfinite(brute_force(problem)) for problem in problems)
    assert 5 < infeasible < len(problems) - 60
    assert {len(problem.limits) for problem in problems} == {1, 2, 3}
    assert any(math.isfinite(low) for problem in problems for low, _ in problem.limits.values())
    factors = [factor for problem in problems for factor in problem.factors]
    assert max(len(form.terms) for factor in factors for form in factor.forms) == 4
    assert any(factor.value is not None and np.isneginf(factor.value).any() for factor in factors)


@pytest.mark.parametrize("limits", [1, 2, 3])
def test_detector_wiring_is_solved(limits: int) -> None:
    problem = synthetic_detector(seed=1, width=32, depth=1, limits=limits)
    assert len(problem.variables) > 50
    solution = solve(problem, gap=0.002, seconds=30.0)
    check_certificate(problem, solution)
    assert solution.proved and solution.gap <= 0.002


def test_same_problem_gives_the_same_answer() -> None:
    problem = synthetic_detector(seed=2, width=32, depth=1, limits=2)
    first, second = (solve(problem, gap=0.001) for _ in range(2))
    assert (first.states, first.bound, first.nodes) == (second.states, second.bound, second.nodes)


def test_front_equals_single_solutions() -> None:
    problem = synthetic_detector(seed=0, width=32, depth=1)
    most = problem.limits["latency"][1]
    limits = [(0, most * 0.8), (0, most * 1.4), (most * 0.9, most)]
    front = solve_front(problem, "latency", limits)
    for (low, high), solution in zip(limits, front, strict=True):
        alone = Problem(problem.variables, problem.factors, {"latency": (low, high)})
        check_certificate(alone, solution)
        assert solution.value == pytest.approx(solve(alone).value)
    assert front[0].value < front[1].value


def test_no_limit_takes_the_best_of_everything() -> None:
    variables = (Variable("a", (1, 2)), Variable("b", (0, 4, 8)))
    value = np.array([[0.0, 5.0, 1.0], [2.0, -math.inf, 4.0]])
    factor = Factor((LinearForm(((0, 1),)), LinearForm(((1, 1),))), {"flops": np.ones((2, 3), dtype=int)}, value)
    solution = solve(Problem(variables, (factor,), {}, {"flops": 7}))
    assert (solution.states, solution.value, solution.costs, solution.gap) == ((1, 4), 5.0, {"flops": 8}, 0.0)


def test_variables_without_factors_take_any_state() -> None:
    solution = solve(Problem((Variable("a", (3, 4)),), (), {"flops": (0, 9)}, {"flops": 5}))
    assert solution.proved and solution.states[0] in (3, 4)
    assert (solution.value, solution.costs) == (0.0, {"flops": 5})
    assert not solve(Problem((Variable("a", (3, 4)),), (), {"flops": (0, 4)}, {"flops": 5})).feasible


def test_limits_that_cannot_hold_are_proved_infeasible() -> None:
    variables = (Variable("a", (1, 2)), Variable("b", (1, 3)))
    cost = np.array([[10, 20], [30, 40]])
    factor = Factor((LinearForm(((0, 1),)), LinearForm(((1, 1),))), {"flops": cost}, cost.astype(float))
    for limits in ((0, 9), (41, math.inf), (21, 29)):
        solution = solve(Problem(variables, (factor,), {"flops": limits}))
        assert (solution.feasible, solution.proved, solution.states) == (False, True, ())
    assert solve(Problem(variables, (factor,), {"flops": (21, 30)})).states == (2, 1)


def test_everything_forbidden_is_infeasible() -> None:
    variable = Variable("a", (1, 2))
    factor = Factor((LinearForm(((0, 1),)),), {"flops": np.array([1, 2])}, np.full(2, -math.inf))
    assert not solve(Problem((variable,), (factor,), {"flops": (0, 9)})).feasible


def test_time_limit_still_gives_a_bound() -> None:
    problem = synthetic_detector(seed=1, width=32, depth=1, limits=2)
    solution = solve(problem, seconds=0.3)
    assert solution.bound >= solution.value
    assert solution.seconds < 10


def test_progress_is_told() -> None:
    told: list[tuple[int, float | None, float]] = []
    solution = solve(synthetic_detector(seed=1, width=32, depth=1), progress=lambda *state: told.append(state))
    bounds = [bound for _, _, bound in told]
    assert bounds == sorted(bounds, reverse=True)
    assert told and bounds[-1] >= solution.value


def test_costs_beyond_exact_sums_are_refused() -> None:
    factor = Factor((LinearForm(((0, 1),)),), {"flops": np.array([1, 2**60])})
    with pytest.raises(BadInput, match="use a larger unit"):
        solve(Problem((Variable("a", (1, 2)),), (factor,), {"flops": (0, 9)}))


def test_unknown_front_cost_is_refused() -> None:
    with pytest.raises(BadInput, match="known: flops"):
        solve_front(Problem((Variable("a", (1,)),), (), {"flops": (0, 1)}), "latency", [(0, 1)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "width", "depth", "neck", "variables"),
    [(0, 64, 8, "path", 140), (1, 64, 12, "giraffe", 200), (2, 96, 20, "path", 240), (1, 64, 20, "giraffe", 300)],
)
@pytest.mark.parametrize("limits", [1, 3])
def test_large_detectors_are_solved_within_a_minute(
    seed: int, width: int, depth: int, neck: str, variables: int, limits: int
) -> None:
    """Expected: a gap of 0.02 % within a few seconds of one core, in less than 500 MB."""
    problem = synthetic_detector(seed, width, depth, neck=neck, limits=limits, fraction=0.4)
    assert len(problem.variables) >= variables
    solution = solve(problem, gap=0.0002, seconds=60.0)
    check_certificate(problem, solution)
    assert solution.proved
