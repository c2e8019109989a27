"""Max-sum and max-marginals against all assignments."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nas.shrinking.solver.elimination import MaxSum
from nas.shrinking.solver.network import Network, build_network
from nas.shrinking.solver.order import find_order
from nas.shrinking.solver.problem import Factor, LinearForm, Problem, Variable, form_values

PRICE = 0.01


def any_problem(seed: int) -> Problem:
    """3 to 6 variables; forms of up to four of them, some constant; forbidden combinations."""
    random = np.random.default_rng(seed)
    count = int(random.integers(3, 7))
    variables = tuple(
        Variable(f"v{number}", tuple(sorted(random.choice(12, int(random.integers(1, 5)), replace=False).tolist())))
        for number in range(count)
    )
    factors = []
    for _ in range(int(random.integers(2, 8))):
        forms = []
        for _ in range(int(random.integers(1, 3))):
            chosen = random.choice(count, size=min(int(random.integers(0, 5)), count), replace=False)
            terms = tuple((int(variable), int(random.integers(1, 3))) for variable in chosen)
            forms.append(LinearForm(terms, int(random.integers(0, 3))))
        shape = tuple(len(form_values(form, variables)) for form in forms)
        value = random.normal(size=shape)
        value[random.random(shape) < 0.1] = -np.inf
        factors.append(Factor(tuple(forms), {"flops": random.integers(0, 50, size=shape)}, value))
    return Problem(variables, tuple(factors), {}, {"flops": 7})


def all_rows(network: Network) -> np.ndarray:
    return np.array(list(itertools.product(*(range(size) for size in network.sizes[: network.variables]))))


@pytest.mark.parametrize("seed", range(30))
def test_max_sum_and_marginals_equal_brute_force(seed: int) -> None:
    network = build_network(any_problem(seed), ("flops",))
    rows = all_rows(network)
    values, costs = network.measure(rows)
    totals, full = values - PRICE * (costs[0] - 7), network.complete(rows)
    maxsum = MaxSum(network)
    forward = maxsum.forward(network.flat_values - PRICE * network.flat_costs[0])
    assert forward.best == pytest.approx(totals.max())
    if np.isfinite(forward.best):
        state = maxsum.assignment(forward)
        match = (full == state).all(axis=1)
        assert totals[match] == pytest.approx(forward.best)
        expected = np.full(network.states, -np.inf)
        for node in range(len(network.sizes)):
            np.maximum.at(expected, network.starts[node] + full[:, node], totals)
        np.testing.assert_allclose(maxsum.marginals(forward), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", range(30))
def test_fewer_states_equal_brute_force(seed: int) -> None:
    """By a mask, in a smaller network with the old order, and in one with its own order."""
    network = build_network(any_problem(seed), ("flops",))
    rows = all_rows(network)
    values, costs = network.measure(rows)
    totals, full = values - PRICE * (costs[0] - 7), network.complete(rows)
    kept = full[np.random.default_rng(seed).integers(len(rows), size=3)]
    allowed = np.zeros(network.states, dtype=bool)
    allowed[network.starts[:-1] + kept] = True
    expected = totals[allowed[network.starts[:-1] + full].all(axis=1)].max()
    maxsum = MaxSum(network)
    flat = network.flat_values - PRICE * network.flat_costs[0]
    assert maxsum.forward(flat, allowed).best == pytest.approx(expected)
    smaller = network.restrict(allowed)
    for order in (maxsum.order, find_order(smaller)):
        smaller_maxsum = MaxSum(smaller, order)
        forward = smaller_maxsum.forward(smaller.flat_values - PRICE * smaller.flat_costs[0])
        assert forward.best == pytest.approx(expected)
        if np.isfinite(expected):
            assert smaller_maxsum.marginals(forward).max() == pytest.approx(expected)


def test_many_nodes_with_one_state() -> None:
    """More of them than an array may have axes."""
    variables = tuple(Variable(f"v{number}", (number + 1,)) for number in range(100))
    pairs = [(LinearForm(((number, 1),)), LinearForm(((99 - number, 1),))) for number in range(100)]
    factors = [Factor(pair, {"flops": np.array([[1]])}, np.array([[2.0]])) for pair in pairs if pair[0] != pair[1]]
    everything = LinearForm(tuple((number, 1) for number in range(100)))
    factors.append(Factor((everything,), value=np.array([0.5])))
    network = build_network(Problem(variables, tuple(factors), {}), ("flops",))
    assert MaxSum(network).forward(network.flat_values).best == pytest.approx(200.5)
