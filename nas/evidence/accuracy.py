"""Scores on trial: how well each one orders detectors that were trained, how sure that is, and what trusting it costs.

Intervals are 90 % percentile intervals over bootstrap draws of *architectures*: one architecture at eleven input
sizes is not eleven independent witnesses, so its points are drawn together. Latency bins stay those of all points.
All scores see the same draws, so differences between two of them are paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.evidence.columns import ScoreColumn
from nas.evidence.rank import BINS, LEAST, GroupedPairs, Pairs, latency_bins, row_means, spearman
from nas.evidence.regret import front_share, regret
from nas.evidence.trained import TrainedDetectors
from workbench.errors import BadInput

DRAWS = 1000
LEVEL = 0.9
TOP = 5
"""How many of each latency bin's points a score may name when the true front is looked for."""


@dataclass(frozen=True)
class Figure:
    """A number with its interval (NaN where it cannot be had) and the draws that the interval came from."""

    value: float
    low: float
    high: float
    draws: np.ndarray

    @staticmethod
    def of(value: float, draws: np.ndarray) -> Figure:
        """``draws`` may hold NaN, which are left out."""
        known = draws[~np.isnan(draws)]
        tail = (1 - LEVEL) / 2
        low, high = np.quantile(known, [tail, 1 - tail]) if len(known) else (np.nan, np.nan)
        return Figure(float(value), float(low), float(high), draws)

    def to_json(self) -> dict[str, float | None]:
        """Value and ends of the interval; None for NaN."""
        return {key: None if np.isnan(v) else round(float(v), 5) for key, v in (("value", self.value), ("low", self.low), ("high", self.high))}


@dataclass(frozen=True)
class ScoreAccuracy:
    """What one score is worth. ``equal_latency``, ``regret_points`` (mAP points) and ``front_share`` are means over devices."""

    name: str
    points: int
    architectures: int
    tau: Figure
    spearman: float
    fixed_size: Figure
    in_family: Figure
    by_family: dict[str, Figure]
    equal_latency: Figure
    equal_latency_by_device: dict[str, Figure]
    regret_points: Figure
    front_share: Figure
    failures: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain data; None for what is not known."""
        plain = {name: getattr(self, name).to_json() for name in ("tau", "fixed_size", "in_family", "equal_latency", "regret_points", "front_share")}
        rho = None if np.isnan(self.spearman) else round(self.spearman, 5)
        devices = {name: figure.to_json() for name, figure in self.equal_latency_by_device.items()}
        families = {name: figure.to_json() for name, figure in self.by_family.items()}
        return {
            "score": self.name, "points": self.points, "architectures": self.architectures, "spearman": rho, **plain,
            "equal_latency_by_device": devices, "by_family": families, "failures": self.failures,
        }  # fmt: skip


def score_accuracy(
    points: TrainedDetectors, column: ScoreColumn, target: np.ndarray, devices: dict[str, np.ndarray], bins: int = BINS, draws: int = DRAWS, seed: int = 0,
    family_least: int = LEAST,
) -> ScoreAccuracy:  # fmt: skip
    """Put one score on trial against ``target`` ``[n]`` (fractions) and latencies ``[n]`` (ms) by device.

    Points without a target, or that the score refused, take no part; the verdict says how many are left.
    ``family_least``: points that make a family.
    """
    known = ~np.isnan(target) & np.isfinite(column.values)
    if known.sum() < 2:
        raise BadInput(f"score {column.name!r} and the accuracies have {int(known.sum())} points in common: two are needed at least")
    score, truth, part = column.values[known], target[known], points.part(known)
    weight = resampled(points.arch, draws, seed)[:, known]
    pairs = Pairs.of(score, truth, part.arch)
    by_size = GroupedPairs.of(score, truth, part.input_px, part.arch)
    by_family = GroupedPairs.of(score, truth, part.family, part.arch)
    families = [_figure(lambda w, at=at: by_family.taus(w, family_least)[:, at], weight) for at in range(len(by_family.rows))]
    device_tau, regrets, shares = {}, [], []
    for name, latency in devices.items():
        ms = latency[known]
        timed = ~np.isnan(ms)
        group = latency_bins(ms[timed], bins)
        grouped = GroupedPairs.of(score[timed], truth[timed], group, part.arch[timed])
        device_tau[name] = _figure(lambda w, g=grouped: g.mean_tau(w), weight[:, timed])
        regrets.append(_figure(lambda w, t=timed, g=group: regret(score[t], truth[t], g, w), weight[:, timed]))
        shares.append(_figure(lambda w, t=timed, g=group, m=ms[timed]: front_share(score[t], truth[t], m, g, TOP, w), weight[:, timed]))
    return ScoreAccuracy(
        column.name, int(known.sum()), len(set(part.arch)), _figure(pairs.tau, weight), spearman(score, truth),
        _figure(by_size.mean_tau, weight), _figure(lambda w: by_family.mean_tau(w, family_least), weight),
        {str(name): figure for name, figure in zip(np.unique(part.family), families, strict=True)}, _mean(list(device_tau.values())), device_tau,
        _mean(regrets, 100.0), _mean(shares), column.failures,
    )  # fmt: skip


def lead(one: ScoreAccuracy, other: ScoreAccuracy) -> Figure:
    """By how much ``one`` is ahead of ``other`` in tau at equal latency, over the same draws."""
    a, b = one.equal_latency, other.equal_latency
    return Figure.of(a.value - b.value, a.draws - b.draws)


def resampled(arch: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """How often each point ``[n]`` counts in each draw of architectures with replacement, ``[draws, n]``."""
    names, place = np.unique(arch, return_inverse=True)
    counts = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    return np.asarray(counts[:, place.reshape(-1)], dtype=float)


def _figure(statistic: Any, weight: np.ndarray) -> Figure:
    once = statistic(np.ones((1, weight.shape[1])))
    return Figure.of(float(once[0]), statistic(weight))


def _mean(figures: Sequence[Figure], scale: float = 1.0) -> Figure:
    """Mean over devices, draw by draw; NaN without devices."""
    if not figures:
        return Figure.of(float("nan"), np.zeros(0))
    values = row_means(np.array([[figure.value for figure in figures]]))
    return Figure.of(scale * float(values[0]), scale * row_means(np.stack([figure.draws for figure in figures], axis=1)))
