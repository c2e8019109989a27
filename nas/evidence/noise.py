"""How good a score could be at most: the noise of single training runs, and what a perfect score would reach against it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nas.evidence.rank import BINS, GroupedPairs, latency_bins, row_means, tau
from nas.evidence.read import Trained

DEGREE = 3
"""Of the polynomial in ln(input side) that smooths one architecture's accuracies."""
DRAWS = 50


@dataclass(frozen=True)
class Ceiling:
    """``deviation`` of one training run in mAP points; tau that the noise-free accuracy reaches against noisy ones, over all
    points and at equal latency (mean over devices), with the central 90 % of the draws."""

    deviation_points: float
    architectures: int
    tau: float
    equal_latency: float
    low: float
    high: float


def ceiling(
    points: Trained, target: np.ndarray, devices: dict[str, np.ndarray], bins: int = BINS, seed: int = 0, draws: int = DRAWS
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
    oracle = smooth[rows]
    runs = oracle + deviation * np.random.default_rng(seed).standard_normal((draws, len(rows)))
    cuts = []
    for latency in devices.values():
        ms = latency[rows]
        timed = np.flatnonzero(~np.isnan(ms))
        cuts.append((timed, latency_bins(ms[timed], bins)))
    overall = np.array([tau(oracle, run) for run in runs])
    equal = np.full(draws, np.nan)
    if cuts:
        each = [[float(GroupedPairs.of(oracle[timed], run[timed], group).mean_tau()[0]) for timed, group in cuts] for run in runs]
        equal = row_means(np.array(each))
    low, high = np.quantile(equal, [0.05, 0.95])
    return Ceiling(100 * deviation, used, float(overall.mean()), float(equal.mean()), float(low), float(high))
