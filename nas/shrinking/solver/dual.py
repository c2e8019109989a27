"""Lagrangian bound: limits priced by multipliers, and the multipliers that make the bound least.

For multipliers ``m`` no assignment within the limits has a value above ``max(value - m * cost) + m * limit``, where the
limit is the high one for a positive multiplier and the low one for a negative. The maximum is one max-sum; the bound is
convex in ``m`` and is minimized by cutting planes within a box that grows and moves.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.shrinking.solver.elimination import Forward, MaxSum
from nas.shrinking.solver.network import Network
from nas.shrinking.solver.order import Order

ROUNDING = 1e-14
"""Added to a bound, times the size of its terms, so that it stays one in floating point."""
MIX = 0.7
"""With several limits, the share of the cutting planes' optimum in the next trial; the rest is the best one so far."""


@dataclass(frozen=True, eq=False)
class Bounds:
    """Limits ``low <= cost <= high`` as arrays ``[costs]``, infinite where there is none."""

    low: np.ndarray
    high: np.ndarray

    @property
    def scale(self) -> np.ndarray:
        """The size of each limit, to make multipliers comparable."""
        low, high = (np.where(np.isfinite(side), np.abs(side), 0.0) for side in (self.low, self.high))
        return np.maximum(np.maximum(low, high), 1.0)

    def price(self, multipliers: np.ndarray) -> float:
        """What the limits themselves are worth."""
        sides = np.where(multipliers > 0, self.high, self.low)
        active = multipliers != 0
        return float((multipliers[active] * sides[active]).sum())

    def violation(self, costs: np.ndarray) -> np.ndarray:
        """How far ``costs`` ``[costs, rows]`` are outside, in parts of the limits: ``[rows]``, 0 where all hold."""
        over = np.maximum(np.maximum(costs - self.high[:, None], self.low[:, None] - costs), 0.0)
        return (over / self.scale[:, None]).sum(axis=0)


@dataclass(frozen=True, eq=False)
class Plane:
    """An assignment (``row``: states of the variables), whose value and costs bound the bound from below."""

    row: np.ndarray
    value: float
    costs: np.ndarray


@dataclass(frozen=True, eq=False)
class Trial(Plane):
    """One evaluation of the bound and the assignment that reaches it."""

    multipliers: np.ndarray
    bound: float


class Relaxation:
    """The bound of one network under ``bounds``."""

    def __init__(self, network: Network, bounds: Bounds, order: Order | None = None) -> None:
        self.network, self.bounds = network, bounds
        self.maxsum = MaxSum(network, order)

    def evaluate(self, multipliers: np.ndarray, allowed: np.ndarray | None = None) -> Trial | None:
        """The bound over the ``allowed`` states (``bool [states]``); None where every assignment is forbidden."""
        network = self.network
        forward = self._forward(multipliers, allowed)
        if not math.isfinite(forward.best):
            return None
        row = self.maxsum.assignment(forward)[: network.variables]
        values, costs = network.measure(row[None])
        value, priced = float(values[0]), float(np.abs(multipliers) @ np.abs(costs[:, 0]))
        price = self.bounds.price(multipliers)
        bound = forward.best - float(multipliers @ network.constants) + price
        bound += ROUNDING * (abs(value) + priced + abs(price))
        return Trial(row, value, costs[:, 0], multipliers, bound)

    def marginals(self, trial: Trial, allowed: np.ndarray | None = None) -> np.ndarray:
        """The bound of ``trial`` for every state of every node, were it chosen: ``[states]``."""
        forward = self._forward(trial.multipliers, allowed)
        return self.maxsum.marginals(forward) + (trial.bound - forward.best)

    def _forward(self, multipliers: np.ndarray, allowed: np.ndarray | None) -> Forward:
        return self.maxsum.forward(self.network.flat_values - multipliers @ self.network.flat_costs, allowed)


@dataclass(frozen=True)
class Effort:
    """When to stop: after ``trials``, at ``deadline`` (monotonic seconds), ``tolerance`` away from the least bound."""

    trials: int
    deadline: float
    tolerance: float


@dataclass(frozen=True, eq=False)
class DualResult:
    """The least bound found, every assignment on the way, and those that were known before."""

    best: Trial
    planes: list[Plane]


