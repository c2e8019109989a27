"""Solves a problem: the best states, a bound that no assignment can exceed, and the gap between the two.

Limits are priced by multipliers. What is left is a sum of tables without limits, whose maximum is found exactly by
variable elimination; the least such maximum over all multipliers is the bound. Assignments met on the way are repaired
and improved, states that cannot be part of anything better are dropped, and branch and bound closes the rest.

The effort grows with the tables that the wiring needs and not with the number of assignments: chains, branches,
concatenations and feature pyramids are cheap, variables that all depend on each other are refused with an error. A
range much narrower than the cost of a single change may be out of reach of the time limit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.shrinking.solver.branch import TOLERANCE, BranchAndBound, Progress
from nas.shrinking.solver.dual import Bounds, Relaxation
from nas.shrinking.solver.network import build_network
from nas.shrinking.solver.order import find_order
from nas.shrinking.solver.problem import EXACT, Problem
from workbench.errors import BadInput


@dataclass(frozen=True)
class Solution:
    """The best assignment found.

    ``states``: one per variable (the whole numbers themselves); empty where nothing was found. ``value`` and ``costs``
    are added up from the problem's own tables. ``bound``: no assignment within the limits has a greater value.
    ``gap``: (bound - value) / |bound|. ``proved``: the gap is within what was asked for; for an infeasible problem,
    that no assignment respects the limits; where nothing was found in time it is False, as is ``feasible``. ``nodes``:
    nodes of the branch and bound.
    """

    states: tuple[int, ...]
    value: float
    bound: float
    gap: float
    costs: dict[str, int]
    proved: bool
    seconds: float
    nodes: int
    feasible: bool


def solve(problem: Problem, gap: float = 0.0, seconds: float = 120.0, progress: Progress | None = None) -> Solution:
    """The states with the greatest value within the limits.

    Args:
        gap: ends as soon as ``(bound - value) / |bound|`` is not greater.
        seconds: time limit; only an answer that reaches it may depend on the machine.
        progress: called with the nodes done, the best value so far (None: nothing yet) and the bound.
    """
    return _Solver(problem).solve(dict(problem.limits), gap, seconds, progress)


def solve_front(
    problem: Problem,
    name: str,
    limits: Sequence[tuple[float, float]],
    gap: float = 0.0,
    seconds: float = 120.0,
    progress: Progress | None = None,
) -> list[Solution]:
    """One solution for each of several ``limits`` (low, high) of the cost ``name``, in their order.

    The problem's other limits hold throughout. Assignments and multipliers of one limit start the next. ``seconds`` are
    for all together.
    """
    if name not in problem.cost_names:
        raise BadInput(f"unknown cost {name!r}: known: {', '.join(problem.cost_names)}")
    solver = _Solver(problem, name)
    deadline = time.monotonic() + seconds
    found: dict[int, Solution] = {}
    order = sorted(range(len(limits)), key=lambda place: (-limits[place][1], -limits[place][0], place))
    for done, place in enumerate(order):
        share = max(deadline - time.monotonic(), 0.0) / (len(limits) - done)
        found[place] = solver.solve({**problem.limits, name: limits[place]}, gap, share, progress)
    return [found[place] for place in range(len(limits))]


class _Solver:
    """One network for several limits, with what was learned so far."""

    def __init__(self, problem: Problem, *more: str) -> None:
        self.problem = problem
        self.names = tuple(dict.fromkeys((*problem.limits, *more)))
        self.network = build_network(problem, self.names)
        if len(self.names) and np.abs(self.network.flat_costs.astype(float)).sum() > EXACT:
            _check_exact(self.network.flat_costs, self.network.offsets, self.names)
        self.order = find_order(self.network)
        self.known: list[np.ndarray] = []
        self.multipliers: np.ndarray | None = None

    def solve(
        self, limits: dict[str, tuple[float, float]], gap: float, seconds: float, progress: Progress | None
    ) -> Solution:
        start = time.monotonic()
        sides = np.array([limits[name] for name in self.names], dtype=float).reshape(-1, 2)
        relaxation = Relaxation(self.network, Bounds(sides[:, 0], sides[:, 1]), self.order)
        search = BranchAndBound(relaxation, gap, start + seconds, progress)
        search.run(self.multipliers, self.known)
        self.multipliers = search.multipliers
        if search.incumbent.widths is None:
            proved = search.bound == -math.inf
            return Solution(
                (), -math.inf, search.bound, math.inf, {}, proved, time.monotonic() - start, search.nodes, False
            )
        self.known.append(search.incumbent.widths)
        states = tuple(int(width) for width in search.incumbent.widths)
        value, costs = self.problem.measure(states)
        bound = max(search.bound, value)
        spread = (bound - value) / abs(bound) if bound else 0.0
        proved = bound - value <= max(gap * abs(bound), TOLERANCE * max(1.0, abs(value)))
        return Solution(states, value, bound, spread, costs, proved, time.monotonic() - start, search.nodes, True)


def _check_exact(flat_costs: np.ndarray, offsets: np.ndarray, names: Sequence[str]) -> None:
    greatest = np.maximum.reduceat(np.abs(flat_costs.astype(float)), offsets[:-1], axis=1).sum(axis=1)
    for name, most in zip(names, greatest, strict=True):
        if most > EXACT:
            raise BadInput(f"cost {name!r} may reach {most:.3g}, more than {EXACT:.3g}: use a larger unit")
