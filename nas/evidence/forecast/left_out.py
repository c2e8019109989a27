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

    ``score``: on the scale of COCO. ``own``: on the source's own scale, with the recipe.
    """

    score: np.ndarray
    own: np.ndarray

    def interval(self, evidence: Evidence, part: np.ndarray) -> tuple[float, float]:
        """Quantiles of truth minus forecast over the COCO points of ``part``."""
        rows = part & (evidence.source == COCO)
        low, high = np.quantile((evidence.y - self.own)[rows], QUANTILES)
        return float(low), float(high)


def leave_groups_out(problem: Whitened, within: np.ndarray | None = None) -> LeftOut:
    """Refit without each group in turn; ``within`` limits all of it to a part ``[n]`` of the points."""
    evidence = problem.evidence
    part = np.ones(len(evidence), dtype=bool) if within is None else within
    score, own = np.full(len(evidence), np.nan), np.full(len(evidence), np.nan)
    for group in np.unique(evidence.group[part]):
        out = part & (evidence.group == group)
        fit = problem.fit(set(evidence.group[part & ~out].tolist()))
        score[out], own[out] = fit.score(evidence)[out], fit.predict(evidence)[out]
    return LeftOut(score, own)


@dataclass(frozen=True)
class Nested:
    """Predictions of designs chosen without the group that is judged.

    ``predicted``: of the chosen ones. ``covered``: whether the truth lay inside the interval that the other groups
    gave, for COCO points, NaN for others ``[n]``. ``chosen``: design by group.
    """

    predicted: LeftOut
    covered: np.ndarray
    chosen: dict[str, str]


def nested(problems: Mapping[str, Whitened], merit: Callable[[LeftOut, np.ndarray], float]) -> Nested:
    """Choose the design of greatest ``merit(left out, part)`` anew without every group, and predict that group."""
    evidence = next(iter(problems.values())).evidence
    score, own, covered = (np.full(len(evidence), np.nan) for _ in range(3))
    chosen: dict[str, str] = {}
    for group in np.unique(evidence.group).tolist():
        out = evidence.group == group
        inner = {name: leave_groups_out(problem, ~out) for name, problem in problems.items()}
        chosen[group] = best = max(inner, key=lambda name: merit(inner[name], ~out))
        fit = problems[best].fit(set(evidence.group[~out].tolist()))
        score[out], own[out] = fit.score(evidence)[out], fit.predict(evidence)[out]
        low, high = inner[best].interval(evidence, ~out)
        rows = out & (evidence.source == COCO)
        gap = evidence.y[rows] - own[rows]
        covered[rows] = (gap >= low) & (gap <= high)
    return Nested(LeftOut(score, own), covered, chosen)
