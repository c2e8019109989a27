"""How accurately one score ranks trained detectors: tau, regret and front share, each with a bootstrap interval.

Intervals are 90 % percentile intervals over resampled *architectures*: one architecture at eleven input sizes is not
eleven independent observations, so its points are resampled together. Latency bins stay those of all points. All scores
see the same resamples, so differences between two of them are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.evidence.columns import ScoreColumn
from nas.evidence.statistics.rank import MIN_POINTS, GroupedPairs, Pairs, bins_of, latency_bins, nan_row_means, spearman
from nas.evidence.statistics.regret import front_share, regret
from nas.evidence.trained import TrainedDetectors
from workbench.errors import BadInput

DRAWS = 1000
LEVEL = 0.9
TOP = 5
"""Number of points per latency bin that a score may select when its share of the true front is computed."""


@dataclass(frozen=True)
class Estimate:
    """A statistic with its interval (NaN if it is undefined) and the bootstrap values behind the interval."""

    value: float
    low: float
    high: float
    draws: np.ndarray

    @staticmethod
    def of(value: float, draws: np.ndarray) -> Estimate:
        """The percentile interval of ``draws``, NaN left out."""
        known = draws[~np.isnan(draws)]
        tail = (1 - LEVEL) / 2
        low, high = np.quantile(known, [tail, 1 - tail]) if len(known) else (np.nan, np.nan)
        return Estimate(float(value), float(low), float(high), draws)

    def to_dict(self) -> dict[str, float | None]:
        """JSON-ready: value and ends of the interval; None for NaN."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {key: None if np.isnan(number) else round(float(number), 5) for key, number in numbers.items()}


@dataclass(frozen=True)
class BenchmarkOptions:
    """How scores are compared: latency bins per device, bootstrap resamples, their seed, points that make a family."""

    bins: int | None = None
    """None: by the number of points with accuracy and latency (``bins_of``), device by device."""
    draws: int = DRAWS
    seed: int = 0
    family_min_points: int = MIN_POINTS

    def bins_by_device(self, target: np.ndarray, devices: Mapping[str, np.ndarray]) -> dict[str, int]:
        """Bins of every device; ``target`` and latencies ``[n]``."""
        return {name: self.bins or bins_of(latency, target) for name, latency in devices.items()}


