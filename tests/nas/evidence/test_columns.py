"""Scores at many points: closed forms and plain sizes, refused points with a reason."""

from __future__ import annotations

import numpy as np
import pytest

from nas.evidence.columns import GRAPH_SIZES, runs_network, score_columns, score_names
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
    assert GRAPH_SIZES["params"](graph, 64) == sum(weights) + 4 + 8 + 16 + 16 + 16
    assert GRAPH_SIZES["flops"](graph, 64) == 2 * sum(
        w * s * s for w, s in zip(weights, (32, 16, 8, 8, 8), strict=True)
    )
    assert GRAPH_SIZES["depth"](graph, 64) == 5


def test_closed_forms_at_every_point(points: TrainedDetectors) -> None:
    names = [name for name in score_names() if not runs_network(name)]
    columns = score_columns(points, names)
    assert [column.name for column in columns] == names
    for column in columns:
        assert column.values.shape == (len(points),) and np.isfinite(column.values).all() and not column.failures
    with pytest.raises(BadInput, match="unknown score 'activation': did you mean activations"):
        score_columns(points, ["activation"])


def test_a_refused_point_keeps_its_reason(points: TrainedDetectors) -> None:
    lone = Graph([Op("upsample", (-1,), attrs={"scale": 2})], ((3,),), name="alpha1w4d1")
    broken = TrainedDetectors(
        points.source,
        points.arch,
        points.family,
        points.input_px,
        {**points.graphs, "alpha1w4d1": lone},
        points.accuracy,
        points.latency,
    )
    (column,) = score_columns(broken, ["activations"])
    assert "no convolution" in column.failures["alpha1w4d1"]
    assert (
        np.isnan(column.values[points.arch == "alpha1w4d1"]).all()
        and np.isfinite(column.values[points.arch != "alpha1w4d1"]).all()
    )