def minimize_bound(
    relaxation: Relaxation,
    start: np.ndarray,
    allowed: np.ndarray,
    threshold: float,
    effort: Effort,
    known: Sequence[Plane] = (),
) -> DualResult | None:
    """Multipliers with the least bound, from ``start``; ends early once the bound is not above ``threshold``.

    ``known`` are assignments of allowed states. None where every assignment is forbidden.
    """
    best = relaxation.evaluate(start, allowed)
    if best is None:
        return None
    planes = [*known, best]
    most = len(known) + effort.trials
    scale = relaxation.bounds.scale
    radius = 0.05 * np.abs(start * scale).max(initial=0.0) or 0.1 * max(abs(best.value), 1e-3)
    while len(planes) < most and best.bound > threshold and time.monotonic() < effort.deadline:
        step = _next_multipliers(planes, best.multipliers, radius / scale, relaxation.bounds)
        if step is None:
            break
        wanted, forecast = step
        on_border = bool((np.abs(wanted - best.multipliers) * scale >= radius * (1 - 1e-9)).any())
        if best.bound - forecast <= effort.tolerance and not on_border:
            break
        if len(scale) > 1 and not on_border:
            wanted = MIX * wanted + (1 - MIX) * best.multipliers
        trial = relaxation.evaluate(wanted, allowed)
        if trial is None or np.array_equal(wanted, best.multipliers):
            break
        planes.append(trial)
        if on_border:
            radius *= 4.0
        if trial.bound < best.bound:
            best = trial
    return DualResult(best, planes)


def _next_multipliers(
    planes: Sequence[Plane], center: np.ndarray, radius: np.ndarray, bounds: Bounds
) -> tuple[np.ndarray, float] | None:
    """The minimum of all cutting planes in the box ``center`` +- ``radius``, and its bound."""
    least = np.where(np.isfinite(bounds.low), center - radius, np.maximum(center - radius, 0.0))
    most = np.where(np.isfinite(bounds.high), center + radius, np.minimum(center + radius, 0.0))
    if len(center) == 1:
        return _minimum_on_line(planes, float(least[0]), float(most[0]), bounds)
    return _minimum_in_box(planes, least, most, bounds)


def _minimum_on_line(planes: Sequence[Plane], least: float, most: float, bounds: Bounds) -> tuple[np.ndarray, float]:
    values = np.array([plane.value for plane in planes])
    costs = np.array([float(plane.costs[0]) for plane in planes])
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = ((values[:, None] - values) / (costs[:, None] - costs))[np.triu_indices(len(values), 1)]
    places = np.concatenate([crossings[np.isfinite(crossings)], [0.0]])
    places = np.concatenate([places[(places > least) & (places < most)], [least, most]])
    price = np.zeros(len(places))
    for sign, side in ((places > 0, bounds.high[0]), (places < 0, bounds.low[0])):
        price[sign] = places[sign] * side
    heights = (values[:, None] - costs[:, None] * places).max(axis=0) + price
    at = int(heights.argmin())
    return places[at : at + 1], float(heights[at])


def _minimum_in_box(
    planes: Sequence[Plane], least: np.ndarray, most: np.ndarray, bounds: Bounds
) -> tuple[np.ndarray, float] | None:
    from scipy.optimize import linprog  # type: ignore[import-untyped]

    count, scale = len(least), bounds.scale
    costs = np.array([plane.costs for plane in planes], dtype=float)
    values = np.array([plane.value for plane in planes])
    top = values.max()
    above = np.where(np.isfinite(bounds.high), costs - np.where(np.isfinite(bounds.high), bounds.high, 0.0), 0.0)
    below = np.where(np.isfinite(bounds.low), np.where(np.isfinite(bounds.low), bounds.low, 0.0) - costs, 0.0)
    rows = np.concatenate([np.full((len(planes), 1), -1.0), -above / scale, -below / scale], axis=1)
    boxes = [(None, None)]
    boxes += [(max(0.0, low), max(0.0, high)) for low, high in zip(least * scale, most * scale, strict=True)]
    boxes += [(max(0.0, -high), max(0.0, -low)) for low, high in zip(least * scale, most * scale, strict=True)]
    goal = np.zeros(1 + 2 * count)
    goal[0] = 1.0
    found = linprog(goal, A_ub=rows, b_ub=top - values, bounds=boxes, method="highs")
    if found.x is None:
        return None
    return (found.x[1 : 1 + count] - found.x[1 + count :]) / scale, float(found.x[0] + top)
