"""The whole benchmark: paired differences, text and table."""

from __future__ import annotations

import numpy as np
import pytest

from nas.evidence.benchmark import REFERENCE, benchmark_scores
from nas.evidence.columns import ScoreColumn
from nas.evidence.statistics.accuracy import BenchmarkOptions
from nas.evidence.trained import TARGET, TrainedDetectors, read_trained
from tests.nas.evidence.trained import folder


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> TrainedDetectors:
    return read_trained(folder(tmp_path_factory.mktemp("trained")))


def test_differences_are_paired(points: TrainedDetectors) -> None:
    truth = points.target(TARGET)
    noisy = truth + 0.02 * np.random.default_rng(0).standard_normal(len(truth))
    benchmark = benchmark_scores(
        points,
        [ScoreColumn("activations", noisy), ScoreColumn("same", noisy.copy()), ScoreColumn("truth", truth.copy())],
        TARGET,
        points.devices(),
        BenchmarkOptions(draws=100),
    )
    same, better = benchmark.lead("same"), benchmark.lead("truth")
    assert same is not None and better is not None
    assert same.low == same.high == 0 and better.low > 0
    assert benchmark.lead("activations") is None
    assert benchmark.to_dict()["scores"][2]["lead_over_activations"]["value"] > 0


def test_text_and_table_rank_the_scores(points: TrainedDetectors) -> None:
    truth = points.target(TARGET)
    columns = [ScoreColumn(REFERENCE, -truth, {"alpha1w4d1": "too small"}), ScoreColumn("truth", truth.copy())]
    benchmark = benchmark_scores(points, columns, TARGET, points.devices(), BenchmarkOptions(draws=20))
    header, rows = benchmark.to_table()
    assert len(header) == len(rows[0]) == 10 and [row[0] for row in rows] == ["truth", REFERENCE]
    lines = str(benchmark).splitlines()
    assert lines[0].startswith("144 points, 24 architectures of 2 families, accuracy voc_scratch_map50_95 of ")
    assert any(line.startswith("Noise: one training run scatters by about 0.00 mAP points") for line in lines)
    assert lines[-1] == f"{REFERENCE} has no value for alpha1w4d1: too small"


def test_devices_with_few_points_neither_silence_the_mean_nor_the_others(points: TrainedDetectors) -> None:
    truth = points.target(TARGET)
    ms = points.devices()["dear_width"]
    order = np.random.default_rng(0).permutation(len(points))
    some, few, none = (np.where(np.isin(np.arange(len(points)), order[:n]), ms, np.nan) for n in (40, 12, 0))
    devices = {"all": ms, "some": some, "few": few, "none": none}
    options = BenchmarkOptions(draws=20)
    benchmark = benchmark_scores(points, [ScoreColumn("truth", truth.copy())], TARGET, devices, options)
    assert benchmark.bins == {"all": 12, "some": 4, "few": 1, "none": 1} == benchmark.figures()["bins"]
    accuracy = benchmark.accuracies[0]
    assert accuracy.equal_latency.value == 1.0 and accuracy.regret_points.value == 0.0
    assert np.isnan(accuracy.equal_latency_by_device["none"].value)
    line = "latency bins: all 12 (144 points), some 4 (40 points), few 1 (12 points), none 1 (0 points)"
    assert line in str(benchmark).splitlines()
