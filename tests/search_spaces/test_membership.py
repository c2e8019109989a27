"""Membership in short lists equals NumPy's."""

from __future__ import annotations

import numpy as np

from search_spaces.membership import among


def test_the_same_as_isin() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        choices = tuple(rng.integers(-5, 60, rng.integers(1, 30)).tolist())  # unsorted, with repeats
        values = rng.integers(-10, 70, 200)
        assert (among(values, choices) == np.isin(values, choices)).all()
    halves = np.array([0.25, 0.5, 0.75])
    assert among(halves, (0.5, 1)).tolist() == [False, True, False]
    assert among(np.empty(0, dtype=int), (1, 2)).shape == (0,)
