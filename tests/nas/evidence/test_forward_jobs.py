"""Forward-pass scores: the same with any number of jobs, cached, and resumed."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from nas.evidence import forward_jobs
from nas.evidence.columns import score_columns
from nas.evidence.trained import TrainedDetectors, read_trained
from tests.nas.evidence.trained import folder


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> TrainedDetectors:
    return read_trained(folder(tmp_path_factory.mktemp("trained")))


def test_forward_scores_are_kept_and_not_run_twice(
    points: TrainedDetectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    few = points.part((points.input_px == 64) & (points.family == "alpha1"))
    names = ["nwot", "expressivity", "synflow"]
    first = score_columns(few, names[:2], seed=1, folder=tmp_path)
    asked: list[tuple[str, ...]] = []
    real = forward_jobs.compute_scores
    monkeypatch.setattr(forward_jobs, "compute_scores", lambda task: (asked.append(task.names), real(task))[1])
    again = score_columns(few, names, seed=1, folder=tmp_path)
    assert set(asked) == {("synflow",)} and len(asked) == len(few)
    for first_column, second_column in zip(first, again[:2], strict=True):
        assert (first_column.values == second_column.values).all()
    other_seed = score_columns(few, ["nwot"], seed=2, folder=tmp_path)
    assert (other_seed[0].values != first[0].values).all()


def test_an_interrupted_run_goes_on(points: TrainedDetectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    few = points.part((points.input_px == 64) & (points.family == "alpha1"))
    real, count = forward_jobs.compute_scores, [0]

    def stops(task: forward_jobs.ScoreJob) -> object:
        count[0] += 1
        if count[0] == 4:
            raise KeyboardInterrupt
        return real(task)

    monkeypatch.setattr(forward_jobs, "compute_scores", stops)
    with pytest.raises(KeyboardInterrupt):
        score_columns(few, ["nwot"], folder=tmp_path)
    results = score_columns(few, ["nwot"], folder=tmp_path)
    assert count[0] == 4 + len(few) - 3
    monkeypatch.setattr(forward_jobs, "compute_scores", real)
    assert (results[0].values == score_columns(few, ["nwot"])[0].values).all()


def test_one_refusal_does_not_silence_the_others(points: TrainedDetectors) -> None:
    pytest.importorskip("torch")
    from search_spaces.graph_builder import GraphBuilder

    g = GraphBuilder(3)
    g.conv(-1, 4, 3)
    results = forward_jobs.compute_scores(
        forward_jobs.ScoreJob(g.finish(name="linear"), 32, ("nwot", "nwot_pre", "expressivity"), 0)
    )
    assert "has no activation" in results["nwot"]["failure"]
    assert np.isfinite(results["nwot_pre"]["value"]) and np.isfinite(results["expressivity"]["value"])


@pytest.mark.slow
def test_values_do_not_depend_on_the_jobs(points: TrainedDetectors) -> None:
    pytest.importorskip("torch")
    if find_spec("ray") is None:
        pytest.skip("needs ray")
    few = points.part((points.input_px == 64) & (points.family == "alpha1"))
    names = ["nwot", "zico", "zen"]
    alone = score_columns(few, names, jobs=1)
    # a local Ray wants a process in which nobody has imported ray before
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as elsewhere:
        together = elsewhere.submit(score_columns, few, names, jobs=2).result()
    for first_column, second_column in zip(alone, together, strict=True):
        assert (first_column.values == second_column.values).all()
