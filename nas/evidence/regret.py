"""What trusting a score costs: the accuracy given away, and how much of the true Pareto front it finds."""

from __future__ import annotations

import numpy as np

from nas.evidence.rank import LEAST, row_means
from nas.pareto import pareto_mask


def regret(score: np.ndarray, target: np.ndarray, group: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mean over groups (latency bins) of best target minus target of the highest score, ``[draws]``, in target's unit.

    ``score``, ``target``, ``group`` ``[n]``; a point of weight 0 ``[draws, n]`` is not there. Where scores tie, the worst of
    them counts. Groups of fewer than ``LEAST`` points take no part.
    """
    columns = []
    for label in np.unique(group):
        rows = np.flatnonzero(group == label)
        there = weight[:, rows] > 0
        picked = _first(there, np.lexsort((target[rows], -score[rows])), target[rows])
        best = _first(there, np.argsort(-target[rows], kind="stable"), target[rows])
        columns.append(np.where(weight[:, rows].sum(axis=1) >= LEAST, best - picked, np.nan))
    return row_means(np.stack(columns, axis=1))


def front_share(score: np.ndarray, target: np.ndarray, latency: np.ndarray, group: np.ndarray, top: int, weight: np.ndarray) -> np.ndarray:
    """Share of the true front (latency against target) that is among each group's ``top`` points by score, ``[draws]``.

    Arrays ``[n]``, weight ``[draws, n]``. The front is that of all points; a point drawn twice takes two of the places and
    counts twice if it is on the front. Where scores tie, the lower target is named first.
    """
    true = pareto_mask(latency, target)
    held, found = np.zeros(len(weight)), np.zeros(len(weight))
    for label in np.unique(group):
        rows = np.flatnonzero(group == label)
        order = rows[np.lexsort((target[rows], -score[rows]))]
        copies = weight[:, order]
        named = np.clip(top - (np.cumsum(copies, axis=1) - copies), 0, copies)
        held += copies @ true[order]
        found += named @ true[order]
    return np.divide(found, held, out=np.full(len(weight), np.nan), where=held > 0)


def _first(there: np.ndarray, order: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Per draw the value of the first point in ``order`` that is there; NaN where none is."""
    some = there[:, order]
    return np.where(some.any(axis=1), values[order][some.argmax(axis=1)], np.nan)
