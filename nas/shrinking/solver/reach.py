"""The least and the greatest cost that any assignment reaches, exactly."""

from __future__ import annotations

import math

import numpy as np

from nas.shrinking.solver.elimination import MaxSum
from nas.shrinking.solver.network import build_network
from nas.shrinking.solver.problem import Problem
from workbench.errors import BadInput


def least_cost(problem: Problem, name: str) -> int | None:
    """The least cost ``name`` of any assignment that is not forbidden, whatever the limits; None if all are."""
    return _extreme_cost(problem, name, -1.0)


def greatest_cost(problem: Problem, name: str) -> int | None:
    """The greatest cost ``name`` of any assignment that is not forbidden, whatever the limits; None if all are."""
    return _extreme_cost(problem, name, 1.0)


def _extreme_cost(problem: Problem, name: str, sign: float) -> int | None:
    if name not in problem.cost_names:
        raise BadInput(f"unknown cost {name!r}: known: {', '.join(problem.cost_names)}")
    network = build_network(problem, (name,))
    flat = np.where(np.isneginf(network.flat_values), -np.inf, sign * network.flat_costs[0])
    best = MaxSum(network).forward(flat).best
    return int(sign * best) + int(network.constants[0]) if math.isfinite(best) else None
