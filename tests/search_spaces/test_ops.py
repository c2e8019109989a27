"""One vocabulary: no front end, cost model or stored graph names an op or an activation outside of ``ops``."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from nas.devices.model import LatencyModel
from nas.devices.profile import DeviceProfile, device_names, load_device
from search_spaces import ops
from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder
from search_spaces.lowering import lower, skeleton
from search_spaces.published import PUBLISHED

VOCABULARY = set(ops.ACTIVATIONS)
STORED = sorted(
    path
    for folder in ("../shared", "docs/benchmarks")
    for path in (Path(__file__).parents[2] / folder).glob("*/graphs.jsonl.gz")
)


def activations_of(graph: Graph) -> set[str]:
    return {op.activation for op in graph}


def one_conv(act: str) -> Graph:
    g = GraphBuilder(64)
    return g.finish([g.conv(-1, 64, k=3, act=act)])


def test_groups_are_part_of_the_vocabulary() -> None:
    groups = [value for name, value in vars(ops).items() if name.endswith("_KINDS")]
    assert len(groups) > 10
    for group in groups:
        assert group <= ops.OP_KINDS
    assert ops.RELU_LIKE | ops.GATES | set(ops.ACTIVATION_ALIASES.values()) <= VOCABULARY
    assert not VOCABULARY & set(ops.ACTIVATION_ALIASES)


@pytest.mark.parametrize("name", PUBLISHED)
def test_lowering_writes_the_vocabulary(name: str) -> None:
    for graph in (lower(PUBLISHED[name]), skeleton(PUBLISHED[name])):
        assert {op.kind for op in graph} <= ops.OP_KINDS
        assert activations_of(graph) <= VOCABULARY


def test_onnx_doors_speak_the_vocabulary() -> None:
    from zoo.graphs import from_onnx, to_onnx

    constants = {f"{kind}_const" for kind in from_onnx.ELEMENTWISE.values()}
    assert {*from_onnx.PLAIN.values(), *from_onnx.ELEMENTWISE.values(), *constants} <= ops.OP_KINDS
    assert set(from_onnx.ACTIVATIONS.values()) <= VOCABULARY
    assert set(to_onnx.WRITERS) <= ops.OP_KINDS
    assert set(to_onnx.ACTIVATIONS) <= VOCABULARY


def test_torch_doors_speak_the_vocabulary() -> None:
    pytest.importorskip("torch")
    from zoo import layers
    from zoo.graphs import to_torch, trace_rules

    assert set(to_torch.RUNNABLE) <= ops.OP_KINDS
    assert set(to_torch.ACTIVATIONS) <= VOCABULARY
    assert set(layers.ACTIVATIONS) <= VOCABULARY
    assert set(trace_rules.TRACED_ACTIVATIONS) <= VOCABULARY & set(trace_rules.RULES)
    source = Path(trace_rules.__file__).read_text(encoding="utf-8")
    traced = set(re.findall(r'(?:add|_plain|_shaped|_reduce|_pool|_arithmetic)\("(\w+)"', source))
    assert len(traced) > 20
    assert traced <= ops.OP_KINDS


def test_calibration_chains_speak_the_vocabulary() -> None:
    from nas.devices.calibration_set import designed_chains

    for graph in designed_chains(150, seed=3):
        assert {op.kind for op in graph} <= ops.OP_KINDS
        assert activations_of(graph) <= VOCABULARY


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.parent.name)
def test_stored_graphs_are_read_in_the_vocabulary(path: Path) -> None:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            graph = Graph.from_json(json.loads(line))
            assert {op.kind for op in graph} - set(graph.meta.get("unknown_ops", ())) <= ops.OP_KINDS, graph.name
            assert activations_of(graph) <= VOCABULARY, graph.name


def test_the_old_spelling_is_read_as_the_new_one() -> None:
    conv = {"op": "conv", "in": [-1], "cin": 3, "cout": 8, "k": 3, "act": "leakyrelu"}
    graph = Graph.from_json({"nodes": [conv, {"op": "act", "in": [0], "kind": "leakyrelu"}]})
    assert [op.activation for op in graph] == ["leaky_relu", "leaky_relu"]
    assert "leakyrelu" not in json.dumps(graph.to_json())


def test_traced_torch_functions_keep_their_names() -> None:
    torch = pytest.importorskip("torch")
    from zoo.graphs.trace import trace
    from zoo.graphs.trace_rules import TRACED_ACTIVATIONS

    class Apply(torch.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self, name: str) -> None:
            super().__init__()
            self.function = getattr(torch.nn.functional, name)

        def forward(self, x: object) -> object:
            return self.function(x)

    for name in TRACED_ACTIVATIONS:
        assert [op.activation for op in trace(Apply(name), 32)] == [name]


@pytest.mark.parametrize("device", device_names())
def test_leaky_relu_costs_what_relu_costs(device: str) -> None:
    """Every runtime fuses both; SiLU is the activation that a profile may charge for."""
    profile = load_device(device)
    times = {act: profile.latency_ms(one_conv(act), 64) for act in ("relu", "leaky_relu", "silu")}
    assert times["leaky_relu"] == times["relu"] <= times["silu"]


def test_leaky_relu_on_the_npu_that_charges_for_silu() -> None:
    """A 3x3 convolution, 64 to 64 channels at 80 px: 0.56 ms, where SiLU's price would make it 2.4 ms."""
    khadas: DeviceProfile = load_device("khadas-vim3-npu")
    own = {act: khadas.latency_ms(one_conv(act), 80) - khadas.fixed_ms for act in ("leaky_relu", "silu")}
    assert own["leaky_relu"] == pytest.approx(0.564, abs=0.01)
    assert own["silu"] == pytest.approx(2.4, abs=0.01)


def test_the_latency_model_charges_only_what_is_not_like_relu() -> None:
    plain = LatencyModel(10, 10, 1, 1, 10, 100, 100, 100, 1, 1, activation_us=50.0)
    ms = {act: float(plain.op_ms(one_conv(act).table(64))[0]) for act in ops.ACTIVATIONS}
    costly = {act for act, value in ms.items() if value > ms["none"]}
    assert costly == VOCABULARY - ops.RELU_LIKE
