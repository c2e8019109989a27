"""Graphs written as ONNX: they run, compute what they say, and read back as the same costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nas.devices.calibration.chains import DESIGNS, designed_chains
from search_spaces.blocks import BLOCK_KINDS
from search_spaces.blocks.base import Flow, StageNumbers
from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder
from search_spaces.lowering import lower
from search_spaces.ops import Op
from search_spaces.published import PUBLISHED
from workbench.errors import BadInput
from zoo.graphs.to_onnx import ACTIVATIONS, graph_to_onnx

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")


def outputs(content: bytes, image: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: image})
    return [np.asarray(value) for value in found]


EXPECTED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "hardswish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "hardsigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.1 * x),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "gelu": lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
}


def test_every_activation_is_tested() -> None:
    assert set(EXPECTED) == {*ACTIVATIONS, "relu6", "gelu"}


@pytest.mark.parametrize("kind", EXPECTED)
def test_activations_compute_what_they_are_called(kind: str) -> None:
    g = GraphBuilder(4)
    graph = g.finish([g.single("act", -1, kind=kind)])
    image = np.linspace(-8, 8, 4 * 6 * 6, dtype=np.float32).reshape(1, 4, 6, 6)
    found = outputs(graph_to_onnx(graph, (6, 6)), image)[0]
    np.testing.assert_allclose(found, EXPECTED[kind](image), rtol=1e-4, atol=1e-5)


CHAINS = designed_chains(2 * sum(weight for _, weight in DESIGNS.values()), seed=11)


@pytest.mark.parametrize("graph", CHAINS, ids=lambda graph: graph.name)
def test_designed_chains_run_and_read_back_alike(graph: Graph, tmp_path: Path) -> None:
    """Two doors, one cost: what runs has the multiply-accumulates and weights that the graph was fitted with."""
    from zoo.graphs.from_onnx import read_onnx

    content = graph_to_onnx(graph)
    shape = tuple(int(v) for v in graph.inputs[0])
    found = outputs(content, np.random.default_rng(0).random((1, *shape), dtype=np.float32))
    assert [value.shape[1:] for value in found] == [tuple(int(v) for v in graph.shapes()[i]) for i in graph.outputs]
    assert all(np.isfinite(value).all() for value in found)
    path = tmp_path / "chain.onnx"
    path.write_bytes(content)
    ours, theirs = graph.table(), read_onnx(path).table()
    assert theirs.total(theirs.macs) == ours.total(ours.macs)
    # A learned scale comes back as a product with a constant, which holds no weight.
    assert theirs.total(theirs.weight_elems) == ours.total(ours.weight_elems) - sum(op.kind == "scale" for op in graph)


@pytest.mark.parametrize("size", [(4, 6), (8, 8)])
def test_attention_that_is_bound_to_no_size_runs_at_any(size: tuple[int, int], tmp_path: Path) -> None:
    from zoo.graphs.from_onnx import read_onnx

    g = GraphBuilder(48)
    stage = StageNumbers(48, 64, 128, 3, 2, 1, "silu")
    graph = g.finish([BLOCK_KINDS["c2psa"].lower(g, Flow(-1), stage).x])
    content = graph_to_onnx(graph, size)
    (found,) = outputs(content, np.random.default_rng(0).random((1, 48, *size), dtype=np.float32))
    assert found.shape == (1, 64, *size) and np.isfinite(found).all() and found.std() > 1e-3
    (tmp_path / "x.onnx").write_bytes(content)
    ours, theirs = graph.table(size), read_onnx(tmp_path / "x.onnx").table()
    assert ours.total(ours.macs) == theirs.total(theirs.macs)
    assert ours.total(ours.params) == theirs.total(theirs.params)


def test_numbers_neither_fade_nor_grow_through_a_detector() -> None:
    """Denormal numbers would be timed instead of the network."""
    image = np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)
    found = outputs(graph_to_onnx(lower(PUBLISHED["damo-yolo-ns"]), (64, 64)), image)
    for value in found:
        assert 1e-3 < float(np.abs(value).mean()) < 1e3


def test_the_seed_decides_the_weights() -> None:
    graph = CHAINS[0]
    assert graph_to_onnx(graph, seed=1) == graph_to_onnx(graph, seed=1) != graph_to_onnx(graph, seed=2)


def test_what_cannot_be_written_is_named() -> None:
    with pytest.raises(BadInput, match=r"op 0 \(topk\)"):
        graph_to_onnx(Graph([Op("topk", (-1,), attrs={"shape": [1, 3]})], [(3, 8, 8)], [0], "g"))
    with pytest.raises(BadInput, match="'swoosh'"):
        graph_to_onnx(Graph([Op("act", (-1,), attrs={"kind": "swoosh"})], [(3, 8, 8)], [0], "g"))
    with pytest.raises(BadInput, match="how many pixels"):
        graph_to_onnx(Graph([Op("act", (-1,), attrs={"kind": "relu"})], [(3,)], [0], "g"))
