"""Pareto dominance in two objectives: cost (minimized) and worth (maximized)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def dominates(cost: Any, worth: Any, other_cost: Any, other_worth: Any) -> Any:
    """Whether the first point costs no more, is worth no less, and is strictly better in one of the two.

    Numbers, or arrays that broadcast.
    """
    return (cost <= other_cost) & (worth >= other_worth) & ((cost < other_cost) | (worth > other_worth))


def pareto_mask(cost: np.ndarray | Sequence[float], worth: np.ndarray | Sequence[float]) -> np.ndarray:
    """Mask ``[n]`` of the points ``[n]`` that no other dominates; compares all pairs, so use at most a few thousand."""
    cost, worth = np.asarray(cost, dtype=float), np.asarray(worth, dtype=float)
    return ~dominates(cost[:, None], worth[:, None], cost, worth).any(axis=0)
