"""Who is beaten by nobody: less cost, more worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def dominates(cost: Any, worth: Any, other_cost: Any, other_worth: Any) -> Any:
    """Whether one costs no more than the other and is worth no less, and is better in one of the two; numbers, or arrays of one shape."""
    return (cost <= other_cost) & (worth >= other_worth) & ((cost < other_cost) | (worth > other_worth))


def pareto_mask(cost: np.ndarray | Sequence[float], worth: np.ndarray | Sequence[float]) -> np.ndarray:
    """Mask ``[n]`` of the points ``[n]`` that no other one beats; a few thousand points, for all pairs are looked at."""
    cost, worth = np.asarray(cost, dtype=float), np.asarray(worth, dtype=float)
    return ~dominates(cost[:, None], worth[:, None], cost, worth).any(axis=0)
