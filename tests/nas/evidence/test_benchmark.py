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
