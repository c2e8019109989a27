"""Necks over two to four levels: their nodes, their lowering for one detector and for a population."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from search_spaces.architecture import Architecture, Head, Neck
from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder
from search_spaces.lowering import lower, lower_neck_head
from search_spaces.necks import NECK_KINDS
from search_spaces.necks.base import SAME, map_name
from search_spaces.published import PUBLISHED
from tests.search_spaces.necks.cases import HEADS, LEVELS, NECKS, detector
from workbench.errors import BadInput


@pytest.mark.parametrize("strides", LEVELS, ids=str)
@pytest.mark.parametrize("kind", NECK_KINDS)
def test_every_node_joins_maps_of_its_size(kind: str, strides: tuple[int, ...]) -> None:
    neck = NECK_KINDS[kind]
    known = {map_name(stride): level for level, stride in enumerate(strides)}
    shift = {SAME: 0, "up": -1, "down": 1}
    for node in neck.nodes(strides):
        assert [known[link.source] + shift[link.move] for link in node.links] == [node.level] * len(node.links)
        known[node.name] = node.level
    used = {link.source for node in neck.nodes(strides) for link in node.links}
    assert used | set(neck.outputs(strides)) == set(known)
    names = [link.name for node in neck.nodes(strides) for link in node.links if link.move != SAME]
    assert all(names) and len(set(names)) == len(names)




@pytest.mark.parametrize("strides", LEVELS, ids=str)
@pytest.mark.parametrize("name", NECKS)
@pytest.mark.parametrize("head", HEADS)
def test_output_maps_have_the_sizes_of_the_levels(name: str, strides: tuple[int, ...], head: str) -> None:
    arch = detector(NECKS[name], strides, HEADS[head])
    graph = lower(arch)
    shapes = graph.shapes(strides[-1] * 4)
    box = 4 * (HEADS[head].reg_max + 1)
    wanted = [(c, strides[-1] * 4 // stride) for stride in strides for c in (box, 3)]
    assert [shapes[i][:2] for i in graph.outputs] == wanted


@pytest.mark.parametrize("strides", LEVELS, ids=str)
@pytest.mark.parametrize("name", NECKS)
@pytest.mark.parametrize("head", HEADS)
def test_a_population_costs_what_each_costs_alone(name: str, strides: tuple[int, ...], head: str) -> None:
    """Widths of taps and of the neck are arrays."""
    rng = np.random.default_rng(0)
    taps = [rng.integers(2, 9, 5) * 8 for _ in strides]
    outs = [rng.integers(2, 9, 5) * 8 for _ in strides]
    outs[0][0] = outs[1][0] = taps[0][0]  # a residual without a projection somewhere
    neck = dataclasses.replace(NECKS[name], strides=strides)
    many = totals(taps, dataclasses.replace(neck, out=tuple(outs)), HEADS[head])
    for i in range(5):
        one = dataclasses.replace(neck, out=tuple(int(out[i]) for out in outs))
        alone = totals([int(tap[i]) for tap in taps], one, HEADS[head])
        assert [int(total[i]) for total in many] == [int(total) for total in alone]


def totals(taps: list[np.ndarray] | list[int], neck: Neck, head: Head) -> list[np.ndarray]:
    """Parameters, multiply-accumulates and output elements of neck and head."""
    g = GraphBuilder(taps[0])
    lower_neck_head(g, [-1, *(g.input(tap) for tap in taps[1:])], neck, head)
    sides = [256 // stride for stride in neck.strides]
    table = Graph(g.ops, [(tap, side, side) for tap, side in zip(taps, sides, strict=True)]).table()
    return [table.total(column) for column in (table.params, table.macs, table.out_elems)]


def test_three_levels_keep_the_names_of_damo_yolo() -> None:
    nodes = NECK_KINDS["repgfpn"].nodes((8, 16, 32))
    assert [node.name for node in nodes] == ["merge_3", "merge_4", "merge_5", "merge_7", "merge_6"]
    inputs = [[link.source for link in node.links] for node in nodes]
    assert inputs == [["c5", "c4"], ["c4", "c3", "merge_3"], ["c3", "merge_4"], ["merge_4", "merge_5"],
                      ["merge_3", "merge_4", "merge_7"]]  # fmt: skip


@pytest.mark.parametrize("strides", LEVELS, ids=str)
@pytest.mark.parametrize("name", NECKS)
@pytest.mark.parametrize("head", HEADS)
def test_round_trip(name: str, strides: tuple[int, ...], head: str) -> None:
    arch = detector(NECKS[name], strides, HEADS[head])
    again = Architecture.from_yaml(arch.to_yaml())
    assert again == arch and again.digest() == arch.digest()
    assert arch.level_strides == strides and len(arch.tap_channels) == len(strides)


def test_defaults_are_not_stored() -> None:
    data = PUBLISHED["damo-yolo-s"].to_dict()
    assert list(data["neck"]) == ["out", "depth", "hidden_ratio", "act", "depthwise"]
    assert list(data["head"]) == ["classes", "reg_max", "k"]
    arch = detector(NECKS["pan"], (8, 16), HEADS["plain"])
    assert set(arch.to_dict()["neck"]) >= {"kind", "blocks", "strides"}
    assert arch.to_dict()["neck"]["blocks"] == ["k1kx"]


@pytest.mark.parametrize(
    ("neck", "head", "words"),
    [
        ({"kind": "bifpn"}, {}, "neck kind"),
        ({"strides": [8, 32], "out": [8, 8]}, {}, "neighbors of 4, 8, 16 and 32"),
        ({"strides": [8], "out": [8]}, {}, "two to four"),
        ({"strides": [8, 16]}, {}, "channels of P3 and P4"),
        ({"strides": [8, 16], "out": [8, 8]}, {}, "total stride 32 and feeds no level"),
        ({"kind": "pan"}, {}, "one block kind for all nodes"),
        ({"kind": "pan", "blocks": ["k1kx", "k1kx"]}, {}, "one for each of the 4 nodes"),
        ({"kind": "pan", "blocks": ["k1k"]}, {}, "did you mean k1kx"),
        ({"kind": "pan", "blocks": ["kxkx"]}, {}, "spans two stages"),
        ({"kind": "pan", "blocks": ["conv"], "depth": 2.0}, {}, "depth 2 of kind 'conv' must be at most 1"),
        ({"kind": "pan", "blocks": ["k1kx"], "hidden_ratio": 0.001}, {}, "no inner channels"),
        ({"blocks": ["k1kx"]}, {}, "are for kind 'pan'"),
        ({"blocks": "k1kx"}, {}, "must be a list of names"),
        ({}, {"reg_max": -1}, "reg_max"),
        ({}, {"convs": 99}, "at most 16"),
        ({}, {"width": -8}, "width"),
        ({}, {"depthwise": 1}, "true or false"),
    ],
)
def test_wrong_settings_are_named(neck: dict[str, object], head: dict[str, object], words: str) -> None:
    data = PUBLISHED["damo-yolo-s"].to_dict()
    data["neck"] = {**data["neck"], **neck}
    data["head"] = {**data["head"], **head}
    with pytest.raises(BadInput) as caught:
        Architecture.from_dict(data)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_the_input_side_follows_the_coarsest_level() -> None:
    arch = detector(NECKS["repgfpn"], (8, 16), HEADS["zero"])
    assert dataclasses.replace(arch, input_px=208).input_px == 208
    with pytest.raises(BadInput, match="multiple of 16"):
        dataclasses.replace(arch, input_px=200)
    with pytest.raises(BadInput, match="multiple of 32"):
        dataclasses.replace(PUBLISHED["damo-yolo-s"], input_px=208)
