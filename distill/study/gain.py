"""Does the teacher help? Student's t on seeds that were trained with and without it, and a rule that notices harm early.

``gain`` is the answer: differences between two runs that share a seed, their mean and its interval. ``harm`` looks while
the runs go on. It compares the taught runs with all the runs without a teacher at the same epochs, so that the
spread of the latter tells already in the first taught run what chance alone does.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.errors import BadInput

CONFIDENCE = 0.95
ALARM = 0.025
"""One-sided level of a single look of ``harm``."""
IN_A_ROW = 3
"""So many looks one after another must agree before harm is called."""
FROM_SHARE = 1 / 3
"""Looks begin after this part of the epochs: a student starts behind where its teacher's weight is still being found."""
LEAST_HARM = 0.005
"""AP by which the taught runs must be behind: less is nothing to stop for, whatever the spread."""

Curve = Mapping[int, float]
"""AP (0 to 1) by the number of the epoch after which it was measured."""


@dataclass(frozen=True, slots=True)
class Gain:
    """What the teacher added, in AP (0 to 1), a difference a seed."""

    differences: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.differences or not all(math.isfinite(one) for one in self.differences):
            raise BadInput(f"gains {list(self.differences)}: there must be at least one, and finite numbers")

    @property
    def mean(self) -> float:
        """The gain."""
        return statistics.fmean(self.differences)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's t interval of the mean at ``CONFIDENCE``; None of a single seed, which says nothing of chance."""
        n = len(self.differences)
        if n < 2:
            return None
        half = t_quantile(0.5 + CONFIDENCE / 2, n - 1) * statistics.stdev(self.differences) / math.sqrt(n)
        return self.mean - half, self.mean + half

    @property
    def verdict(self) -> str:
        """``helps`` or ``harms`` where the interval lies on one side of 0, else ``open``."""
        interval = self.interval
        if interval is None:
            return "open"
        return "helps" if interval[0] > 0 else "harms" if interval[1] < 0 else "open"


def paired(control: Mapping[int, float], taught: Mapping[int, float]) -> Gain:
    """The gain from final APs by seed; a seed that has only one of the two does not count."""
    shared = sorted(set(control) & set(taught))
    if not shared:
        raise BadInput("no seed was trained both with and without the teacher: there is no gain to state")
    return Gain(tuple(taught[seed] - control[seed] for seed in shared))


def looks(evaluated: Sequence[int], epochs: int) -> list[int]:
    """The epochs among the ``evaluated`` ones at which ``harm`` is looked for."""
    return [epoch for epoch in sorted(evaluated) if epoch > FROM_SHARE * epochs]


def behind(control: Sequence[float], taught: Sequence[float]) -> float | None:
    """By how much AP the taught runs are behind at least, with confidence 1 - ``ALARM``; None where nothing can be said.

    Both samples are taken to spread alike, and their pooled variance is Student's. It takes two runs of either side.
    """
    n, m = len(control), len(taught)
    if min(n, m) < 1 or n + m < 3:
        return None
    squares = sum((one - statistics.fmean(control)) ** 2 for one in control) + sum((one - statistics.fmean(taught)) ** 2 for one in taught)
    spread = math.sqrt(squares / (n + m - 2) * (1 / n + 1 / m))
    lag = statistics.fmean(control) - statistics.fmean(taught)
    return lag - t_quantile(1 - ALARM, n + m - 2) * spread


def harm(control: Sequence[Curve], taught: Sequence[Curve], epochs: int) -> int | None:
    """The epoch at which the last of the ``taught`` runs is known to do harm, or None.

    Each look compares all curves that have reached its epoch. Harm is called when at ``IN_A_ROW`` looks one after another
    the taught runs are behind by more than 0 with confidence 1 - ``ALARM`` each, and by ``LEAST_HARM`` in the mean.
    """
    row = 0
    for epoch in looks(list(taught[-1]) if taught else [], epochs):
        ours, theirs = ([curve[epoch] for curve in curves if epoch in curve] for curves in (control, taught))
        least = behind(ours, theirs)
        worse = least is not None and least > 0 and statistics.fmean(ours) - statistics.fmean(theirs) >= LEAST_HARM
        row = row + 1 if worse else 0
        if row == IN_A_ROW:
            return epoch
    return None


@functools.cache
def t_quantile(share: float, freedom: int) -> float:
    """The quantile of Student's t distribution."""
    from scipy.stats import t  # type: ignore[import-untyped]

    return float(t.ppf(share, freedom))
