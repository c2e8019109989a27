"""Which candidates are trained further: successive halving over accuracy and cost together.

Synchronous halving (Jamieson and Talwalkar 2016; the rungs of ASHA, Li et al. 2020): all candidates are trained to a
rung, and the better half continues. ASHA promotes without waiting, which pays with many machines and makes the result
depend on which of them was faster; here the same seed gives the same result.

Candidates differ in cost, so the better half is not the more accurate half: fronts of non-dominated candidates come
first, and within a front those that lie farthest apart, beginning with the most accurate one (as in MO-ASHA, Schmucker
et al. 2021).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nas.pareto import dominates, pareto_mask
from workbench.errors import BadInput

FACTOR = 2
"""One of ``FACTOR`` candidates continues from a rung, rounded up."""


@dataclass(frozen=True, slots=True)
class Point:
    """A trained candidate: AP (0 to 1) and cost."""

    ap: float
    cost: float

    def dominates(self, other: Point) -> bool:
        """At least as accurate at no greater cost, and better in one of the two."""
        return bool(dominates(self.cost, self.ap, other.cost, other.ap))


def rung_plan(epochs: int, candidates: int, evaluated: Iterable[int]) -> list[tuple[int, int]]:
    """Epoch and number of candidates of each rung; the last one is the whole training.

    A rung has ``FACTOR`` times the epochs of the one before and half its candidates. Rungs lie at ``evaluated`` epochs,
    the last of which is the training's. There are as many as bring the candidates down to two, if the epochs allow.
    """
    if candidates < 1 or epochs < 1:
        raise BadInput(f"{candidates} candidates for {epochs} epochs: both must be at least 1")
    counts = [candidates]
    while counts[-1] > FACTOR:
        counts.append(math.ceil(counts[-1] / FACTOR))
    evaluated = sorted(evaluated)
    plan: list[tuple[int, int]] = []
    for back, count in enumerate(reversed(counts)):
        reached = [epoch for epoch in evaluated if epoch <= epochs / FACTOR**back]
        if not reached or (plan and reached[-1] >= plan[-1][0]):
            break  # too few epochs for another rung: all candidates start at this one
        plan.append((reached[-1], count))
    plan.reverse()
    return [(plan[0][0], candidates), *plan[1:]]


def promoted(points: Mapping[str, Point], count: int) -> list[str]:
    """Names of the ``count`` candidates that continue, in the order of ``points``."""
    chosen: list[str] = []
    left = dict(points)
    while left and len(chosen) < count:
        front = pareto(left)
        chosen += spread([(name, left[name]) for name in front], count - len(chosen))
        left = {name: point for name, point in left.items() if name not in front}
    return [name for name in points if name in chosen]


def pareto(points: Mapping[str, Point]) -> list[str]:
    """Names of the candidates that no other dominates."""
    mask = pareto_mask([point.cost for point in points.values()], [point.ap for point in points.values()])
    return [name for name, on_front in zip(points, mask, strict=True) if on_front]


def spread(front: Sequence[tuple[str, Point]], count: int) -> list[str]:
    """Names of ``count`` candidates of a front: the most accurate, then repeatedly the farthest from those chosen."""
    if not front or count < 1:
        return []
    aps, costs = [point.ap for _, point in front], [math.log(point.cost) for _, point in front]
    width, height = max(costs) - min(costs) or 1.0, max(aps) - min(aps) or 1.0
    places = {name: (math.log(point.cost) / width, point.ap / height) for name, point in front}
    chosen = [max(front, key=lambda item: item[1].ap)[0]]
    while len(chosen) < min(count, len(front)):
        rest = [name for name in places if name not in chosen]
        chosen.append(max(rest, key=lambda name: min(math.dist(places[name], places[other]) for other in chosen)))
    return chosen


def spent_epochs(plan: Sequence[tuple[int, int]]) -> int:
    """Epochs that a plan of rungs trains in all, every candidate resuming from its last rung."""
    starts = [0, *(epoch for epoch, _ in plan)]
    return sum(count * (epoch - start) for (epoch, count), start in zip(plan, starts, strict=False))
