"""Does the teacher help? Student's t interval of the gain over seeds, and a rule that detects harm early.

``paired`` gives the gain: differences between two runs that share a seed. ``first_harmful_epoch`` is applied while
the runs are trained. It compares the taught runs with all runs without a teacher at the same epochs, so that the
variance of the latter shows in the first taught run already what chance alone does.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.errors import BadInput

CONFIDENCE = 0.95
HARM_LEVEL = 0.025
"""One-sided significance level of a single test for harm."""
HARMFUL_IN_A_ROW = 3
"""Number of consecutive tests that must be significant."""
HARM_FROM = 1 / 3
"""Tests start after this part of the epochs: at first the teacher's weight is still being determined."""
MIN_HARM = 0.005
"""AP by which the taught runs must be behind, whatever the variance."""

Curve = Mapping[int, float]
"""AP (0 to 1) by the number of the epoch after which it was measured."""


@dataclass(frozen=True, slots=True)
class Gain:
    """What the teacher added, in AP (0 to 1), one difference a seed."""

    differences: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.differences or not all(math.isfinite(difference) for difference in self.differences):
            raise BadInput(f"gains {list(self.differences)}: there must be at least one, and finite numbers")

    @property
    def mean(self) -> float:
        """The gain."""
        return statistics.fmean(self.differences)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's t interval of the mean at ``CONFIDENCE``; None for a single seed."""
        return t_interval(self.differences)

    @property
    def verdict(self) -> str:
        """``helps`` or ``harms`` where the interval excludes 0, else ``open``."""
        interval = self.interval
        if interval is None:
            return "open"
        return "helps" if interval[0] > 0 else "harms" if interval[1] < 0 else "open"

    def __str__(self) -> str:
        text = f"gain {signed(self.mean)} AP"
        if self.interval is None:
            return f"{text} (1 seed)"
        low, high = self.interval
        seeds = len(self.differences)
        return f"{text}, {100 * CONFIDENCE:.0f} % interval {signed(low)} to {signed(high)} ({seeds} seeds, paired)"


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's t interval of the mean of ``values`` at ``CONFIDENCE``; None for a single one."""
    n = len(values)
    if n < 2:
        return None
    mean = statistics.fmean(values)
    half = t_quantile(0.5 + CONFIDENCE / 2, n - 1) * statistics.stdev(values) / math.sqrt(n)
    return mean - half, mean + half


def signed(value: float) -> str:
    """A difference in AP with its sign."""
    return f"{value:+.4f}"


def paired(control: Mapping[int, float], taught: Mapping[int, float]) -> Gain:
    """The gain from final APs by seed; a seed that has only one of the two is ignored."""
    shared = sorted(set(control) & set(taught))
    if not shared:
        raise BadInput("no seed was trained both with and without the teacher: there is no gain to state")
    return Gain(tuple(taught[seed] - control[seed] for seed in shared))


def harm_test_epochs(evaluated: Sequence[int], epochs: int) -> list[int]:
    """The epochs among the ``evaluated`` ones at which harm is tested."""
    return [epoch for epoch in sorted(evaluated) if epoch > HARM_FROM * epochs]


def lag_lower_bound(control: Sequence[float], taught: Sequence[float]) -> float | None:
    """Lower confidence bound (1 - ``HARM_LEVEL``) of the AP by which taught runs are behind.

    Student's t with pooled variance of both samples. None for fewer than three runs, or without a run on either side.
    """
    n, m = len(control), len(taught)
    if min(n, m) < 1 or n + m < 3:
        return None
    squares = sum(sum((ap - statistics.fmean(sample)) ** 2 for ap in sample) for sample in (control, taught))
    error = math.sqrt(squares / (n + m - 2) * (1 / n + 1 / m))
    lag = statistics.fmean(control) - statistics.fmean(taught)
    return lag - t_quantile(1 - HARM_LEVEL, n + m - 2) * error


def first_harmful_epoch(control: Sequence[Curve], taught: Sequence[Curve], epochs: int) -> int | None:
    """The epoch at which the last of the ``taught`` runs is known to be harmed, or None.

    Each test compares all curves that have reached its epoch. Harm is found when at ``HARMFUL_IN_A_ROW`` consecutive
    tests the taught runs are behind by more than 0 with confidence 1 - ``HARM_LEVEL``, and by ``MIN_HARM`` in the
    mean.
    """
    in_a_row = 0
    for epoch in harm_test_epochs(list(taught[-1]) if taught else [], epochs):
        control_aps, taught_aps = ([curve[epoch] for curve in curves if epoch in curve] for curves in (control, taught))
        bound = lag_lower_bound(control_aps, taught_aps)
        harmful = (
            bound is not None and bound > 0
            and statistics.fmean(control_aps) - statistics.fmean(taught_aps) >= MIN_HARM
        )  # fmt: skip
        in_a_row = in_a_row + 1 if harmful else 0
        if in_a_row == HARMFUL_IN_A_ROW:
            return epoch
    return None


@functools.cache
def t_quantile(probability: float, degrees_of_freedom: int) -> float:
    """The quantile of Student's t distribution."""
    from scipy.stats import t  # type: ignore[import-untyped]

    return float(t.ppf(probability, degrees_of_freedom))
