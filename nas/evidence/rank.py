"""How well one column of numbers orders another: Kendall's tau-b, whole or within groups of points.

Everything works on arrays of points ``[n]``. A *weight* says how often a point counts, ``[draws, n]`` for many
bootstrap draws at once. Copies of a point, or of its kin (one architecture at several sizes), are never compared
across copies: they would agree with themselves and make every draw look surer than the data are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from workbench.errors import BadInput

BINS = 12
"""Quantile bins of a device's latency: points of one bin count as equally fast."""
EQUAL = 1.05
"""Points of latencies no farther apart than this factor are not cut into bins."""
LEAST = 5
"""A group of fewer points (counted by weight) has no tau and takes no part in the mean."""


def spearman(score: np.ndarray, target: np.ndarray) -> float:
    """Spearman's rank correlation of two arrays ``[n]``, ties at their mean rank; NaN when either is constant."""
    a, b = average_rank(score), average_rank(target)
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else float("nan")


def average_rank(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, equal values sharing the mean of theirs, ``[n]``."""
    _, place, count = np.unique(np.asarray(values, dtype=float), return_inverse=True, return_counts=True)
    first = np.cumsum(count) - count
    return np.asarray((first + (count - 1) / 2)[place.reshape(-1)])


def equal_latency_tau(score: np.ndarray, target: np.ndarray, latency: np.ndarray, bins: int = BINS) -> float:
    """How well ``score`` orders ``target`` among points of about the same ``latency``; arrays ``[n]``.

    Points without latency or target (NaN) are skipped. The others are cut into ``bins`` quantile bins of latency
    (``latency_bins``); the result is the plain mean of the bins' tau-b, over bins of at least ``LEAST`` points in which
    neither column is constant. NaN when there is no such bin. A score that is not finite is refused.
    """
    score, target, latency = (np.asarray(column, dtype=float) for column in (score, target, latency))
    known = ~(np.isnan(latency) | np.isnan(target))
    if not np.isfinite(score[known]).all():
        raise BadInput("a score that is not finite cannot be ranked: leave such points out and say why")
    group = latency_bins(latency[known], bins)
    return float(GroupedPairs.of(score[known], target[known], group).mean_tau()[0])


def latency_bins(latency: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Number of the quantile bin (0 = fastest) of every point ``[n]``; a point on a border belongs to the slower bin.

    Borders are the 1/bins, 2/bins, ... quantiles (linear interpolation), so points of equal latency share a bin.
    """
    if bins < 1:
        raise BadInput(f"bins={bins} must be at least 1")
    latency = np.asarray(latency, dtype=float)
    if not len(latency):
        return np.zeros(0, dtype=int)
    borders = np.quantile(latency, np.arange(1, bins) / bins)
    return np.searchsorted(borders, latency, side="right")


def usual_bins(latencies: Iterable[np.ndarray]) -> int:
    """``BINS``, or one where every column of latencies ``[n]`` lies within ``EQUAL``: such points were chosen to be equally fast."""
    known = [column[~np.isnan(column)] for column in latencies]
    return 1 if known and all(len(ms) and ms.max() <= EQUAL * ms.min() for ms in known) else BINS


@dataclass(frozen=True)
class Pairs:
    """Signs of all differences of some points: +1 for a pair in the same order, -1 reversed, 0 tied, and 1 where a pair is
    not tied by score, by target; three tables ``[n, n]`` between strangers, and their row sums ``[n]`` over kin."""

    strangers: tuple[np.ndarray, np.ndarray, np.ndarray]
    kin: tuple[np.ndarray, np.ndarray, np.ndarray]

    @staticmethod
    def of(score: np.ndarray, target: np.ndarray, kin: np.ndarray | None = None) -> Pairs:
        """All pairs of two columns ``[n]``; ``kin`` ``[n]`` labels points that are drawn together (default: none are)."""
        a, b = _signs(score), _signs(target)
        tables = (a * b, np.abs(a), np.abs(b))
        apart = np.ones_like(a) if kin is None else (kin[:, None] != kin[None, :]).astype(float)
        one, two, three = (table * apart for table in tables)
        own = tuple((table * (1 - apart)).sum(axis=1) for table in tables)
        return Pairs((one, two, three), (own[0], own[1], own[2]))

    def tau(self, weight: np.ndarray | None = None) -> np.ndarray:
        """Tau-b under each row of ``weight`` ``[draws, n]`` (default: every point once), ``[draws]``; NaN without pairs.

        A pair of strangers counts weight x weight times, a pair of kin (equal weights) weight times.
        """
        w = np.ones((1, len(self.kin[0]))) if weight is None else np.asarray(weight, dtype=float)
        agree, one, other = (((w @ table) * w).sum(axis=1) + w @ own for table, own in zip(self.strangers, self.kin, strict=True))
        norm = np.sqrt(one * other)
        return np.divide(agree, norm, out=np.full(len(w), np.nan), where=norm > 0)


@dataclass(frozen=True)
class GroupedPairs:
    """Pairs within groups only (a latency bin, a family, an input size): rows of each group and their pairs."""

    rows: tuple[np.ndarray, ...]
    pairs: tuple[Pairs, ...]

    @staticmethod
    def of(score: np.ndarray, target: np.ndarray, group: np.ndarray, kin: np.ndarray | None = None) -> GroupedPairs:
        """``group`` ``[n]`` holds a label a point; ``kin`` as in ``Pairs.of``."""
        rows = tuple(np.flatnonzero(group == label) for label in np.unique(group))
        return GroupedPairs(rows, tuple(Pairs.of(score[r], target[r], None if kin is None else kin[r]) for r in rows))

    def taus(self, weight: np.ndarray | None = None, least: int = LEAST) -> np.ndarray:
        """Tau-b of every group, ``[draws, groups]``; NaN for a group of fewer than ``least`` points or of constant values."""
        columns = []
        for rows, pairs in zip(self.rows, self.pairs, strict=True):
            w = np.ones((1, len(rows))) if weight is None else weight[:, rows]
            columns.append(np.where(w.sum(axis=1) >= least, pairs.tau(w), np.nan))
        return np.stack(columns, axis=1) if columns else np.full((1, 0), np.nan)

    def mean_tau(self, weight: np.ndarray | None = None, least: int = LEAST) -> np.ndarray:
        """Plain mean of the groups' tau-b, ``[draws]``; NaN where no group has one."""
        return row_means(self.taus(weight, least))


def row_means(values: np.ndarray) -> np.ndarray:
    """Mean of every row ``[rows, n]`` over what is known; NaN for a row that knows nothing."""
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def _signs(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    return np.sign(values[:, None] - values[None, :])
