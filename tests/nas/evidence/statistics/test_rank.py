"""Kendall's tau, whole and among points of equal latency."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from nas.evidence.statistics.rank import (
    BINS,
    GroupedPairs,
    Pairs,
    bins_of,
    default_bins,
    equal_latency_tau,
    latency_bins,
    spearman,
)
from nas.kendall import kendall
from workbench.errors import BadInput

RNG = np.random.default_rng(0)


def slow_tau(a: np.ndarray, b: np.ndarray) -> float:
    """The definition: concordant minus discordant over the geometric mean of untied pairs."""
    s = [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i, j in itertools.combinations(range(len(a)), 2)]
    return float(sum(x * y for x, y in s) / math.sqrt(sum(x * x for x, _ in s) * sum(y * y for _, y in s)))


def test_tau_with_ties() -> None:
    for _ in range(20):
        a, b = RNG.integers(0, 6, 15).astype(float), RNG.integers(0, 6, 15).astype(float)
        assert Pairs.of(a, b).tau()[0] == pytest.approx(slow_tau(a, b)) == kendall(a, b)


def test_spearman_agrees_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    a, b = RNG.integers(0, 20, 60).astype(float), RNG.integers(0, 20, 60).astype(float)
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)


def test_constant_columns_have_no_tau() -> None:
    assert (
        math.isnan(kendall(np.ones(5), np.arange(5.0)))
        and math.isnan(kendall([1.0], [2.0]))
        and np.isnan(Pairs.of(np.ones(5), np.arange(5.0)).tau()).all()
    )
    assert math.isnan(spearman(np.ones(5), np.arange(5.0)))


def test_weights_are_copies_of_independent_points() -> None:
    a, b = RNG.standard_normal(12), RNG.standard_normal(12)
    weight = RNG.integers(0, 4, (3, 12)).astype(float)
    taus = Pairs.of(a, b).tau(weight)
    for row, value in zip(weight, taus, strict=True):
        copies = np.repeat(np.arange(12), row.astype(int))
        # A copy is tied with itself in both columns, which tau-b leaves out on both sides.
        assert value == pytest.approx(slow_tau(a[copies], b[copies]))


def test_clusters_are_compared_within_a_copy_only() -> None:
    a, b = RNG.standard_normal(6), RNG.standard_normal(6)
    cluster = np.array([0, 0, 0, 1, 1, 1])
    only = Pairs.of(a, b, cluster).tau(np.array([[3.0, 3, 3, 0, 0, 0]]))
    assert only[0] == pytest.approx(slow_tau(a[:3], b[:3]))
    assert Pairs.of(a, b, cluster).tau()[0] == pytest.approx(kendall(a, b))


def test_bins_are_quantiles_and_ties_stay_together() -> None:
    assert latency_bins(np.array([4.0, 1, 3, 2]), 2).tolist() == [1, 0, 1, 0]
    assert len(set(latency_bins(np.array([1.0, 2, 2, 2, 3]), 3)[1:4])) == 1
    assert np.bincount(latency_bins(RNG.permutation(120).astype(float), 12)).tolist() == [10] * 12
    with pytest.raises(BadInput, match="at least 1"):
        latency_bins(np.ones(3), 0)


def test_equal_latency_is_the_mean_over_bins() -> None:
    latency = np.repeat([1.0, 2.0, 3.0], 6) + RNG.random(18) * 1e-3
    target, score = RNG.standard_normal(18), RNG.standard_normal(18)
    expected = np.mean([slow_tau(score[i : i + 6], target[i : i + 6]) for i in (0, 6, 12)])
    assert equal_latency_tau(score, target, latency, 3) == pytest.approx(expected)


def test_a_score_that_only_knows_latency_is_worth_nothing() -> None:
    latency = np.exp(RNG.random(600) * 3)
    target = np.log(latency)
    coarse = latency_bins(latency).astype(float)
    assert kendall(coarse, target) > 0.9
    assert math.isnan(equal_latency_tau(coarse, target, latency))
    noise = RNG.standard_normal(600)
    assert abs(equal_latency_tau(coarse + 0.01 * noise, target, latency)) < 0.15


def test_unknown_latency_is_skipped_and_small_bins_do_not_count() -> None:
    latency = np.array([1.0] * 5 + [2.0] * 4 + [np.nan])
    score = target = np.arange(10.0)
    assert equal_latency_tau(score, target, latency, 2) == pytest.approx(1.0)
    assert math.isnan(equal_latency_tau(score[:4], target[:4], latency[:4], 2))
    with pytest.raises(BadInput, match="not finite"):
        equal_latency_tau(np.where(score == 3, np.nan, score), target, latency, 2)


def test_groups_by_any_label() -> None:
    score, target = np.arange(10.0), np.r_[np.arange(5.0), -np.arange(5.0)]
    grouped = GroupedPairs.of(score, target, np.array(["a"] * 5 + ["b"] * 5))
    assert grouped.taus()[0].tolist() == [1.0, -1.0]
    assert grouped.mean_tau()[0] == 0.0
    assert math.isnan(grouped.mean_tau(min_points=6)[0])


def test_bins_go_by_the_number_of_points() -> None:
    near, far = np.array([10.0, 10.4, np.nan]), np.exp(RNG.random(38))
    assert bins_of(near) == bins_of(np.full(100, 7.0)) == 1, "equal latency is not cut"
    assert [bins_of(np.linspace(1, 9, n)) for n in (3, 12, 38, 45, 131, 528)] == [1, 1, 4, 4, BINS, BINS]
    truth = np.r_[np.full(20, np.nan), np.ones(18)]
    assert bins_of(far, truth) == 2, "points without accuracy do not count"
    assert default_bins([near, far]) == 4 and default_bins([]) == default_bins([np.array([np.nan])]) == 1
