"""What every block kind promises; a new kind inherits this by standing in ``BLOCK_KINDS``."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.scores.entropy import levels
from search_spaces.architecture import STYLES, Architecture, Head, Neck, Stage, Stem
from search_spaces.blocks import BLOCK_KINDS
from search_spaces.blocks.base import ANY_STYLE, StageNumbers
from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder
from search_spaces.lowering import count_layers, lower, skeleton
from search_spaces.tinynas_text import parse, to_text
from workbench.errors import BadInput

CHANNELS = st.integers(1, 12).map(lambda n: 8 * n)


def architecture(kind: str, widths: list[int], btn: int, k: int, depth: int) -> Architecture:
    """A detector whose every stage is of one kind; a kind without stride 2 follows a plain convolution of stride 2."""
    block = BLOCK_KINDS[kind]
    style = block.style if block.style != ANY_STYLE else "mixed"
    depth = min(depth, block.max_depth or depth)
    stages = []
    for width, stride in zip(sorted(widths), (2, 2, 2, 1, 2), strict=True):
        if stride not in block.strides:
            stages.append(Stage("conv", width, width, 3, stride))
            stride = block.strides[0]
        stages.append(Stage(kind, width, btn, k, stride, depth))
    return Architecture(style, Stem(16), tuple(stages), neck=Neck((32, 64, 96)), head=Head(4))


def numbers(graph: Graph, px: int) -> tuple[float, ...]:
    table = graph.table(px)
    return tuple(float(np.sum(table.total(c))) for c in (table.params, table.macs, table.out_elems))


@pytest.mark.parametrize("kind", BLOCK_KINDS)
class TestBlockContract:
    def test_it_says_who_it_is(self, kind: str) -> None:
        block = BLOCK_KINDS[kind]
        assert block.name == kind
        assert block.style in (*STYLES, ANY_STYLE)
        assert block.layers_per_block == block.layers(1) >= 1
        assert type(block).__doc__
        classes = [b.tinynas for b in BLOCK_KINDS.values() if b.tinynas]
        assert len(set(classes)) == len(classes)

    @given(st.lists(CHANNELS, min_size=5, max_size=5), CHANNELS, st.sampled_from([3, 5]), st.integers(1, 4))
    @settings(max_examples=15)
    def test_it_lowers_and_round_trips(self, kind: str, widths: list[int], btn: int, k: int, depth: int) -> None:
        arch = architecture(kind, widths, btn, k, depth)
        graph = lower(arch)
        shapes = graph.shapes(128)
        assert [shapes[i][1] for i in graph.outputs] == [16, 16, 8, 8, 4, 4]
        table = graph.table(128)
        for column in (table.params, table.macs, table.out_elems, table.in_elems):
            assert np.all(column >= 0)
        assert Architecture.from_yaml(arch.to_yaml()) == arch

    def test_its_structure_text_is_read_back_or_refused(self, kind: str) -> None:
        block, arch = BLOCK_KINDS[kind], architecture(kind, [16, 32, 32, 48, 64], 16, 3, 2)
        if arch.style == "mixed":
            with pytest.raises(BadInput, match="no backbone of style 'mixed'"):
                to_text(arch)
            arch = dataclasses.replace(arch, style="res")
        if not block.tinynas:
            with pytest.raises(BadInput, match=f"stage [12]: TinyNAS's text has no block kind {kind!r}"):
                to_text(arch)
            return
        back = parse(to_text(arch))
        assert [s.kind for s in back.stages] == [s.kind for s in arch.stages]
        assert count_layers(back) == count_layers(arch)

    @given(st.lists(CHANNELS, min_size=5, max_size=5), CHANNELS, st.sampled_from([3, 5]), st.integers(1, 4))
    @settings(max_examples=15)
    def test_fan_ins_are_those_of_the_skeleton(
        self, kind: str, widths: list[int], btn: int, k: int, depth: int
    ) -> None:
        arch = architecture(kind, widths, btn, k, depth)
        entropy, cin = 0.5 * math.log(12 * 9), 16
        for stage in arch.stages:
            numbers = StageNumbers(cin, stage.out, stage.btn, stage.k, stage.depth, stage.stride, arch.act)
            fans = BLOCK_KINDS[stage.kind].stage_fan_ins(numbers)
            if BLOCK_KINDS[stage.kind].linear_in_depth:
                first, later = (BLOCK_KINDS[stage.kind].fan_ins(numbers, first=is_first) for is_first in (True, False))
                assert sorted(fans) == sorted(first + (stage.depth - 1) * later)
            keeps_width = dataclasses.replace(numbers, cin=stage.out)  # layers() leaves projections out
            layers = BLOCK_KINDS[stage.kind].layers(stage.depth, stage.stride)
            assert len(BLOCK_KINDS[stage.kind].stage_fan_ins(keeps_width)) == layers
            entropy += 0.5 * math.fsum(math.log(f) for f in fans)
            cin = stage.out
        assert levels(skeleton(arch), 128)[-1].entropy == pytest.approx(entropy, rel=1e-12)

    @given(
        st.lists(
            st.tuples(CHANNELS, CHANNELS, CHANNELS, st.sampled_from([3, 5]), st.integers(1, 5)), min_size=2, max_size=5
        ),
        st.sampled_from([1, 2]),
        st.booleans(),
    )
    @settings(max_examples=25)
    def test_arrays_cost_what_ints_cost(
        self, kind: str, rows: list[tuple[int, ...]], stride: int, closes: bool
    ) -> None:
        block = BLOCK_KINDS[kind]
        stride = stride if stride in block.strides else block.strides[0]
        depth = min(rows[0][-1], block.max_depth or rows[0][-1])
        if not block.linear_in_depth:  # one depth at a time
            rows = [(*row[:-1], depth) for row in rows]

        def cost(cin: object, out: object, btn: object, k: object, depth: object) -> np.ndarray:
            stage = StageNumbers(cin, out, btn, k, depth, stride, "relu", spp=stride == 2, closes=closes)
            g = GraphBuilder(3)
            block.lower(g, block.entry(g, stage), stage)
            graph = g.finish()
            table = Graph(graph.ops, [(s[0], 32, 32) for s in graph.inputs]).table()
            totals = (table.params, table.macs, table.in_elems, table.out_elems)
            return np.stack([np.asarray(table.total(column)) for column in totals])

        columns: list[object] = list(np.array(rows).T)
        batch = cost(*columns) if block.linear_in_depth else cost(*columns[:-1], depth)
        alone = np.stack([cost(*row) for row in rows], axis=1)
        assert batch.tolist() == alone.tolist()

    @given(st.lists(st.tuples(CHANNELS, CHANNELS, CHANNELS, st.sampled_from([3, 5])), min_size=2, max_size=5))
    @settings(max_examples=10)
    def test_arrays_have_the_fan_ins_of_ints(self, kind: str, rows: list[tuple[int, ...]]) -> None:
        block = BLOCK_KINDS[kind]
        depth, stride = min(3, block.max_depth or 3), block.strides[-1]

        def logs(cin: object, out: object, btn: object, k: object) -> np.ndarray:
            fan_ins = block.stage_fan_ins(StageNumbers(cin, out, btn, k, depth, stride, "relu"))
            return np.sum(np.broadcast_arrays(*(np.log(fan_in) for fan_in in fan_ins)), axis=0)

        batch = np.broadcast_to(logs(*np.array(rows).T), len(rows))
        assert batch.tolist() == pytest.approx([logs(*row) for row in rows], rel=1e-12)
        each = [block.layers(depth, stride) for depth in (1, 2, 5)]
        assert np.broadcast_to(block.layers(np.array([1, 2, 5]), stride), 3).tolist() == each

    def test_deeper_costs_more_or_is_refused(self, kind: str) -> None:
        limit = BLOCK_KINDS[kind].max_depth
        if limit is not None:
            arch = architecture(kind, [16, 32, 32, 48, 64], 16, 3, limit)
            with pytest.raises(BadInput, match="must be at most"):
                deeper = dataclasses.replace(arch.stages[-1], depth=limit + 1)
                dataclasses.replace(arch, stages=(*arch.stages[:-1], deeper))
            return
        shallow, deep = (numbers(lower(architecture(kind, [16, 32, 32, 48, 64], 16, 3, d)), 128) for d in (2, 3))
        assert all(a < b for a, b in zip(shallow, deep, strict=True))
