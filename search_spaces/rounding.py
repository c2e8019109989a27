"""Rounding of channel counts, for ints and for arrays ``[N]``."""

from __future__ import annotations

import numpy as np

from search_spaces.ops import Num


def divisible(value: Num, by: int = 8) -> Num:
    """Nearest multiple of ``by`` that is not more than 10 % below ``value`` (ints or arrays)."""
    base = np.asarray(value, dtype=np.float64)
    rounded = np.maximum(by, (base + by / 2).astype(np.int64) // by * by)
    rounded = np.where(rounded < 0.9 * base, rounded + by, rounded)
    return int(rounded) if rounded.ndim == 0 else rounded


def whole(value: Num) -> Num:
    """``value`` without its fraction."""
    return int(value) if np.ndim(value) == 0 else np.asarray(value).astype(np.int64)
