"""Which candidates are worth more epochs: successive halving over accuracy and cost together.

Synchronous halving (Jamieson and Talwalkar 2016; the rungs of ASHA, Li et al. 2020): all candidates are trained to a rung, the
better half goes on. ASHA promotes without waiting, which pays with many machines and makes the answer depend on which of them was
faster; on one machine nobody waits, and the same seed gives the same answer.

Candidates differ in cost, so the better half is not the more accurate half: fronts of non-dominated candidates come first,
and within a front those that lie farthest apart, the most accurate one at the head (as MO-ASHA does, Schmucker et al. 2021).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nas.pareto import dominates, pareto_mask
from workbench.errors import BadInput

KEPT = 2
"""One in so many goes on from a rung, rounded up."""


@dataclass(frozen=True, slots=True)
class Point:
    """A trained candidate: AP (0 to 1) and what it costs."""

    ap: float
    cost: float

    def beats(self, other: Point) -> bool:
        """At least as accurate at no greater cost, and better in one of the two."""
        return bool(dominates(self.cost, self.ap, other.cost, other.ap))


def rungs(epochs: int, candidates: int, evaluated: Iterable[int]) -> list[tuple[int, int]]:
    """Epoch and number of candidates of each rung; the last one is the whole training.

    A rung has ``KEPT`` times the epochs of the one before and half its candidates. Rungs lie at
    ``evaluated`` epochs, the last of which is the training's, and there are as many as bring the candidates down to two, if the epochs allow.
    """
    if candidates < 1 or epochs < 1:
        raise BadInput(f"{candidates} candidates for {epochs} epochs: both must be at least 1")
    counts = [candidates]
    while counts[-1] > KEPT:
        counts.append(math.ceil(counts[-1] / KEPT))
    evaluated = sorted(evaluated)
    found: list[tuple[int, int]] = []
    for back, count in enumerate(reversed(counts)):
        at = [epoch for epoch in evaluated if epoch <= epochs / KEPT**back]
        if not at or (found and at[-1] >= found[-1][0]):
            break  # too few epochs for another rung: what is left starts at this one
        found.append((at[-1], count))
    found.reverse()
    return [(found[0][0], candidates), *found[1:]]


def promoted(points: Mapping[str, Point], count: int) -> list[str]:
    """Names of the ``count`` candidates that go on, in the order of ``points``."""
    chosen: list[str] = []
    left = dict(points)
    while left and len(chosen) < count:
        front = pareto(left)
        chosen += spread([(name, left[name]) for name in front], count - len(chosen))
        left = {name: point for name, point in left.items() if name not in front}
    return [name for name in points if name in chosen]


def pareto(points: Mapping[str, Point]) -> list[str]:
    """Names of the candidates that no other beats."""
    mask = pareto_mask([point.cost for point in points.values()], [point.ap for point in points.values()])
    return [name for name, good in zip(points, mask, strict=True) if good]


def spread(front: Sequence[tuple[str, Point]], count: int) -> list[str]:
    """Names of ``count`` candidates of a front: the most accurate one, then always the one farthest from those chosen."""
    if not front or count < 1:
        return []
    aps, costs = [point.ap for _, point in front], [math.log(point.cost) for _, point in front]
    wide, high = max(costs) - min(costs) or 1.0, max(aps) - min(aps) or 1.0
    places = {name: (math.log(point.cost) / wide, point.ap / high) for name, point in front}
    chosen = [max(front, key=lambda one: one[1].ap)[0]]
    while len(chosen) < min(count, len(front)):
        rest = [name for name in places if name not in chosen]
        chosen.append(max(rest, key=lambda name: min(math.dist(places[name], places[other]) for other in chosen)))
    return chosen


def spent_epochs(plan: Sequence[tuple[int, int]]) -> int:
    """Epochs that a plan of rungs trains in all, every candidate going on from where it was."""
    return sum(count * (epoch - before) for (epoch, count), before in zip(plan, [0, *(epoch for epoch, _ in plan)], strict=False))
