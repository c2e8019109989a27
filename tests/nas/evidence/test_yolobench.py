"""Facts about the real benchmark that must not drift: plain measures, noise and what the shipped score is worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nas.evidence.columns import columns
from nas.evidence.noise import ceiling
from nas.evidence.rank import equal_latency_tau
from nas.evidence.trained import TARGET, TrainedDetectors, read_trained
from nas.kendall import kendall

DEVICES = ("jetson_nano", "intel_i7", "raspberrypi4_cpu_tflite_fp32", "nvidia_a40")


@pytest.fixture(scope="module")
def points(shared_dir: Path) -> TrainedDetectors:
    folder = shared_dir / "yolobench"
    if not folder.is_dir():
        pytest.skip("no folder yolobench beside the repository")
    return read_trained(folder)


def test_plain_measures_stand_where_they_stood(points: TrainedDetectors) -> None:
    truth = points.target(TARGET)
    found = {column.name: column.values for column in columns(points, ["flops", "params", "activations"])}
    over_all = {name: kendall(values, truth) for name, values in found.items()}
    equal = {name: np.mean([equal_latency_tau(values, truth, ms) for ms in points.devices(DEVICES).values()]) for name, values in found.items()}
    assert over_all == pytest.approx({"flops": 0.731, "params": 0.423, "activations": 0.788}, abs=1e-3)
    assert equal == pytest.approx({"flops": 0.310, "params": -0.327, "activations": 0.518}, abs=1e-3)


def test_noise_leaves_room_above_the_plain_measures(points: TrainedDetectors) -> None:
    found = ceiling(points, points.target(TARGET), points.devices(DEVICES))
    assert found is not None
    assert found.deviation_points == pytest.approx(0.645, abs=0.01)
    assert 0.86 < found.equal_latency < 0.91


def test_forward_scores_run_on_the_largest_graphs(points: TrainedDetectors) -> None:
    pytest.importorskip("torch")
    from nas.scores import SCORES
    from nas.scores.forward import observe

    largest = max(points.graphs.values(), key=lambda graph: float(graph.table(320).out_elems.sum()))
    watched = {name: SCORES[name].observation for name in ("nwot", "nwot_pre", "meco", "expressivity")}
    found = observe({name: o for name, o in watched.items() if o is not None}, largest, 96, seed=0, most_px=96)
    assert all(np.isfinite(result.value) for result in found.values())
