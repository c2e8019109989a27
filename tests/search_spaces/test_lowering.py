"""Lowering against the official networks, and one candidate against a population."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.costs import SpaceCosts, architecture_costs
from nas.devices.profile import load_device
from search_spaces.graph import Graph, level_strides, same_graph
from search_spaces.lowering import lower, skeleton
from search_spaces.op_table import fused_ops
from search_spaces.published import PUBLISHED
from search_spaces.space_file import load_space, space_names
from workbench.errors import BadInput

OFFICIAL = {"damo-yolo-t": "DAMO-YOLOt", "damo-yolo-s": "DAMO-YOLOs", "damo-yolo-l": "DAMO-YOLOl"}

GOLDEN = {
    "damo-yolo-t": (8_473_911, 9_004_236_800),
    "damo-yolo-s": (16_242_751, 18_808_012_800),
    "damo-yolo-m": (28_164_063, 30_810_931_200),
    "damo-yolo-l": (42_039_711, 48_558_080_000),
    "damo-yolo-ns": (1_392_299, 1_772_268_800),
    "damo-yolo-nm": (2_688_371, 4_238_822_400),
    "damo-yolo-nl": (5_659_451, 6_992_550_400),
}
"""Parameters and multiply-accumulates at 640 px; T, S and L equal the graphs traced from the official code."""


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_totals(name: str) -> None:
    table = lower(PUBLISHED[name]).table(640)
    assert (int(table.total(table.params)), int(table.total(table.macs))) == GOLDEN[name]


@pytest.mark.parametrize("name", OFFICIAL)
def test_equal_to_the_official_graph(name: str, shared_dir: Path) -> None:
    graphs = {}
    with gzip.open(shared_dir / "t4" / "graphs.jsonl.gz", "rt") as lines:
        for line in lines:
            graph = Graph.from_json(json.loads(line))
            graphs[graph.name] = graph
    official = graphs[OFFICIAL[name]].without_part("decode")
    ours = lower(PUBLISHED[name])
    assert same_graph(ours, official) == ""
    assert sorted(op.kind for op in ours) == sorted(op.kind for op in official)
    key = [(int(o.cin), int(o.cout), o.k, o.s, o.act) for o in official if o.kind == "conv"]
    assert sorted((int(o.cin), int(o.cout), o.k, o.s, o.act) for o in ours if o.kind == "conv") == sorted(key)


@given(
    name=st.sampled_from(space_names()),
    seed=st.integers(0, 2**32 - 1),
    scope=st.sampled_from(["detector", "backbone"]),
)
@settings(max_examples=40)
def test_population_costs_equal_single_costs(name: str, seed: int, scope: str) -> None:
    space, profile = load_space(name), load_device("t4")
    rulers = SpaceCosts(space, profile, 320, scope)
    rows = space.sample(5, np.random.default_rng(seed))
    costs = rulers.costs(rows)
    for i, row in enumerate(rows):
        alone = architecture_costs(space.decode(row), 320, profile, scope).costs
        for key, value in alone.items():
            assert costs[key][i] * rulers.unit(key) == pytest.approx(value, rel=1e-12), key


@given(name=st.sampled_from(space_names()), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_lowered_graphs_are_sound(name: str, seed: int) -> None:
    space = load_space(name)
    arch = space.decode(space.sample(1, np.random.default_rng(seed))[0])
    graph = lower(arch)
    shapes = graph.shapes(256)
    assert [shapes[i][1] for i in graph.outputs] == [32, 32, 16, 16, 8, 8]
    assert len(fused_ops(graph.ops, graph.outputs)) == len(graph)
    again = Graph.from_json(json.loads(json.dumps(graph.to_json())))
    assert again.digest() == graph.digest()
    assert same_graph(graph, again, 256) == ""
    view = graph.to_networkx(256)
    assert view.number_of_nodes() == len(graph) + 1
    import networkx

    assert networkx.is_directed_acyclic_graph(view)
    assert max(level_strides(graph, 256)) == 32
    assert len(skeleton(arch)) > 0


def test_depth_only_adds_identical_blocks() -> None:
    import dataclasses

    arch = PUBLISHED["damo-yolo-s"]
    costs = []
    for depth in (2, 3, 4):
        stages = list(arch.stages)
        stages[2] = dataclasses.replace(stages[2], depth=depth)
        costs.append(architecture_costs(dataclasses.replace(arch, stages=tuple(stages)), 640).costs["params"])
    assert costs[2] - costs[1] == costs[1] - costs[0] > 0


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        ({"name": "g", "nodes": []}, "non-empty"),
        ({"name": "g", "nodes": [{"op": "conv", "in": [0]}]}, "earlier nodes"),
        ({"name": "g", "nodes": [{"op": "conv", "in": [-1], "cout": 8, "k": [3, 3]}]}, "'cin' is missing"),
        ({"name": "g", "nodes": [{"op": "conv", "in": [-1], "cin": -3, "cout": 8, "k": [3, 3]}]}, "cin=-3"),
        ({"name": "g", "nodes": [{"op": "act", "in": [-1]}], "outputs": [4]}, "outputs"),
        ({"name": "g", "nodes": [{"in": [-1]}]}, "'op'"),
    ],
)
def test_bad_graphs_are_named(graph: dict[str, object], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        Graph.from_json(graph)


def test_backbone_scope_and_bare_backbones() -> None:
    arch = PUBLISHED["damo-yolo-s"]
    assert len(lower(arch, "backbone").outputs) == 3
    with pytest.raises(BadInput, match="bare backbone"):
        lower(arch.backbone())
    with pytest.raises(BadInput, match="scope"):
        lower(arch, "head")
