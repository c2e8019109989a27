"""Groups of related families left out of the fit: predictions, the choice among designs, and the interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from nas.evidence.forecast.evidence import COCO, Evidence
from nas.evidence.forecast.mixed import Whitened

QUANTILES = (0.05, 0.95)
"""Of truth minus forecast on what was left out: the ends of the 90 % interval."""


@dataclass(frozen=True)
class LeftOut:
    """Every point predicted by a fit that has not seen its group, all ``[n]``.

    ``score``: on the scale of COCO. ``own``: on the source's own scale, with the recipe. ``pairs`` holds both for the
    fit that has seen neither of two groups, by the groups' names: what compares two networks fairly, since predictions
    of different fits also differ by what the fits do.
    """

    score: np.ndarray
    own: np.ndarray
    pairs: Mapping[frozenset[str], tuple[np.ndarray, np.ndarray]]

    def interval(self, evidence: Evidence, part: np.ndarray) -> tuple[float, float]:
        """Quantiles of truth minus forecast over the COCO points of ``part``."""
        rows = part & (evidence.source == COCO)
        low, high = np.quantile((evidence.y - self.own)[rows], QUANTILES)
        return float(low), float(high)

    def signs(self, evidence: Evidence, rows: np.ndarray, recipes: bool) -> np.ndarray:
        """Sign of value i minus value j for the points ``rows``, ``[rows, rows]``, each pair by its own fit."""
        groups = evidence.group[rows]
        found = np.zeros((len(rows), len(rows)))
        names = np.unique(groups).tolist()
        for at, first in enumerate(names):
            for second in names[at:]:
                values = self.pairs[frozenset((first, second))][int(recipes)][rows]
                a, b = np.flatnonzero(groups == first), np.flatnonzero(groups == second)
                block = np.sign(values[a][:, None] - values[b][None, :])
                found[np.ix_(a, b)] = block
                found[np.ix_(b, a)] = -block.T
        return found


def leave_groups_out(problem: Whitened, without: str | None = None) -> LeftOut:
    """Refit without each group and without each two; ``without`` one group in any case."""
    evidence = problem.evidence
    groups = sorted(set(evidence.group.tolist()) - {without})
    score, own = np.full(len(evidence), np.nan), np.full(len(evidence), np.nan)
    pairs = {}
    for at, first in enumerate(groups):
        for second in groups[at:]:
            fit = problem.fit(set(groups) - {first, second})
            values = fit.score(problem.columns), fit.predict(evidence, problem.columns)
            pairs[frozenset((first, second))] = values
            if first == second:
                out = evidence.group == first
                score[out], own[out] = values[0][out], values[1][out]
    return LeftOut(score, own, pairs)


@dataclass(frozen=True)
class Nested:
    """Designs chosen without the group that is judged.

    ``covered``: whether the truth lay inside the interval that the other groups gave, for COCO points, NaN for others
    ``[n]``. ``chosen``: design by group. ``predicted``: of the chosen ones; a pair of groups is compared by the design
    that the first of them got.
    """

    predicted: LeftOut
    covered: np.ndarray
    chosen: dict[str, str]


def nested(problems: Mapping[str, Whitened], merit: Callable[[LeftOut, np.ndarray], float]) -> Nested:
    """Choose the design of greatest ``merit(left out, part)`` anew without every group, and predict that group."""
    evidence = next(iter(problems.values())).evidence
    score, own, covered = (np.full(len(evidence), np.nan) for _ in range(3))
    groups = sorted(set(evidence.group.tolist()))
    chosen: dict[str, str] = {}
    for group in groups:
        out = evidence.group == group
        inner = {name: leave_groups_out(problem, group) for name, problem in problems.items()}
        chosen[group] = best = max(inner, key=lambda name: merit(inner[name], ~out))
        fit, columns = problems[best].fit(set(groups) - {group}), problems[best].columns
        score[out], own[out] = fit.score(columns)[out], fit.predict(evidence, columns)[out]
        low, high = inner[best].interval(evidence, ~out)
        rows = out & (evidence.source == COCO)
        gap = evidence.y[rows] - own[rows]
        covered[rows] = (gap >= low) & (gap <= high)
    pairs = {}
    for at, first in enumerate(groups):
        for second in groups[at:]:
            problem = problems[chosen[first]]
            fit = problem.fit(set(groups) - {first, second})
            pairs[frozenset((first, second))] = fit.score(problem.columns), fit.predict(evidence, problem.columns)
    return Nested(LeftOut(score, own, pairs), covered, chosen)
