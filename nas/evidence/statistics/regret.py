"""What it costs to select by a score: the accuracy given away, and the share of the true Pareto front that it finds."""

from __future__ import annotations

import numpy as np

from nas.evidence.statistics.rank import MIN_POINTS, nan_row_means
from nas.pareto import pareto_mask


def regret(score: np.ndarray, target: np.ndarray, group: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Best target minus the target of the highest score, mean over groups (latency bins), ``[draws]``.

    In the target's unit. ``score``, ``target``, ``group`` ``[n]``. A point of weight 0 (``[draws, n]``) is absent.
    Among tied scores the worst target counts. Groups of fewer than ``MIN_POINTS`` points do not enter.
    """
    columns = []
    for label in np.unique(group):
        rows = np.flatnonzero(group == label)
        present = weight[:, rows] > 0
        selected = _first(present, np.lexsort((target[rows], -score[rows])), target[rows])
        best = _first(present, np.argsort(-target[rows], kind="stable"), target[rows])
        columns.append(np.where(weight[:, rows].sum(axis=1) >= MIN_POINTS, best - selected, np.nan))
    return nan_row_means(np.stack(columns, axis=1)) if columns else np.full(len(weight), np.nan)


def front_share(
    score: np.ndarray, target: np.ndarray, latency: np.ndarray, group: np.ndarray, top: int, weight: np.ndarray
) -> np.ndarray:
    """Share of the true front (latency against target) among each group's ``top`` points by score, ``[draws]``.

    Arrays ``[n]``, weight ``[draws, n]``. The front is that of all points. A point that was resampled twice takes two
    of the ``top`` places and counts twice if it is on the front. Among tied scores the lower target comes first.
    """
    on_front = pareto_mask(latency, target)
    total, hits = np.zeros(len(weight)), np.zeros(len(weight))
    for label in np.unique(group):
        rows = np.flatnonzero(group == label)
        order = rows[np.lexsort((target[rows], -score[rows]))]
        copies = weight[:, order]
        selected = np.clip(top - (np.cumsum(copies, axis=1) - copies), 0, copies)
        total += copies @ on_front[order]
        hits += selected @ on_front[order]
    return np.divide(hits, total, out=np.full(len(weight), np.nan), where=total > 0)


def _first(present: np.ndarray, order: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Per draw the value of the first point in ``order`` that is present; NaN if none is."""
    ordered = present[:, order]
    return np.where(ordered.any(axis=1), values[order][ordered.argmax(axis=1)], np.nan)
