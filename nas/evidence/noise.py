"""How good a score could be at most: the noise of single training runs, and what a perfect score would reach against it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nas.evidence.rank import BINS, GroupedPairs, latency_bins, row_means
from nas.evidence.trained import TrainedDetectors
from nas.kendall import kendall

DEGREE = 3
"""Of the polynomial in ln(input side) that smooths one architecture's accuracies."""
DRAWS = 50
SEED = "_seed"
"""Stands in a column's name before the seed of a repeated training."""


@dataclass(frozen=True)
class Ceiling:
    """``deviation`` of one training run in mAP points; tau that the noise-free accuracy reaches against noisy ones, over all
    points and at equal latency (mean over devices), with the central 90 % of the draws. NaN where noise explains all differences.

    ``between_runs``: tau of one seed's accuracies with another's, mean over pairs of seeds; None where none is repeated.
    """

    deviation_points: float
    architectures: int
    tau: float
    equal_latency: float
    low: float
    high: float
    between_runs: float | None = None

    def to_json(self) -> dict[str, float | None]:
        """Plain data; None for what is not known."""
        return {name: None if value is None or np.isnan(value) else round(value, 5) for name, value in vars(self).items()}


def ceiling(
    points: TrainedDetectors, target: np.ndarray, devices: dict[str, np.ndarray], bins: int = BINS, seed: int = 0, draws: int = DRAWS
) -> Ceiling | None:
    """Estimate the ceiling from architectures trained at many input sizes; None where there are too few sizes.

    Accuracy rises smoothly with input size, training runs scatter about it: the residual of a cubic in ln(side) per
    architecture, with its degrees of freedom taken off, estimates the scatter of one run. An oracle knows the smooth
    value; new runs are simulated as smooth value plus Gaussian noise of that deviation, and the oracle is ranked against
    them. What an architecture owes to its seed at all sizes alike cannot be seen this way; runs differ in their seeds, so it should be little.
    """
    known = ~np.isnan(target)
    smooth = np.full(len(points), np.nan)
    squares, freedom, used = 0.0, 0, 0
    for arch in np.unique(points.arch[known]):
        rows = np.flatnonzero(known & (points.arch == arch))
        if len(rows) < DEGREE + 3:
            continue
        x = np.log(points.input_px[rows] / points.input_px[rows].mean())
        smooth[rows] = np.polyval(np.polyfit(x, target[rows], DEGREE), x)
        squares += float(((target[rows] - smooth[rows]) ** 2).sum())
        freedom += len(rows) - DEGREE - 1
        used += 1
    if not freedom:
        return None
    deviation = float(np.sqrt(squares / freedom))
    rows = np.flatnonzero(~np.isnan(smooth))
    return _reached(smooth[rows], np.full(len(rows), deviation), rows, devices, bins, seed, draws, Ceiling(100 * deviation, used, 0, 0, 0, 0))


def ceiling_of_repeats(
    points: TrainedDetectors, target: str, devices: dict[str, np.ndarray], bins: int = BINS, seed: int = 0, draws: int = DRAWS
) -> Ceiling | None:
    """The ceiling from trainings that were repeated with other seeds: columns ``TARGET_seed0``, ``TARGET_seed1`` ..., of which ``target``
    is the mean; None where there are none.

    The scatter of one run is that between the seeds of an architecture. The means scatter themselves, by less; what they
    differ by beyond that is taken for true, and the oracle knows the means drawn together by that share.
    """
    columns = [column for name, column in points.accuracy.items() if name.startswith(f"{target}{SEED}")]
    if len(columns) < 2:
        return None
    repeated = np.stack(columns, axis=1)
    known = ~np.isnan(repeated)
    count = known.sum(axis=1)
    rows = np.flatnonzero(count > 0)
    mean = np.where(known, repeated, 0.0).sum(axis=1)[rows] / count[rows]
    apart = np.where(known, repeated, 0.0)[rows] - np.where(known[rows], mean[:, None], 0.0)
    freedom = int((count[rows] - 1).sum())
    if not freedom:
        return None
    variance = float((apart**2).sum()) / freedom
    noise = variance / count[rows]
    spread = float(mean.var(ddof=1)) if len(mean) > 1 else 0.0
    true_share = max(0.0, 1 - float(noise.mean()) / spread) if spread > 0 else 0.0
    pairs = [_tau_of_both(one, other) for at, one in enumerate(columns) for other in columns[:at]]
    between = float(np.nanmean(pairs)) if not np.isnan(pairs).all() else None
    empty = Ceiling(100 * float(np.sqrt(variance)), int((count > 1).sum()), 0, 0, 0, 0, between)
    return _reached(mean.mean() + np.sqrt(true_share) * (mean - mean.mean()), np.sqrt(noise), rows, devices, bins, seed, draws, empty)


def _tau_of_both(one: np.ndarray, other: np.ndarray) -> float:
    both = ~(np.isnan(one) | np.isnan(other))
    return kendall(one[both], other[both])


def _reached(
    oracle: np.ndarray, deviation: np.ndarray, rows: np.ndarray, devices: dict[str, np.ndarray], bins: int, seed: int, draws: int, known: Ceiling
) -> Ceiling:  # fmt: skip
    """``known`` with what the ``oracle`` ``[rows]`` reaches against itself with fresh Gaussian noise of ``deviation`` ``[rows]``."""
    runs = oracle + deviation * np.random.default_rng(seed).standard_normal((draws, len(rows)))
    cuts = []
    for latency in devices.values():
        ms = latency[rows]
        timed = np.flatnonzero(~np.isnan(ms))
        cuts.append((timed, latency_bins(ms[timed], bins)))
    overall = np.array([kendall(oracle, run) for run in runs])
    equal = np.full(draws, np.nan)
    if cuts:
        each = [[float(GroupedPairs.of(oracle[timed], run[timed], group).mean_tau()[0]) for timed, group in cuts] for run in runs]
        equal = row_means(np.array(each))
    low, high = np.quantile(equal, [0.05, 0.95])
    return replace(known, tau=float(overall.mean()), equal_latency=float(equal.mean()), low=float(low), high=float(high))
