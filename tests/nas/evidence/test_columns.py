"""Scores over many points: the same alone or in company, kept, and refused with a reason."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from nas.evidence import columns as module
from nas.evidence.columns import columns, is_slow, known_names
from nas.evidence.graph_sizes import PLAIN
from nas.evidence.trained import TrainedDetectors, read_trained
from search_spaces.graph import Graph
from search_spaces.ops import Op
from tests.nas.evidence.trained import folder, network
from workbench.errors import BadInput


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> TrainedDetectors:
    return read_trained(folder(tmp_path_factory.mktemp("trained")))


def test_plain_measures_by_hand() -> None:
    graph = network("n", 4, 2)
    weights = [3 * 4 * 9, 4 * 8 * 9, 8 * 16 * 9, 16 * 16 * 9, 16 * 16 * 9]
    assert PLAIN["params"](graph, 64) == sum(weights) + 4 + 8 + 16 + 16 + 16
    assert PLAIN["flops"](graph, 64) == 2 * sum(w * s * s for w, s in zip(weights, (32, 16, 8, 8, 8), strict=True))
    assert PLAIN["depth"](graph, 64) == 5


def test_closed_forms_at_every_point(points: TrainedDetectors) -> None:
    names = [name for name in known_names() if not is_slow(name)]
    found = columns(points, names)
    assert [column.name for column in found] == names
    for column in found:
        assert column.values.shape == (len(points),) and np.isfinite(column.values).all() and not column.failures
    with pytest.raises(BadInput, match="unknown score 'activation': did you mean activations"):
        columns(points, ["activation"])


def test_a_refused_point_keeps_its_reason(points: TrainedDetectors) -> None:
    lone = Graph([Op("upsample", (-1,), attrs={"scale": 2})], ((3,),), name="alpha1w4d1")
    broken = TrainedDetectors(points.source, points.arch, points.family, points.input_px, {**points.graphs, "alpha1w4d1": lone}, points.accuracy, points.latency)
    (column,) = columns(broken, ["activations"])
    assert "no convolution" in column.failures["alpha1w4d1"]
    assert np.isnan(column.values[points.arch == "alpha1w4d1"]).all() and np.isfinite(column.values[points.arch != "alpha1w4d1"]).all()


def test_forward_scores_are_kept_and_not_run_twice(points: TrainedDetectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    few = points.part((points.input_px == 64) & (points.family == "alpha1"))
    names = ["nwot", "expressivity", "synflow"]
    first = columns(few, names[:2], seed=1, folder=tmp_path)
    asked: list[tuple[str, ...]] = []
    real = module.compute_scores
    monkeypatch.setattr(module, "measure", lambda task: (asked.append(task.names), real(task))[1])
    again = columns(few, names, seed=1, folder=tmp_path)
    assert set(asked) == {("synflow",)} and len(asked) == len(few)
    for one, other in zip(first, again[:2], strict=True):
        assert (one.values == other.values).all()
    other_seed = columns(few, ["nwot"], seed=2, folder=tmp_path)
    assert (other_seed[0].values != first[0].values).all()


def test_an_interrupted_run_goes_on(points: TrainedDetectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    few = points.part((points.input_px == 64) & (points.family == "alpha1"))
    real, count = module.compute_scores, [0]

    def stops(task: module.ScoreJob) -> object:
        count[0] += 1
        if count[0] == 4:
            raise KeyboardInterrupt
        return real(task)

    monkeypatch.setattr(module, "measure", stops)
    with pytest.raises(KeyboardInterrupt):
        columns(few, ["nwot"], folder=tmp_path)
    found = columns(few, ["nwot"], folder=tmp_path)
    assert count[0] == 4 + len(few) - 3
    monkeypatch.setattr(module, "measure", real)
    assert (found[0].values == columns(few, ["nwot"])[0].values).all()


def test_one_refusal_does_not_silence_the_others(points: TrainedDetectors) -> None:
    pytest.importorskip("torch")
    from search_spaces.graph_builder import GraphBuilder

    g = GraphBuilder(3)
    g.conv(-1, 4, 3)
    found = module.compute_scores(module.ScoreJob(g.finish(name="linear"), 32, ("nwot", "nwot_pre", "expressivity"), 0))
    assert "has no activation" in found["nwot"]["failure"]
    assert np.isfinite(found["nwot_pre"]["value"]) and np.isfinite(found["expressivity"]["value"])


@pytest.mark.slow
def test_values_do_not_depend_on_the_jobs(points: TrainedDetectors) -> None:
    pytest.importorskip("torch")
    if find_spec("ray") is None:
        pytest.skip("needs ray")
    few = points.part((points.input_px == 64) & (points.family == "alpha1"))
    names = ["nwot", "zico", "zen"]
    alone = columns(few, names, jobs=1)
    # a local Ray wants a process in which nobody has imported ray before
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as elsewhere:
        together = elsewhere.submit(columns, few, names, jobs=2).result()
    for one, other in zip(alone, together, strict=True):
        assert (one.values == other.values).all()
