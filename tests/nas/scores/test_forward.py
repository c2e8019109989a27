"""Forward-pass scores against slow and plain versions of themselves."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from nas.scores import SCORES, get_score
from nas.scores.forward import observe
from nas.scores.forward_net import GraphNet, images, seeded
from nas.scores.zico import zico_of
from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder
from workbench.errors import BadInput

PX = 32


def branched() -> Graph:
    """Two strides, a branch, a concat, a convolution without an activation."""
    g = GraphBuilder(3)
    a = g.conv(-1, 8, 3, 2, act="silu")
    b = g.conv(a, 6, 1, act="relu")
    c = g.join("concat", a, b)
    d = g.conv(c, 12, 3, 2, act="silu")
    e = g.conv(d, 5, 1)
    return g.finish([e], "branched")


def tensors(graph: Graph, batch: int, seed: int) -> list[tuple[Any, Any, Any]]:
    """(op, before, after) of every layer, from the same draw as the score's."""
    kept: list[tuple[Any, Any, Any]] = []
    with seeded(seed), torch.no_grad():
        net = GraphNet(graph).train()
        net.walk(images(graph, batch, PX), lambda index, op, before, after: kept.append((op, before, after)))
    return kept


@pytest.mark.parametrize("name", ["nwot", "nwot_pre"])
def test_nwot_counts_agreeing_units(name: str) -> None:
    graph = branched()
    kernel = torch.zeros(16, 16, dtype=torch.float64)
    for op, before, after in tensors(graph, 16, 2):
        if name == "nwot_pre" or op.act != "none":
            on = (before if name == "nwot_pre" else after).flatten(1) > 0
            for i in range(16):
                for j in range(16):
                    kernel[i, j] += (on[i] == on[j]).sum()
    expected = float(torch.linalg.slogdet(kernel)[1])
    assert get_score(name)(graph, PX, seed=2).value == pytest.approx(expected, rel=1e-12)


def test_swap_counts_patterns() -> None:
    graph = branched()
    seen = set()
    for op, _, after in tensors(graph, 32, 2):
        if op.act != "none":
            seen |= {tuple(column) for column in (after > 0).flatten(1).T.tolist()}
    assert get_score("swap")(graph, PX, seed=2).value == len(seen)


def test_meco_on_one_layer() -> None:
    g = GraphBuilder(3)
    g.conv(-1, 4, 3, 1, act="silu")
    graph = g.finish()
    ((_, _, after),) = tensors(graph, 16, 7)
    eigenvalues = torch.linalg.eigvalsh(torch.corrcoef(after[0].flatten(1).double()))
    assert get_score("meco")(graph, PX, seed=7).value == pytest.approx(float(eigenvalues[0]), abs=1e-12)


def test_expressivity_is_bounded_by_the_channels() -> None:
    value = get_score("expressivity")(branched(), PX, seed=0).value
    assert 0 < value <= math.log(8) + math.log(12)


def test_zico_of_two_layers() -> None:
    graph = branched()
    with seeded(4):
        net = GraphNet(graph).train()
        batches = [images(graph, 4, PX) for _ in range(2)]
        grads = []
        state = torch.random.get_rng_state()
        for batch in batches:
            net.zero_grad()
            torch.stack(
                [(out - torch.randn_like(out)).square().mean() for out in net.module.run(batch)[-1:]]
            ).sum().backward()
            grads.append([layer.weight.grad.abs().clone() for layer in net.layers.values()])
        torch.random.set_rng_state(state)
        value = zico_of(net, batches)
    expected = 0.0
    for one, two in zip(*grads, strict=True):
        mean, deviation = (one + two) / 2, (one - two).abs() / 2
        expected += math.log(float((mean / deviation)[deviation > 0].double().sum()))
    assert value == pytest.approx(expected, rel=1e-4)


def test_zen_grows_with_depth() -> None:
    def chain(depth: int) -> Graph:
        g = GraphBuilder(3)
        x = -1
        for _ in range(depth):
            x = g.conv(x, 8, 3, act="relu")
        return g.finish()

    assert get_score("zen")(chain(4), PX).value > get_score("zen")(chain(2), PX).value


def test_scores_that_watch_share_a_pass_without_changing() -> None:
    graph = branched()
    observations = {name: score.observation for name, score in SCORES.items() if score.observation is not None}
    assert set(observations) == {"nwot", "nwot_pre", "swap", "meco", "expressivity"}
    together = observe(observations, graph, PX, 5)
    assert {name: get_score(name)(graph, PX, seed=5) for name in observations} == together


def test_walking_gives_what_running_gives() -> None:
    graph = branched()
    with seeded(0):
        net = GraphNet(graph).eval()
        image = images(graph, 2, PX)
    with torch.no_grad():
        assert torch.equal(net.walk(image)[0], net.module(image)[0])


def test_images_are_small_unless_asked() -> None:
    assert get_score("nwot")(branched(), 480).notes["input_px"] == 64
    assert get_score("nwot")(branched(), 96, most_px=480).notes["input_px"] == 96


def test_an_op_that_cannot_be_run_is_named() -> None:
    g = GraphBuilder(3)
    x = g.conv(-1, 4, 3)
    g.single("topk", x)
    with pytest.raises(BadInput, match="topk"):
        get_score("nwot")(g.finish(), PX)
