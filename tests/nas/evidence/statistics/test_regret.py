"""Regret and front share by hand."""

from __future__ import annotations

import numpy as np
import pytest

from nas.evidence.statistics.regret import front_share, regret
from nas.pareto import pareto_mask


def test_regret_by_hand() -> None:
    group = np.repeat([0, 1], 5)
    target = np.array([1.0, 2, 3, 4, 5, 1, 2, 3, 4, 5])
    score = np.array([0.0, 0, 9, 0, 0, 1, 1, 1, 1, 1])
    once = np.ones((1, 10))
    # The first bin's pick is 3 of 5; in the second all scores tie and the worst counts.
    assert regret(score, target, group, once)[0] == (2 + 4) / 2
    without = once.copy()
    without[0, 5:] = [2, 0, 0, 0, 3]
    assert regret(score, target, group, without)[0] == (2 + 4) / 2
    without[0, 5:] = [0, 0, 0, 0, 5]
    assert regret(score, target, group, without)[0] == (2 + 0) / 2


def test_front_by_hand() -> None:
    cost, target = np.array([1.0, 2, 2, 3, 4]), np.array([1.0, 3, 2, 3, 4])
    assert pareto_mask(cost, target).tolist() == [True, True, False, False, True]
    group = np.zeros(5, dtype=int)
    assert front_share(target, target, cost, group, 2, np.ones((1, 5)))[0] == pytest.approx(2 / 3)
    assert front_share(-target, target, cost, group, 1, np.ones((1, 5)))[0] == pytest.approx(1 / 3)
    # Two copies of the best take both places.
    assert front_share(target, target, cost, group, 2, np.array([[1.0, 1, 1, 1, 2]]))[0] == pytest.approx(2 / 4)
