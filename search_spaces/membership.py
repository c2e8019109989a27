"""Which values are among a few choices, for whole populations: several times faster than ``np.isin`` on short rows."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np


def among(values: np.ndarray, choices: Sequence[float]) -> np.ndarray:
    """Boolean ``[N]``: whether each of the numbers ``[N]`` is one of the choices."""
    ascending = _ascending(tuple(choices))
    place = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return np.asarray(ascending[place] == values)


@functools.lru_cache(maxsize=4096)
def _ascending(choices: tuple[float, ...]) -> np.ndarray:
    return np.unique(np.array(choices))
