"""Rank correlation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def kendall(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> float:
    """Kendall's tau-b of two columns ``[n]``; NaN where a column is constant or ``n`` is below 2."""
    from scipy.stats import kendalltau  # type: ignore[import-untyped]

    if len(a) < 2:
        return math.nan
    return float(kendalltau(a, b).statistic)
