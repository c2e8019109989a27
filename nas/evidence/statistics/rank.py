"""Rank correlation of a score with a target: Spearman's rho, and Kendall's tau-b over all points or within groups.

All functions take arrays of points ``[n]``. A *weight* ``[draws, n]`` says how often each point counts in each
bootstrap resample. Points of one cluster (an architecture at several input sizes) are resampled together. Copies of a
cluster are never compared with each other: they would agree by construction and make every resample look more certain
than the data.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from workbench.errors import BadInput

BINS = 12
"""Most quantile bins of a device's latency, unless asked for. Points of one bin count as equally fast."""
BIN_POINTS = 10
"""Points that make a bin. Of fewer, a tau says little; of more, latency itself orders the points of a bin."""
EQUAL_FACTOR = 1.05
"""Latencies within this factor of each other are not cut into bins."""
MIN_POINTS = 5
"""Groups of fewer points (counted by weight) have no tau and do not enter the mean."""


def spearman(score: np.ndarray, target: np.ndarray) -> float:
    """Spearman's rank correlation of two arrays ``[n]``, ties at their mean rank; NaN if either is constant."""
    a, b = average_rank(score), average_rank(target)
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else float("nan")


def average_rank(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, equal values at their mean rank, ``[n]``."""
    _, place, count = np.unique(np.asarray(values, dtype=float), return_inverse=True, return_counts=True)
    first = np.cumsum(count) - count
    return np.asarray((first + (count - 1) / 2)[place.reshape(-1)])


def equal_latency_tau(score: np.ndarray, target: np.ndarray, latency: np.ndarray, bins: int = BINS) -> float:
    """Tau-b of ``score`` with ``target`` among points of about the same ``latency``; arrays ``[n]``.

    Points without latency or target (NaN) are skipped. The others are cut into ``bins`` quantile bins of latency
    (``latency_bins``). The result is the mean of the bins' tau-b over bins of at least ``MIN_POINTS`` points in which
    neither array is constant, NaN if there is no such bin. Scores that are not finite are refused.
    """
    score, target, latency = (np.asarray(column, dtype=float) for column in (score, target, latency))
    known = ~(np.isnan(latency) | np.isnan(target))
    if not np.isfinite(score[known]).all():
        raise BadInput("a score that is not finite cannot be ranked: leave such points out and say why")
    group = latency_bins(latency[known], bins)
    return float(GroupedPairs.of(score[known], target[known], group).mean_tau()[0])


def latency_bins(latency: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Index of the quantile bin (0 = fastest) of every point ``[n]``; a point on a border belongs to the slower bin.

    Borders are the 1/bins, 2/bins, ... quantiles (linear interpolation), so points of equal latency share a bin.
    """
    if bins < 1:
        raise BadInput(f"bins={bins} must be at least 1")
    latency = np.asarray(latency, dtype=float)
    if not len(latency):
        return np.zeros(0, dtype=int)
    borders = np.quantile(latency, np.arange(1, bins) / bins)
    return np.searchsorted(borders, latency, side="right")


def bins_of(latency: np.ndarray, target: np.ndarray | None = None) -> int:
    """Number of bins for one device: ``BIN_POINTS`` points a bin, at least 1, at most ``BINS``.

    Arrays ``[n]``; points without latency or target (NaN) do not count. One bin, too, if every latency lies within
    ``EQUAL_FACTOR`` (chosen equally fast).
    """
    known = ~np.isnan(latency) if target is None else ~(np.isnan(latency) | np.isnan(target))
    ms = latency[known]
    if len(ms) and ms.max() <= EQUAL_FACTOR * ms.min():
        return 1
    return min(BINS, max(1, round(len(ms) / BIN_POINTS)))


def default_bins(latencies: Iterable[np.ndarray]) -> int:
    """The most that ``bins_of`` gives for one of several devices."""
    return max((bins_of(column) for column in latencies), default=1)


@dataclass(frozen=True)
class Pairs:
    """Signs of the differences of all pairs of points.

    Three tables: concordance (+1 same order, -1 reversed, 0 tied), not tied by score, not tied by target. ``between``
    holds them ``[n, n]`` for pairs of different clusters, ``within`` their row sums ``[n]`` over pairs of one cluster.
    """

    between: tuple[np.ndarray, np.ndarray, np.ndarray]
    within: tuple[np.ndarray, np.ndarray, np.ndarray]

    @staticmethod
    def of(score: np.ndarray, target: np.ndarray, cluster: np.ndarray | None = None) -> Pairs:
        """All pairs of two arrays ``[n]``; ``cluster`` ``[n]`` labels points that are resampled together."""
        a, b = _signs(score), _signs(target)
        tables = (a * b, np.abs(a), np.abs(b))
        apart = np.ones_like(a) if cluster is None else (cluster[:, None] != cluster[None, :]).astype(float)
        concordance, by_score, by_target = (table * apart for table in tables)
        within = tuple((table * (1 - apart)).sum(axis=1) for table in tables)
        return Pairs((concordance, by_score, by_target), (within[0], within[1], within[2]))

    def tau(self, weight: np.ndarray | None = None) -> np.ndarray:
        """Tau-b under each row of ``weight`` ``[draws, n]`` (default: every point once), ``[draws]``.

        NaN without pairs. A pair between clusters counts weight x weight times, a pair within one (equal weights)
        weight times.
        """
        w = np.ones((1, len(self.within[0]))) if weight is None else np.asarray(weight, dtype=float)
        agree, by_score, by_target = (
            ((w @ table) * w).sum(axis=1) + w @ within for table, within in zip(self.between, self.within, strict=True)
        )
        norm = np.sqrt(by_score * by_target)
        return np.divide(agree, norm, out=np.full(len(w), np.nan), where=norm > 0)


@dataclass(frozen=True)
class GroupedPairs:
    """Pairs within groups (a latency bin, a family, an input size): the rows of each group and their pairs."""

    rows: tuple[np.ndarray, ...]
    pairs: tuple[Pairs, ...]

    @staticmethod
    def of(
        score: np.ndarray, target: np.ndarray, group: np.ndarray, cluster: np.ndarray | None = None
    ) -> GroupedPairs:
        """``group`` ``[n]`` holds the label of each point; ``cluster`` as in ``Pairs.of``."""
        groups = tuple(np.flatnonzero(group == label) for label in np.unique(group))
        pairs = (Pairs.of(score[rows], target[rows], None if cluster is None else cluster[rows]) for rows in groups)
        return GroupedPairs(groups, tuple(pairs))

    def taus(self, weight: np.ndarray | None = None, min_points: int = MIN_POINTS) -> np.ndarray:
        """Tau-b of every group, ``[draws, groups]``; NaN for fewer than ``min_points`` points or constant values."""
        columns = []
        for rows, pairs in zip(self.rows, self.pairs, strict=True):
            w = np.ones((1, len(rows))) if weight is None else weight[:, rows]
            columns.append(np.where(w.sum(axis=1) >= min_points, pairs.tau(w), np.nan))
        draws = 1 if weight is None else len(weight)
        return np.stack(columns, axis=1) if columns else np.full((draws, 0), np.nan)

    def mean_tau(self, weight: np.ndarray | None = None, min_points: int = MIN_POINTS) -> np.ndarray:
        """Mean of the groups' tau-b, ``[draws]``; NaN if no group has one."""
        return nan_row_means(self.taus(weight, min_points))


def nan_row_means(values: np.ndarray) -> np.ndarray:
    """Mean of every row ``[rows, n]`` over the values that are not NaN; NaN for a row without any."""
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def _signs(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    return np.sign(values[:, None] - values[None, :])
