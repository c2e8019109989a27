"""Least and greatest costs against all assignments."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from nas.shrinking.solver.problem import Factor, LinearForm, Problem, Variable
from nas.shrinking.solver.reach import greatest_cost, least_cost
from tests.nas.shrinking.solver.small_problems import small_problem
from workbench.errors import BadInput


@pytest.mark.parametrize("seed", range(0, 24, 3))
def test_extremes_equal_brute_force(seed: int) -> None:
    problem = small_problem(seed)
    rows = itertools.islice(itertools.product(*(variable.states for variable in problem.variables)), 3000)
    measured = [problem.measure(row) for row in rows]
    costs = [cost["latency"] for value, cost in measured if math.isfinite(value)]
    least, greatest = least_cost(problem, "latency"), greatest_cost(problem, "latency")
    assert least is not None and greatest is not None
    assert least <= min(costs) and max(costs) <= greatest
    if math.prod(len(variable.states) for variable in problem.variables) <= 3000:
        assert (least, greatest) == (min(costs), max(costs))


def test_forbidden_assignments_do_not_count() -> None:
    factor = Factor((LinearForm(((0, 1),)),), {"flops": np.array([3, 5, 7])}, np.array([-math.inf, 0.0, -math.inf]))
    problem = Problem((Variable("a", (1, 2, 3)),), (factor,), {}, {"flops": 100})
    assert (least_cost(problem, "flops"), greatest_cost(problem, "flops")) == (105, 105)


def test_none_where_everything_is_forbidden() -> None:
    factor = Factor((LinearForm(((0, 1),)),), {"flops": np.array([3])}, np.array([-math.inf]))
    assert least_cost(Problem((Variable("a", (1,)),), (factor,), {}), "flops") is None


def test_unknown_cost_is_refused() -> None:
    with pytest.raises(BadInput, match="unknown cost 'latency'"):
        least_cost(Problem((Variable("a", (1,)),), (), {"flops": (0, 1)}), "latency")
