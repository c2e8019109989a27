"""The zoo's published detectors as evidence."""

from __future__ import annotations

import numpy as np
import pytest

from nas.evidence.published import DEVICE, TARGET, blur, zoo_detectors
from nas.evidence.rank import equal_latency_tau
from nas.evidence.trained import TrainedDetectors
from search_spaces.ops import DECODE_PART


def families(offset: float, seed: int = 0) -> TrainedDetectors:
    """Three families of six models on one curve of AP over latency, one of them ``offset`` above the others."""
    rng = np.random.default_rng(seed)
    family = np.repeat(["a", "b", "c"], 6)
    ms = np.exp(rng.uniform(0, 2, 18))
    ap = 0.4 + 0.05 * np.log(ms) + np.where(family == "c", offset, 0.0)
    names = np.array([f"{kin}{i}" for i, kin in enumerate(family)])
    return TrainedDetectors("made up", names, family, np.full(18, 640), {}, {TARGET: ap}, {DEVICE: ms})


def test_blur_finds_what_separates_families() -> None:
    found = blur(families(0.06), bins=3)
    assert found.offset_points == pytest.approx({"a": -2.0, "b": -2.0, "c": 4.0}, abs=0.01)
    assert found.deviation_points == pytest.approx(np.std([-2, -2, 4], ddof=1), abs=0.01)
    assert found.residual_points < 0.01 and found.blind_oracle < 0.8


def test_without_offsets_nothing_is_blurred() -> None:
    found = blur(families(0.0), bins=3)
    assert found.deviation_points < 1e-6 and found.blind_oracle == pytest.approx(1.0)


@pytest.mark.slow
def test_every_model_of_the_zoo_has_a_graph_without_its_decoding() -> None:
    pytest.importorskip("torch")
    from zoo.families.card import load_cards

    points = zoo_detectors()
    assert list(points.arch) == list(load_cards())
    assert all(op.part != DECODE_PART for graph in points.graphs.values() for op in graph)
    assert np.isfinite(points.accuracy[TARGET]).all() and 20 <= np.isfinite(points.latency[DEVICE]).sum() < len(points)
    known = points.latency[DEVICE]
    assert np.isnan(equal_latency_tau(np.zeros(len(points)), points.accuracy[TARGET], known, 4))
