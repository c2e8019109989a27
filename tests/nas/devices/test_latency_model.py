"""LatencyModel: elementwise, never negative, never cheaper for more channels, fast."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.devices.model import LatencyModel
from nas.devices.profile import SHIPPED, load_device
from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder
from search_spaces.ops import Op
from workbench.errors import BadInput

MODEL = load_device("t4").model
MODELS = {path.stem: load_device(path).model for path in sorted(SHIPPED.glob("*.yaml"))}
channels = st.integers(1, 1024)
kernels = st.sampled_from([1, 3, 5, 7])


def one_conv(cin: int, cout: int, k: int, s: int = 1, g: int = 1) -> Graph:
    return Graph([Op("conv", (-1,), cin, cout, (k, k), (s, s), (k // 2, k // 2), g)], inputs=[[cin]])


def conv_ms(cin: int, cout: int, k: int, px: int = 40, s: int = 1, g: int = 1, model: LatencyModel = MODEL) -> float:
    return float(model.op_ms(one_conv(cin, cout, k, s, g).table(px))[0])


@given(channels, channels, kernels, st.sampled_from([1, 2]), st.sampled_from([7, 20, 80]))
@settings(max_examples=60, deadline=None)
def test_a_conv_is_never_free(cin: int, cout: int, k: int, s: int, px: int) -> None:
    assert conv_ms(cin, cout, k, px, s) >= MODEL.kernel_us * 1e-3 > 0


@given(channels, channels, st.integers(0, 300), st.integers(0, 300), kernels, st.sampled_from([20, 80]))
@settings(max_examples=80, deadline=None)
def test_more_channels_never_cost_less(cin: int, cout: int, more_in: int, more_out: int, k: int, px: int) -> None:
    assert conv_ms(cin + more_in, cout + more_out, k, px) >= conv_ms(cin, cout, k, px)


@given(st.integers(2, 512), st.integers(0, 300), kernels)
@settings(max_examples=40, deadline=None)
def test_more_depthwise_channels_never_cost_less(c: int, more: int, k: int) -> None:
    assert conv_ms(c + more, c + more, k, g=c + more) >= conv_ms(c, c, k, g=c)


@given(channels, channels, st.sampled_from([1, 3, 5]), st.integers(8, 64))
@settings(max_examples=40, deadline=None)
def test_larger_kernels_and_images_never_cost_less(cin: int, cout: int, k: int, px: int) -> None:
    assert conv_ms(cin, cout, k + 2, px) >= conv_ms(cin, cout, k, px)
    assert conv_ms(cin, cout, k, px + 1) >= conv_ms(cin, cout, k, px)


def block(c1: object, c2: object, c3: object, groups: object = 1, depth: object = 1) -> Graph:
    """A little network of every class: dense, depth-wise or grouped, fused add, pool, upsample, join, deconv."""
    g = GraphBuilder(3)
    x = g.conv(-1, c1, 3, 2, act="silu")
    for _ in g.times(depth):
        y = g.conv(x, c2, 1, act="relu")
        y = g.conv(y, c2, 3, g=groups)
        y = g.conv(y, c1, 1)
        x = g.join("add", x, y)
    p = g.single("maxpool", x, k=(5, 5), s=(1, 1), p=(2, 2))
    x = g.join("concat", x, p)
    x = g.conv(x, c3, 1)
    x = g.single("upsample", x, scale=2)
    return Graph(g.ops, g.inputs, [len(g.ops) - 1])


def test_a_batched_table_equals_its_candidates_one_by_one() -> None:
    rng = np.random.default_rng(0)
    n = 50
    c1, c3, depth = (rng.integers(1, 300, n) for _ in range(3))
    c2 = rng.integers(2, 40, n) * 4
    groups = np.where(rng.random(n) < 0.4, c2, np.where(rng.random(n) < 0.5, 4, 1))
    depth = depth % 4
    table = block(c1, c2, c3, groups, depth).table(128)
    batched = (MODEL.op_ms(table) * table.count).sum(axis=0)
    for i in range(n):
        single = block(int(c1[i]), int(c2[i]), int(c3[i]), int(groups[i]), np.array([depth[i]])).table(128)
        alone = (MODEL.op_ms(single) * single.count).sum(axis=0)
        assert batched[i] == pytest.approx(float(alone[0]), rel=1e-12)


def test_no_op_depends_on_its_neighbours() -> None:
    table = block(32, 16, 64).table(64)
    whole = MODEL.op_ms(table)
    columns = [f.name for f in dataclasses.fields(table) if isinstance(getattr(table, f.name), np.ndarray)]
    for row in range(len(table.kinds)):
        kept = {name: getattr(table, name)[row : row + 1] for name in columns}
        texts = {name: getattr(table, name)[row : row + 1] for name in ("kinds", "acts", "parts", "names")}
        assert MODEL.op_ms(dataclasses.replace(table, **kept, **texts))[0] == whole[row]


def test_fused_ops_and_views_cost_no_kernel() -> None:
    conv = Op("conv", (-1,), 8, 8)
    ops = [conv, Op("act", (0,)), Op("reshape", (1,), attrs={"shape": [1, 8, 400]})]
    ms = MODEL.op_ms(Graph(ops, inputs=[[8]]).table(20))
    assert ms[0] > 0 and ms[1] == ms[2] == 0
    added = Graph([conv, Op("conv", (0,), 8, 8), Op("add", (1, 0))], inputs=[[8]])
    assert 0 < MODEL.op_ms(added.table(20))[2] < MODEL.kernel_us * 1e-3


def test_an_unknown_kind_costs_memory_traffic() -> None:
    graph = Graph([Op("warp_drive", (-1,), attrs={"shape": [1, 8, 20, 20]})], inputs=[[8]])
    ms = float(MODEL.op_ms(graph.table(20))[0])
    moved = 2 * 8 * 400
    large = 1 + MODEL.large_slowdown * moved / (moved + MODEL.large_elems)
    traffic = moved * MODEL.element_bytes / (MODEL.memory_gbs * 1e6) * large
    assert ms == pytest.approx(MODEL.memory_kernel_us * 1e-3 + traffic)


@pytest.mark.parametrize("name", MODELS)
def test_every_shipped_model_is_monotone_in_channels_kernel_and_size(name: str) -> None:
    model = MODELS[name]
    rng = np.random.default_rng(0)
    for _ in range(150):
        cin, cout = (int(2 ** rng.uniform(0, 11)) for _ in range(2))
        k, px, s = int(rng.choice([1, 3, 5, 7])), int(rng.choice([5, 10, 20, 40, 80, 160])), int(rng.choice([1, 2]))
        more_in, more_out, taller = (int(v) for v in rng.integers(1, 200, 3))
        here = conv_ms(cin, cout, k, px, s, model=model)
        slack = here * (1 - 1e-9)
        assert conv_ms(cin + more_in, cout, k, px, s, model=model) >= slack
        assert conv_ms(cin, cout + more_out, k, px, s, model=model) >= slack
        assert conv_ms(cin, cout, k, px + taller, s, model=model) >= slack
        assert conv_ms(cin, cout, k + 2, px, s, model=model) >= slack
        lone = conv_ms(cin + 1, cin + 1, k, px, g=cin + 1, model=model)
        assert conv_ms(cin + 1 + more_in, cin + 1 + more_in, k, px, g=cin + 1 + more_in, model=model) >= lone * (
            1 - 1e-9
        )


NEUTRAL = {
    "conv_tflops": 10.0,
    "pointwise_tflops": 5.0,
    "step_ns": 0.0,
    "depthwise_goutputs": 100.0,
    "matmul_tflops": 4.0,
    "bandwidth_gbs": 1e9,
    "weight_gbs": 1e9,
    "memory_gbs": 200.0,
    "kernel_us": 3.0,
    "memory_kernel_us": 2.0,
    "channel_pad": 1.0,
}
"""Rates so that the answers below can be worked by hand: traffic of convolutions costs nothing."""


def test_the_plain_roofline_by_hand() -> None:
    model = LatencyModel.from_dict(NEUTRAL)
    assert conv_ms(64, 32, 3, 10, model=model) == pytest.approx(0.003 + 64 * 9 * 32 * 100 * 2 / 10e12 * 1e3)
    assert conv_ms(64, 32, 1, 10, model=model) == pytest.approx(0.003 + 64 * 32 * 100 * 2 / 5e12 * 1e3)
    assert conv_ms(64, 64, 3, 10, g=64, model=model) == pytest.approx(0.003 + 64 * 100 / 100e9 * 1e3)


def test_an_activation_that_cannot_fuse_costs_by_output_and_relu_does_not() -> None:
    model = LatencyModel.from_dict({**NEUTRAL, "activation_us": 5.0, "activation_goutputs": 2.0})
    silu, relu = (Graph([Op("conv", (-1,), 8, 16, act=act)], inputs=[[8]]) for act in ("silu", "relu"))
    extra = float(model.op_ms(silu.table(20))[0] - model.op_ms(relu.table(20))[0])
    assert extra == pytest.approx(0.005 + 16 * 400 / 2e9 * 1e3)


def test_softmax_is_free_only_where_attention_is_one_kernel() -> None:
    graph = Graph([Op("softmax", (-1,))], inputs=[[8]])
    traffic = 2 * 8 * 400 * 2 / 200e9 * 1e3
    for share in (0.0, 1.0):
        model = LatencyModel.from_dict({**NEUTRAL, "softmax_share": share})
        assert float(model.op_ms(graph.table(20))[0]) == pytest.approx(share * (0.002 + traffic))


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), True, "3"])
@pytest.mark.parametrize("name", ["conv_tflops", "kernel_us"])
def test_impossible_coefficients_are_refused(name: str, value: object) -> None:
    with pytest.raises(BadInput, match=name):
        LatencyModel.from_dict({**MODEL.to_dict(), name: value})


def test_missing_and_unknown_coefficients_are_named() -> None:
    data = MODEL.to_dict()
    data.pop("matmul_tflops")
    with pytest.raises(BadInput, match="'matmul_tflops' is missing"):
        LatencyModel.from_dict(data)
    with pytest.raises(BadInput, match="'warp_factor'"):
        LatencyModel.from_dict({**MODEL.to_dict(), "warp_factor": 9.0})
