"""A new block kind is one class, its line in ``BLOCK_KINDS`` and its torch form: here all three stand in a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import nas
from nas.costs import SpaceCosts
from search_spaces.architecture import Architecture
from search_spaces.blocks import BLOCK_KINDS
from search_spaces.blocks.base import BlockNumbers, ChainKind, StageNumbers
from search_spaces.graph import same_graph
from search_spaces.graph_builder import GraphBuilder
from search_spaces.lowering import count_layers, lower, skeleton
from search_spaces.space import Space
from search_spaces.space_file import read_space
from search_spaces.stage import Stage
from search_spaces.tinynas_text import parse, to_text
from workbench.errors import BadInput
from zoo.families.parts.backbones import build_backbone
from zoo.families.parts.blocks import BLOCK_MODULES
from zoo.graphs.trace import trace
from zoo.layers import ConvBNAct

SPACE = """
name: toy
style: res
stem: {out: 16..32}
stages:
  - {kind: toy, out: 16..48, btn: 16..32, depth: 1..2, stride: 2}
  - {kind: toy, out: 32..64, btn: 16..32, depth: 1..2, stride: 2}
  - {kind: toy, out: 48..64, btn: 16..32, depth: 1..2, stride: 2}
  - {kind: toy, out: 64..96, btn: 16..32, depth: 1..2, stride: 2}
"""


class Toy(ChainKind):
    """kxk depthwise, 1x1 to ``btn``, 1x1 to ``out``."""

    name, style, tinynas = "toy", "res", "SuperResToy"

    def deploy_block(self, g: GraphBuilder, x: int, block: BlockNumbers) -> int:
        cin = g.channels(x)
        y = g.conv(x, cin, k=block.k, s=block.stride, g=cin, act=block.act, name="conv1")
        y = g.conv(y, block.btn, act=block.act, name="conv2")
        return g.conv(y, block.out, act=block.act, name="conv3")


def toy_module(cin: int, stage: Stage, stride: int, act: str, first: bool) -> torch.nn.Module:
    convs = [ConvBNAct(cin, cin, stage.k, stride, g=cin, act=act), ConvBNAct(cin, stage.btn, act=act)]
    return torch.nn.Sequential(*convs, ConvBNAct(stage.btn, stage.out, act=act))


@pytest.fixture
def space(monkeypatch: pytest.MonkeyPatch) -> Space:
    monkeypatch.setitem(BLOCK_KINDS, "toy", Toy())
    monkeypatch.setitem(BLOCK_MODULES, "toy", toy_module)
    return read_space(SPACE)


def first_of(space: Space) -> Architecture:
    return space.decode(space.sample(1, np.random.default_rng(0))[0])


def test_fan_ins_and_layers_follow_from_the_lowering(space: Space) -> None:
    numbers = StageNumbers(cin=16, out=48, btn=24, k=5, depth=2, stride=2, act="relu")
    assert BLOCK_KINDS["toy"].fan_ins(numbers, first=True) == [25, 16, 24]
    assert BLOCK_KINDS["toy"].fan_ins(numbers, first=False) == [25, 48, 24]
    arch = first_of(space)
    assert count_layers(arch) == 1 + 3 * sum(stage.depth for stage in arch.stages)
    assert len(skeleton(arch)) == count_layers(arch)


def test_its_lowering_equals_the_trace_of_its_module(space: Space) -> None:
    arch = first_of(space)
    with torch.device("meta"):
        module = build_backbone(arch).eval()
    from zoo.layers import fold_all

    fold_all(module)
    assert same_graph(lower(arch, "backbone"), trace(module, 128), 128) == ""


def test_its_structure_text_is_read_back(space: Space) -> None:
    arch = first_of(space)
    assert [stage.kind for stage in parse(to_text(arch)).stages] == ["toy"] * 4
    with pytest.raises(BadInput, match="DAMO-YOLO has no backbone"):
        to_text(arch, "damo")


def test_rows_score_and_cost_what_graphs_do(space: Space) -> None:
    costs = SpaceCosts(space, None, 128)
    rows = space.sample(20, np.random.default_rng(1))
    from nas.scores import get_score
    from nas.scores.rows import SCORE_TICK

    for row, ticks in zip(rows, get_score("maxent").over_rows(costs).total(rows), strict=True):
        expected = get_score("maxent")(skeleton(space.decode(row)), 64).value
        assert ticks * SCORE_TICK == pytest.approx(expected, rel=1e-9)


def test_it_can_be_searched(space: Space, tmp_path: Path) -> None:
    path = tmp_path / "toy.yaml"
    path.write_text(SPACE)
    result = nas.search("1GFLOPs", space=str(path), score="maxent", input_px=128, runs=str(tmp_path), pictures=False)
    assert [stage.kind for stage in result.best.architecture.stages] == ["toy"] * 4
