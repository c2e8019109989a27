"""Verdicts on scores whose worth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas.evidence.accuracy import resampled, score_accuracy
from nas.evidence.benchmark import benchmark_scores
from nas.evidence.columns import ScoreColumn
from nas.evidence.noise import ceiling, ceiling_of_repeats
from nas.evidence.refit import fitted, left_out
from nas.evidence.regret import front_share, regret
from nas.evidence.trained import TARGET, TrainedDetectors, read_trained
from nas.kendall import kendall
from nas.pareto import pareto_mask
from tests.nas.evidence.trained import folder
from workbench.errors import BadInput


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> TrainedDetectors:
    return read_trained(folder(tmp_path_factory.mktemp("trained")))


def test_a_perfect_score_is_perfect(points: TrainedDetectors) -> None:
    truth = points.target(TARGET)
    verdict = score_accuracy(points, ScoreColumn("truth", truth.copy()), truth, points.devices(), draws=50)
    for figure in (verdict.tau, verdict.fixed_size, verdict.in_family, verdict.equal_latency):
        assert figure.value == figure.low == figure.high == pytest.approx(1.0)
    assert verdict.spearman == pytest.approx(1.0)
    assert verdict.regret_points.value == 0
    worst = score_accuracy(points, ScoreColumn("lies", -truth), truth, points.devices(), draws=50)
    assert worst.equal_latency.value == pytest.approx(-1.0) and worst.regret_points.value > 1


def test_the_interval_holds_the_value_and_chance_is_within_it(points: TrainedDetectors) -> None:
    truth = points.target(TARGET)
    verdict = score_accuracy(points, ScoreColumn("chance", np.random.default_rng(3).standard_normal(len(points))), truth, points.devices(), draws=300)
    for figure in (verdict.tau, verdict.equal_latency, verdict.fixed_size, verdict.in_family):
        assert figure.low < figure.value < figure.high
    assert verdict.tau.low < 0 < verdict.tau.high


def test_points_that_a_score_refused_take_no_part(points: TrainedDetectors) -> None:
    truth = points.target(TARGET)
    values = truth.copy()
    values[points.arch == "alpha1w4d1"] = np.nan
    verdict = score_accuracy(points, ScoreColumn("partial", values, {"alpha1w4d1": "no"}), truth, points.devices(), draws=20)
    assert verdict.points == len(points) - 6 and verdict.architectures == 23 and verdict.failures
    with pytest.raises(BadInput, match="0 points in common"):
        score_accuracy(points, ScoreColumn("none", np.full(len(points), np.nan)), truth, points.devices())


def test_sizes_of_one_architecture_are_drawn_together(points: TrainedDetectors) -> None:
    weight = resampled(points.arch, 10, 0)
    for name in set(points.arch):
        own = weight[:, points.arch == name]
        assert (own == own[:, :1]).all()
    assert (weight[:, points.input_px == 64].sum(axis=1) == 24).all()
    assert (resampled(points.arch, 10, 0) == weight).all() and (resampled(points.arch, 10, 1) != weight).any()


def test_differences_are_paired(points: TrainedDetectors) -> None:
    truth = points.target(TARGET)
    noisy = truth + 0.02 * np.random.default_rng(0).standard_normal(len(truth))
    trial = benchmark_scores(points, [ScoreColumn("activations", noisy), ScoreColumn("same", noisy.copy()), ScoreColumn("truth", truth.copy())], TARGET, points.devices(), draws=100)
    same, better = trial.lead("same"), trial.lead("truth")
    assert same is not None and better is not None
    assert same.low == same.high == 0 and better.low > 0
    assert trial.lead("activations") is None
    assert trial.to_json()["scores"][2]["lead_over_activations"]["value"] > 0


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


def test_the_ceiling_finds_the_noise(tmp_path: Path) -> None:
    points = read_trained(folder(tmp_path, noise=0.01))
    found = ceiling(points, points.target(TARGET), points.devices())
    assert found is not None and found.architectures == 24
    assert found.deviation_points == pytest.approx(1.0, rel=0.2)
    assert 0.3 < found.low <= found.equal_latency <= found.high < 0.98


def test_without_noise_the_ceiling_is_one(points: TrainedDetectors) -> None:
    found = ceiling(points, points.target(TARGET), points.devices())
    assert found is not None and found.deviation_points < 0.01 and found.equal_latency > 0.97


def test_too_few_sizes_have_no_ceiling(points: TrainedDetectors) -> None:
    part = points.part(points.input_px <= 128)
    assert ceiling(part, part.target(TARGET), part.devices()) is None


def test_a_fitted_score_is_judged_on_families_that_it_has_not_seen(points: TrainedDetectors) -> None:
    truth = points.target(TARGET)
    for name in fitted():
        column = left_out(points, name, truth)
        assert np.isfinite(column.values).all()
        # What the judged family's own accuracies say must not matter to its values.
        lie = np.where(points.family == "beta2", truth[::-1], truth)
        again = left_out(points, name, lie)
        own = points.family == "beta2"
        assert np.allclose(again.values[own], column.values[own]) and not np.allclose(again.values[~own], column.values[~own])
    one = points.part(points.family == "beta2")
    with pytest.raises(BadInput, match="1 family"):
        left_out(one, fitted()[0], one.target(TARGET))


def test_every_family_has_its_own_figure(points: TrainedDetectors) -> None:
    truth = points.target(TARGET)
    half = np.where(points.family == "alpha1", truth, -truth)
    verdict = score_accuracy(points, ScoreColumn("half", half), truth, points.devices(), draws=20)
    assert {name: figure.value for name, figure in verdict.by_family.items()} == pytest.approx({"alpha1": 1.0, "beta2": -1.0})
    assert verdict.in_family.value == pytest.approx(0) and verdict.to_json()["by_family"]["beta2"]["high"] == pytest.approx(-1)


def repeated(points: TrainedDetectors, deviation: float, seeds: int, truth: np.ndarray, draw: int = 0) -> TrainedDetectors:
    """The points trained ``seeds`` times, one of them once only, with known noise."""
    runs = truth[:, None] + deviation * np.random.default_rng(draw).standard_normal((len(truth), seeds))
    runs[0, 1:] = np.nan
    columns = {"map": np.nanmean(runs, axis=1)} | {f"map_seed{seed}": runs[:, seed] for seed in range(seeds)}
    return replace(points, accuracy=columns)


def test_repeated_trainings_tell_the_noise(points: TrainedDetectors) -> None:
    truth = points.target(TARGET)
    for seeds in (2, 4):
        drawn = [repeated(points, 0.05, seeds, truth, draw) for draw in range(8)]
        found = [ceiling_of_repeats(one, "map", {}) for one in drawn]
        known = [one for one in found if one is not None]
        assert len(known) == 8 and {one.architectures for one in known} == {len(points) - 1}
        assert np.mean([one.deviation_points for one in known]) == pytest.approx(5.0, rel=0.05)
        # What a score that knows the truth really reaches, and what one run says of another, which is less.
        reached = np.mean([kendall(truth, one.target("map")) for one in drawn])
        assert np.mean([one.tau for one in known]) == pytest.approx(reached, abs=0.03)
        assert all(one.between_runs is not None and one.between_runs < one.tau for one in known)
    trial = benchmark_scores(repeated(points, 0.05, 2, truth), [ScoreColumn("truth", truth)], "map", points.devices(), draws=5)
    assert trial.ceiling == ceiling_of_repeats(repeated(points, 0.05, 2, truth), "map", points.devices())


def test_where_all_is_noise_there_is_no_ceiling(points: TrainedDetectors) -> None:
    same = replace(points, accuracy={"map": np.array([0.4, 0.6] * 72), "map_seed0": np.array([0.3, 0.9] * 72), "map_seed1": np.array([0.5, 0.3] * 72)})
    flat = ceiling_of_repeats(same, "map", points.devices())
    assert flat is not None and np.isnan(flat.tau) and flat.to_json()["tau"] is None and flat.between_runs == pytest.approx(-1)


def test_without_repeats_there_is_nothing_to_tell(points: TrainedDetectors) -> None:
    assert ceiling_of_repeats(points, TARGET, points.devices()) is None
    one = replace(points, accuracy={"map": points.target(TARGET), "map_seed0": points.target(TARGET)})
    assert ceiling_of_repeats(one, "map", points.devices()) is None
