"""Forms, measuring, and the errors of a problem that makes no sense."""

from __future__ import annotations

import numpy as np
import pytest

from nas.shrinking.solver.network import build_network
from nas.shrinking.solver.problem import Factor, LinearForm, Problem, Variable, form_values
from tests.nas.shrinking.solver.small_problems import small_problem
from workbench.errors import BadInput

A, B = Variable("a", (0, 8, 16)), Variable("b", (8, 24))
FIRST, BOTH = LinearForm(((0, 1),)), LinearForm(((0, 2), (1, 1)), 3)


def test_form_values_are_all_sums() -> None:
    assert form_values(BOTH, (A, B)).tolist() == [11, 27, 43, 59]  # 0+8, 16+8 and 0+24, 32+8 and 16+24, 32+24; plus 3
    assert form_values(LinearForm((), 64), (A, B)).tolist() == [64]
    assert BOTH.of((16, 8)) == 43


def test_terms_of_one_variable_are_merged() -> None:
    assert LinearForm(((1, 1), (0, 1), (1, 2))) == LinearForm(((0, 1), (1, 3)))


def test_measure_adds_the_tables_up() -> None:
    factors = (
        Factor((FIRST, BOTH), {"flops": np.arange(12).reshape(3, 4)}),
        Factor((FIRST,), {"memory": np.array([5, 6, 7])}, np.array([0.25, 0.5, -np.inf])),
    )
    problem = Problem((A, B), factors, {"flops": (0, 99)}, {"flops": 100})
    assert problem.measure((8, 24)) == (0.5, {"flops": 100 + 4 + 2, "memory": 6})
    assert problem.measure((16, 24))[0] == -np.inf
    assert not problem.respects_limits({"flops": 100, "memory": 0})


@pytest.mark.parametrize("seed", range(0, 30, 3))
def test_network_measures_like_the_problem(seed: int) -> None:
    problem = small_problem(seed)
    network = build_network(problem, problem.cost_names)
    random = np.random.default_rng(seed)
    rows = np.stack([random.integers(size, size=20) for size in network.sizes[: network.variables]], axis=1)
    values, costs = network.measure(rows)
    assert (network.rows(network.widths(rows)) == rows).all()
    for row, value, cost in zip(network.widths(rows), values, costs.T, strict=True):
        expected, expected_costs = problem.measure(row.tolist())
        assert value == pytest.approx(expected)
        assert dict(zip(problem.cost_names, cost.tolist(), strict=True)) == expected_costs


@pytest.mark.parametrize("seed", range(0, 30, 3))
def test_single_changes_measure_like_rows(seed: int) -> None:
    problem = small_problem(seed)
    network = build_network(problem, problem.cost_names)
    random = np.random.default_rng(seed)
    rows = np.stack([random.integers(size, size=200) for size in network.sizes[: network.variables]], axis=1)
    row = rows[np.isfinite(network.measure(rows)[0])][0]
    value, costs = network.measure(row[None])
    changed, gains, extra = network.measure_changes(row)
    values, all_costs = network.measure(changed)
    assert len(changed) == sum(network.sizes[: network.variables]) - network.variables
    assert ((changed != row).sum(axis=1) == 1).all()
    np.testing.assert_allclose(gains, values - value, rtol=0, atol=1e-9)
    assert (extra == all_costs - costs).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Variable("a", (8, 8)), "variable 'a' has states"),
        (lambda: Variable("a", ()), "variable 'a' has states"),
        (lambda: LinearForm(((0, -1),)), "whole numbers from 0"),
        (lambda: Problem((A,), (Factor((BOTH,)),), {}), "uses variable 1: there are 1"),
        (lambda: Problem((A,), (Factor((FIRST,), {"flops": np.ones(3)}),), {}), "'flops' of factor 0 are float64"),
        (lambda: Problem((A,), (Factor((FIRST,), {"flops": np.ones(2, int)}),), {}), r"give whole numbers \(3,\)"),
        (lambda: Problem((A,), (Factor((FIRST,), value=np.ones(2)),), {}), r"value of factor 0 has shape \(2,\)"),
        (lambda: Problem((A,), (Factor((FIRST,), value=np.full(3, np.nan)),), {}), "NaN or inf"),
        (lambda: Problem((), (), {}), "no variables"),
        (lambda: Problem((A,), (), {"flops": (2, 1)}), "limit of 'flops' is 2 to 1"),
    ],
)
def test_nonsense_is_refused(make: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        make()  # type: ignore[operator]
