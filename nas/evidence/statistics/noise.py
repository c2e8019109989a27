"""The noise ceiling: how much the AP of single training runs scatters, and what tau a perfect score would reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from nas.detectors.entry import SEED_SUFFIX
from nas.evidence.statistics.rank import GroupedPairs, bins_of, latency_bins, nan_row_means
from nas.evidence.trained import TrainedDetectors
from nas.kendall import kendall

DEGREE = 3
"""Degree of the polynomial in ln(input side) that smooths one architecture's accuracies."""
DRAWS = 50
"""Default number of simulated sets of training runs."""


@dataclass(frozen=True)
class NoiseCeiling:
    """Noise of one training run and the tau that it leaves to reach; NaN where noise explains all differences.

    ``deviation_points`` is the standard deviation of one run in mAP points. ``tau`` (all points) and ``equal_latency``
    (mean over devices, with the central 90 % ``low`` to ``high``) are what the noise-free accuracy reaches against
    noisy ones. ``between_runs`` is the tau of one seed's accuracies with another's, None if no training was repeated.
    """

    deviation_points: float
    architectures: int
    tau: float
    equal_latency: float
    low: float
    high: float
    between_runs: float | None = None

    def to_dict(self) -> dict[str, float | None]:
        """JSON-ready; None for NaN."""
        return {
            name: None if value is None or np.isnan(value) else round(value, 5) for name, value in vars(self).items()
        }

    def __str__(self) -> str:
        repeated = ""
        if self.between_runs is not None:
            repeated = f" The rankings of two seeds agree with tau {self.between_runs:.2f}."
        scatter = f"Noise: one training run scatters by about {self.deviation_points:.2f} mAP points"
        if np.isnan(self.tau):
            return f"{scatter}, no less than the architectures differ: these accuracies cannot rank scores.{repeated}"
        return (
            f"{scatter}, so a perfect score would reach tau {self.equal_latency:.2f} at equal latency "
            f"and {self.tau:.2f} over all points.{repeated}"
        )


@dataclass(frozen=True)
class NoiseOptions:
    """Latency bins per device, and the seed and number of simulated sets of runs."""

    bins: int | None = None
    """None: by the number of points (``bins_of``)."""
    seed: int = 0
    draws: int = DRAWS


def noise_ceiling(
    points: TrainedDetectors,
    target: np.ndarray,
    devices: Mapping[str, np.ndarray],
    options: NoiseOptions | None = None,
) -> NoiseCeiling | None:
    """Estimate the ceiling from architectures trained at many input sizes; None if there are too few sizes.

    Accuracy rises smoothly with the input size, and training runs scatter about it. The residual of a cubic in ln(side)
    per architecture, corrected for its degrees of freedom, estimates the deviation of one run. The oracle knows the
    smooth values; new runs are simulated as smooth value plus Gaussian noise, and the oracle is ranked against them.
    What an architecture owes to its seed at all sizes alike is not seen this way; runs differ in their seeds, so it
    should be little.
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
    oracle = _Oracle(smooth[rows], np.full(len(rows), deviation), rows)
    return oracle.ceiling(devices, options or NoiseOptions(), NoiseCeiling(100 * deviation, used, 0, 0, 0, 0))


def repeated_runs_ceiling(
    points: TrainedDetectors, target: str, devices: Mapping[str, np.ndarray], options: NoiseOptions | None = None
) -> NoiseCeiling | None:
    """Estimate the ceiling from trainings that were repeated with other seeds; None if there are none.

    The repeats are the columns ``TARGET_seed0``, ``TARGET_seed1`` ..., of which ``target`` is the mean. The deviation
    of one run is that between the seeds of an architecture. The means scatter too, by less; what they differ by beyond
    that is taken as true, and the oracle knows the means shrunk towards each other by that share.
    """
    columns = [column for name, column in points.accuracy.items() if name.startswith(f"{target}{SEED_SUFFIX}")]
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
    taus = [_tau_of_known(first, second) for at, first in enumerate(columns) for second in columns[:at]]
    between = float(np.nanmean(taus)) if not np.isnan(taus).all() else None
    estimate = NoiseCeiling(100 * float(np.sqrt(variance)), int((count > 1).sum()), 0, 0, 0, 0, between)
    oracle = _Oracle(mean.mean() + np.sqrt(true_share) * (mean - mean.mean()), np.sqrt(noise), rows)
    return oracle.ceiling(devices, options or NoiseOptions(), estimate)


def _tau_of_known(first: np.ndarray, second: np.ndarray) -> float:
    known = ~(np.isnan(first) | np.isnan(second))
    return kendall(first[known], second[known])


@dataclass(frozen=True)
class _Oracle:
    """Noise-free accuracies and the deviation of a run, both ``[rows]``, with the indices of their points."""

    values: np.ndarray
    deviation: np.ndarray
    rows: np.ndarray

    def ceiling(
        self, devices: Mapping[str, np.ndarray], options: NoiseOptions, estimate: NoiseCeiling
    ) -> NoiseCeiling:
        """``estimate`` with the taus that the oracle reaches against itself with fresh Gaussian noise."""
        shape = (options.draws, len(self.rows))
        runs = self.values + self.deviation * np.random.default_rng(options.seed).standard_normal(shape)
        bins_of_devices = []
        for latency in devices.values():
            ms = latency[self.rows]
            timed = np.flatnonzero(~np.isnan(ms))
            bins_of_devices.append((timed, latency_bins(ms[timed], options.bins or bins_of(ms))))
        overall = np.array([kendall(self.values, run) for run in runs])
        equal = np.full(options.draws, np.nan)
        if bins_of_devices:
            taus = [[self._grouped_tau(run, timed, group) for timed, group in bins_of_devices] for run in runs]
            equal = nan_row_means(np.array(taus))
        low, high = np.quantile(equal, [0.05, 0.95])
        tau, equal_latency = float(overall.mean()), float(equal.mean())
        return replace(estimate, tau=tau, equal_latency=equal_latency, low=float(low), high=float(high))

    def _grouped_tau(self, run: np.ndarray, timed: np.ndarray, group: np.ndarray) -> float:
        return float(GroupedPairs.of(self.values[timed], run[timed], group).mean_tau()[0])
