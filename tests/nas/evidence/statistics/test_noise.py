"""The noise ceiling finds noise that was put in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas.evidence.benchmark import benchmark_scores
from nas.evidence.columns import ScoreColumn
from nas.evidence.statistics.accuracy import BenchmarkOptions
from nas.evidence.statistics.noise import noise_ceiling, repeated_runs_ceiling
from nas.evidence.trained import TARGET, TrainedDetectors, read_trained
from nas.kendall import kendall
from tests.nas.evidence.trained import folder


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> TrainedDetectors:
    return read_trained(folder(tmp_path_factory.mktemp("trained")))


def test_the_ceiling_finds_the_noise(tmp_path: Path) -> None:
    points = read_trained(folder(tmp_path, noise=0.01))
    ceiling = noise_ceiling(points, points.target(TARGET), points.devices())
    assert ceiling is not None and ceiling.architectures == 24
    assert ceiling.deviation_points == pytest.approx(1.0, rel=0.2)
    assert 0.3 < ceiling.low <= ceiling.equal_latency <= ceiling.high < 0.98


def test_without_noise_the_ceiling_is_one(points: TrainedDetectors) -> None:
    ceiling = noise_ceiling(points, points.target(TARGET), points.devices())
    assert ceiling is not None and ceiling.deviation_points < 0.01 and ceiling.equal_latency > 0.97


def test_too_few_sizes_have_no_ceiling(points: TrainedDetectors) -> None:
    part = points.part(points.input_px <= 128)
    assert noise_ceiling(part, part.target(TARGET), part.devices()) is None


def repeated(
    points: TrainedDetectors, deviation: float, seeds: int, truth: np.ndarray, draw: int = 0
) -> TrainedDetectors:
    """The points trained ``seeds`` times, one of them once only, with known noise."""
    runs = truth[:, None] + deviation * np.random.default_rng(draw).standard_normal((len(truth), seeds))
    runs[0, 1:] = np.nan
    columns = {"map": np.nanmean(runs, axis=1)} | {f"map_seed{seed}": runs[:, seed] for seed in range(seeds)}
    return replace(points, accuracy=columns)


def test_repeated_trainings_tell_the_noise(points: TrainedDetectors) -> None:
    truth = points.target(TARGET)
    for seeds in (2, 4):
        samples = [repeated(points, 0.05, seeds, truth, draw) for draw in range(8)]
        estimates = [repeated_runs_ceiling(sample, "map", {}) for sample in samples]
        ceilings = [ceiling for ceiling in estimates if ceiling is not None]
        assert len(ceilings) == 8 and {ceiling.architectures for ceiling in ceilings} == {len(points) - 1}
        assert np.mean([ceiling.deviation_points for ceiling in ceilings]) == pytest.approx(5.0, rel=0.05)
        # What a score that knows the truth really reaches, and what one run says of another, which is less.
        reached = np.mean([kendall(truth, sample.target("map")) for sample in samples])
        assert np.mean([ceiling.tau for ceiling in ceilings]) == pytest.approx(reached, abs=0.03)
        assert all(c.between_runs is not None and c.between_runs < c.tau for c in ceilings)
    benchmark = benchmark_scores(
        repeated(points, 0.05, 2, truth),
        [ScoreColumn("truth", truth)],
        "map",
        points.devices(),
        BenchmarkOptions(draws=5),
    )
    assert benchmark.ceiling == repeated_runs_ceiling(repeated(points, 0.05, 2, truth), "map", points.devices())


def test_where_all_is_noise_there_is_no_ceiling(points: TrainedDetectors) -> None:
    same = replace(
        points,
        accuracy={
            "map": np.array([0.4, 0.6] * 72),
            "map_seed0": np.array([0.3, 0.9] * 72),
            "map_seed1": np.array([0.5, 0.3] * 72),
        },
    )
    flat = repeated_runs_ceiling(same, "map", points.devices())
    assert (
        flat is not None
        and np.isnan(flat.tau)
        and flat.to_dict()["tau"] is None
        and flat.between_runs == pytest.approx(-1)
    )


def test_without_repeats_there_is_nothing_to_tell(points: TrainedDetectors) -> None:
    assert repeated_runs_ceiling(points, TARGET, points.devices()) is None
    single = replace(points, accuracy={"map": points.target(TARGET), "map_seed0": points.target(TARGET)})
    assert repeated_runs_ceiling(single, "map", points.devices()) is None
