"""Better assignments near a known one: single changes, pairs of changes, and the way between two assignments."""

from __future__ import annotations

import time

import numpy as np

from nas.shrinking.solver.dual import Bounds
from nas.shrinking.solver.network import Network

PAIRED = 500
"""Single changes that are tried in pairs."""
VERIFIED = 200
"""Pairs that are measured; the others are ruled out by the sum of their single changes."""


def repair(network: Network, row: np.ndarray, bounds: Bounds, deadline: float) -> np.ndarray | None:
    """Single changes that each lose the least value per violation removed, until all limits hold; None: stuck."""
    row = row.copy()
    while True:
        value, costs = network.measure(row[None])
        violation = bounds.violation(costs)[0]
        if violation == 0:
            return row
        if not np.isfinite(value[0]) or time.monotonic() > deadline:
            return None
        rows, gains, extra = network.measure_changes(row)
        if not len(rows):
            return None
        gained, loss = violation - bounds.violation(costs + extra), -gains
        rate = np.where((gained > 0) & np.isfinite(loss), loss / np.maximum(gained, 1e-300), np.inf)
        # A change that gains value as well comes first, the one that removes most.
        rate = np.where((rate < np.inf) & (loss <= 0), -gained, rate)
        best = int(rate.argmin())
        if rate[best] == np.inf:
            return None
        row = rows[best]


def improve(network: Network, row: np.ndarray, bounds: Bounds, multipliers: np.ndarray, deadline: float) -> np.ndarray:
    """Applies the best single change, or else the best pair, while the value rises. ``row`` respects the limits."""
    while time.monotonic() < deadline:
        value, costs = network.measure(row[None])
        rows, gains, extra = network.measure_changes(row)
        if not len(rows):
            break
        inside = np.where(bounds.violation(costs + extra) == 0, gains, -np.inf)
        best = int(inside.argmax())
        if inside[best] > 1e-12 * max(1.0, abs(value[0])):
            row = rows[best]
            continue
        pair = _best_pair(network, row, (rows, gains, extra), bounds, multipliers)
        if pair is None:
            break
        row = pair
    return row


def _best_pair(
    network: Network,
    row: np.ndarray,
    moves: tuple[np.ndarray, np.ndarray, np.ndarray],
    bounds: Bounds,
    multipliers: np.ndarray,
) -> np.ndarray | None:
    """The best pair of single changes ``(rows, gains, extra costs)`` that raises the value within the limits."""
    rows, gains, extra = moves
    value, costs = network.measure(row[None])
    score = gains - multipliers @ extra
    kept = np.argsort(-score, kind="stable")[:PAIRED]
    rows, gains, extra = rows[kept], gains[kept], extra[:, kept]
    first, second = np.triu_indices(len(rows), 1)
    both = gains[first] + gains[second]
    margin = 1e-12 * max(1.0, abs(value[0]))
    likely = np.flatnonzero(both > margin)
    total = costs + extra[:, first[likely]] + extra[:, second[likely]]
    variable = (rows != row).argmax(axis=1)
    fits = (bounds.violation(total) == 0) & (variable[first[likely]] != variable[second[likely]])
    likely = likely[fits]
    likely = likely[np.argsort(-both[likely], kind="stable")[:VERIFIED]]
    if not len(likely):
        return None
    paired = np.where(rows[first[likely]] != row, rows[first[likely]], rows[second[likely]])
    values, costs = network.measure(paired)
    found = np.where(bounds.violation(costs) == 0, values - value[0], -np.inf)
    best = int(found.argmax())
    return paired[best] if found[best] > margin else None


def connect(
    network: Network, start: np.ndarray, end: np.ndarray, bounds: Bounds, multipliers: np.ndarray
) -> np.ndarray | None:
    """The best row within the limits on the way from ``start`` to ``end``, one variable at a time, best first."""
    row, best, most = start.copy(), None, -np.inf
    while (row != end).any():
        open_variables = np.flatnonzero(row != end)
        rows = np.repeat(row[None], len(open_variables), axis=0)
        rows[np.arange(len(rows)), open_variables] = end[open_variables]
        values, costs = network.measure(rows)
        inside = np.where(bounds.violation(costs) == 0, values, -np.inf)
        if inside.max() > most:
            best, most = rows[int(inside.argmax())], inside.max()
        row = rows[int((values - multipliers @ costs).argmax())]
    return best
