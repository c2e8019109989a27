"""Accuracies of scores whose worth is known."""

from __future__ import annotations

import numpy as np
import pytest

from nas.evidence.columns import ScoreColumn
from nas.evidence.statistics.accuracy import BenchmarkOptions, bootstrap_weights, score_accuracy
from nas.evidence.trained import TARGET, TrainedDetectors, read_trained
from tests.nas.evidence.trained import folder
from workbench.errors import BadInput


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> TrainedDetectors:
    return read_trained(folder(tmp_path_factory.mktemp("trained")))


def test_a_perfect_score_is_perfect(points: TrainedDetectors) -> None:
    truth = points.target(TARGET)
    accuracy = score_accuracy(
        points, ScoreColumn("truth", truth.copy()), truth, points.devices(), BenchmarkOptions(draws=50)
    )
    for figure in (accuracy.tau, accuracy.fixed_size, accuracy.in_family, accuracy.equal_latency):
        assert figure.value == figure.low == figure.high == pytest.approx(1.0)
    assert accuracy.spearman == pytest.approx(1.0)
    assert accuracy.regret_points.value == 0
    worst = score_accuracy(points, ScoreColumn("lies", -truth), truth, points.devices(), BenchmarkOptions(draws=50))
    assert worst.equal_latency.value == pytest.approx(-1.0) and worst.regret_points.value > 1


def test_the_interval_holds_the_value_and_chance_is_within_it(points: TrainedDetectors) -> None:
    truth = points.target(TARGET)
    accuracy = score_accuracy(
        points,
        ScoreColumn("chance", np.random.default_rng(3).standard_normal(len(points))),
        truth,
        points.devices(),
        BenchmarkOptions(draws=300),
    )
    for figure in (accuracy.tau, accuracy.equal_latency, accuracy.fixed_size, accuracy.in_family):
        assert figure.low < figure.value < figure.high
    assert accuracy.tau.low < 0 < accuracy.tau.high


def test_points_that_a_score_refused_take_no_part(points: TrainedDetectors) -> None:
    truth = points.target(TARGET)
    values = truth.copy()
    values[points.arch == "alpha1w4d1"] = np.nan
    accuracy = score_accuracy(
        points,
        ScoreColumn("partial", values, {"alpha1w4d1": "no"}),
        truth,
        points.devices(),
        BenchmarkOptions(draws=20),
    )
    assert accuracy.points == len(points) - 6 and accuracy.architectures == 23 and accuracy.failures
    with pytest.raises(BadInput, match="0 points in common"):
        score_accuracy(points, ScoreColumn("none", np.full(len(points), np.nan)), truth, points.devices())


def test_sizes_of_one_architecture_are_drawn_together(points: TrainedDetectors) -> None:
    weight = bootstrap_weights(points.arch, 10, 0)
    for name in set(points.arch):
        own = weight[:, points.arch == name]
        assert (own == own[:, :1]).all()
    assert (weight[:, points.input_px == 64].sum(axis=1) == 24).all()
    assert (bootstrap_weights(points.arch, 10, 0) == weight).all() and (
        bootstrap_weights(points.arch, 10, 1) != weight
    ).any()


def test_every_family_has_its_own_figure(points: TrainedDetectors) -> None:
    truth = points.target(TARGET)
    half = np.where(points.family == "alpha1", truth, -truth)
    accuracy = score_accuracy(points, ScoreColumn("half", half), truth, points.devices(), BenchmarkOptions(draws=20))
    assert {name: figure.value for name, figure in accuracy.by_family.items()} == pytest.approx(
        {"alpha1": 1.0, "beta2": -1.0}
    )
    assert accuracy.in_family.value == pytest.approx(0) and accuracy.to_dict()["by_family"]["beta2"][
        "high"
    ] == pytest.approx(-1)