@dataclass(frozen=True)
class ScoreAccuracy:
    """How accurately one score ranks.

    ``equal_latency``, ``regret_points`` (mAP points) and ``front_share`` are means over devices.
    """

    name: str
    points: int
    architectures: int
    tau: Estimate
    spearman: float
    fixed_size: Estimate
    in_family: Estimate
    by_family: dict[str, Estimate]
    equal_latency: Estimate
    equal_latency_by_device: dict[str, Estimate]
    regret_points: Estimate
    front_share: Estimate
    failures: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; None for NaN."""
        fields = ("tau", "fixed_size", "in_family", "equal_latency", "regret_points", "front_share")
        return {
            "score": self.name,
            "points": self.points,
            "architectures": self.architectures,
            "spearman": None if np.isnan(self.spearman) else round(self.spearman, 5),
            **{name: getattr(self, name).to_dict() for name in fields},
            "equal_latency_by_device": {name: tau.to_dict() for name, tau in self.equal_latency_by_device.items()},
            "by_family": {name: tau.to_dict() for name, tau in self.by_family.items()},
            "failures": self.failures,
        }


def score_accuracy(
    points: TrainedDetectors,
    column: ScoreColumn,
    target: np.ndarray,
    devices: Mapping[str, np.ndarray],
    options: BenchmarkOptions | None = None,
) -> ScoreAccuracy:
    """Rank one score against ``target`` ``[n]`` (fractions) and the latencies ``[n]`` (ms) of each device.

    Points without a target, or without a value of the score, are left out; the result has the number of the others.
    """
    options = options or BenchmarkOptions()
    known = ~np.isnan(target) & np.isfinite(column.values)
    if known.sum() < 2:
        common = f"score {column.name!r} and the accuracies have {int(known.sum())} points in common"
        raise BadInput(f"{common}: at least two are needed")
    score, truth, part = column.values[known], target[known], points.part(known)
    weight = bootstrap_weights(points.arch, options.draws, options.seed)[:, known]
    pairs = Pairs.of(score, truth, part.arch)
    by_size = GroupedPairs.of(score, truth, part.input_px, part.arch)
    by_family = GroupedPairs.of(score, truth, part.family, part.arch)
    least = options.family_min_points
    families = [
        _estimate(lambda w, at=at: by_family.taus(w, least)[:, at], weight)  # type: ignore[misc]
        for at in range(len(by_family.rows))
    ]
    bins = options.bins_by_device(target, devices)
    at_devices = {
        name: _on_device(score, truth, part.arch, latency[known], weight, bins[name])
        for name, latency in devices.items()
    }
    taus = {name: estimates[0] for name, estimates in at_devices.items()}
    return ScoreAccuracy(
        name=column.name,
        points=int(known.sum()),
        architectures=len(set(part.arch)),
        tau=_estimate(pairs.tau, weight),
        spearman=spearman(score, truth),
        fixed_size=_estimate(by_size.mean_tau, weight),
        in_family=_estimate(lambda w: by_family.mean_tau(w, least), weight),
        by_family={str(name): tau for name, tau in zip(np.unique(part.family), families, strict=True)},
        equal_latency=_mean(list(taus.values())),
        equal_latency_by_device=taus,
        regret_points=_mean([estimates[1] for estimates in at_devices.values()], 100.0),
        front_share=_mean([estimates[2] for estimates in at_devices.values()]),
        failures=column.failures,
    )


def _on_device(
    score: np.ndarray, truth: np.ndarray, arch: np.ndarray, ms: np.ndarray, weight: np.ndarray, bins: int
) -> tuple[Estimate, Estimate, Estimate]:
    """Tau at equal latency, regret and front share on one device, over the points with a latency."""
    timed = ~np.isnan(ms)
    score, truth, ms, weight = score[timed], truth[timed], ms[timed], weight[:, timed]
    group = latency_bins(ms, bins)
    grouped = GroupedPairs.of(score, truth, group, arch[timed])
    return (
        _estimate(grouped.mean_tau, weight),
        _estimate(lambda w: regret(score, truth, group, w), weight),
        _estimate(lambda w: front_share(score, truth, ms, group, TOP, w), weight),
    )


def lead(first: ScoreAccuracy, second: ScoreAccuracy) -> Estimate:
    """Tau at equal latency of ``first`` minus that of ``second``, paired over the same resamples."""
    a, b = first.equal_latency, second.equal_latency
    return Estimate.of(a.value - b.value, a.draws - b.draws)


def bootstrap_weights(arch: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """How often each point ``[n]`` counts in each resample of architectures with replacement, ``[draws, n]``."""
    names, place = np.unique(arch, return_inverse=True)
    counts = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    return np.asarray(counts[:, place.reshape(-1)], dtype=float)


def _estimate(statistic: Callable[[np.ndarray], np.ndarray], weight: np.ndarray) -> Estimate:
    value = statistic(np.ones((1, weight.shape[1])))
    return Estimate.of(float(value[0]), statistic(weight))


def _mean(estimates: Sequence[Estimate], scale: float = 1.0) -> Estimate:
    """Mean over devices, resample by resample; NaN without devices."""
    if not estimates:
        return Estimate.of(float("nan"), np.zeros(0))
    values = nan_row_means(np.array([[estimate.value for estimate in estimates]]))
    draws = nan_row_means(np.stack([estimate.draws for estimate in estimates], axis=1))
    return Estimate.of(scale * float(values[0]), scale * draws)
