"""Kendall's tau over chosen pairs."""

from __future__ import annotations

import numpy as np
import pytest

from nas.evidence.own.pairs import ceilings, pair_masks, pair_taus, resamples, run_deviation, seed_taus

RNG = np.random.default_rng(1)
BANDS, FAMILIES = ["3ms"] * 12 + ["4ms"] * 12, list("aabbcc" * 4)
TRUTH = RNG.permutation(24).astype(float)
NONE = np.zeros((0, 24))


def test_over_all_pairs_it_is_kendalls_tau_b() -> None:
    kendalltau = pytest.importorskip("scipy.stats").kendalltau
    score = np.round(TRUTH / 3 + RNG.standard_normal(24))
    masks = pair_masks([0] * 24, ["a"] * 24)
    taus = pair_taus(score, TRUTH, masks, NONE)
    assert taus["all"].value == pytest.approx(kendalltau(score, TRUTH).statistic)
    assert np.isnan(taus["between"].value) and taus["within a"].value == taus["within"].value == taus["all"].value


def test_pairs_are_of_one_band_and_of_one_or_two_families() -> None:
    masks = pair_masks(BANDS, FAMILIES)
    assert masks["all"].sum() == 2 * 12 * 11 and not masks["all"][0, 12] and not masks["all"].diagonal().any()
    assert (masks["between"] ^ masks["within"]).sum() == masks["all"].sum()
    assert masks["within a"].sum() == 2 * 4 * 3
    order = {name: at for at, name in enumerate("abc")}
    by_family = np.array([order[name] for name in FAMILIES], dtype=float)
    right = pair_taus(by_family, by_family * 100 + TRUTH, masks, NONE)
    assert right["between"].value == 1 and np.isnan(right["within"].value)
    offset = np.array([1000.0 if band == "4ms" else 0.0 for band in BANDS])  # pairs of two bands must not count
    assert pair_taus(TRUTH, TRUTH - offset, masks, NONE)["all"].value == 1


def test_intervals_hold_the_value_and_missing_points_have_no_pairs() -> None:
    score = TRUTH + 6 * RNG.standard_normal(24)
    masks, weights = pair_masks(BANDS, FAMILIES), resamples(24, 300)
    assert (weights.sum(axis=1) == 24).all()
    tau = pair_taus(score, TRUTH, masks, weights)["all"]
    assert -1 < tau.low < tau.value < tau.high < 1 and len(tau.draws) == 300
    keep = np.arange(24) % 5 != 0
    holes = np.where(keep, score, np.nan)
    part = pair_masks([b for b, k in zip(BANDS, keep, strict=True) if k], np.array(FAMILIES)[keep].tolist())
    expected = pair_taus(score[keep], TRUTH[keep], part, np.zeros((0, keep.sum())))["all"].value
    assert pair_taus(holes, TRUTH, masks, NONE)["all"].value == pytest.approx(expected)


def test_noise_and_ceiling_from_two_seeds() -> None:
    masks = pair_masks([0] * 200, ["a"] * 200)
    true = np.random.default_rng(2).normal(0, 3, 200)
    seeds = true[:, None] + np.random.default_rng(3).standard_normal((200, 2))
    assert run_deviation(seeds) == pytest.approx(1, rel=0.1)
    reached = ceilings(seeds, masks, draws=20)["all"]
    known = pair_taus(true, seeds.mean(axis=1), masks, np.zeros((0, 200)))["all"].value
    assert reached == pytest.approx(known, abs=0.03)
    assert seed_taus(seeds, masks)["all"] < reached
    seeds[:, 1] = np.nan
    assert np.isnan(run_deviation(seeds)) and np.isnan(ceilings(seeds, masks)["all"])
    assert np.isnan(seed_taus(seeds[:, :1], masks)["all"])
