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
    """A detector whose every stage is of one kind."""
    style = BLOCK_KINDS[kind].style if BLOCK_KINDS[kind].style != ANY_STYLE else "res"
    strides = (2, 2, 2, 1, 2)
    depth = min(depth, BLOCK_KINDS[kind].max_depth or depth)
    stages = tuple(Stage(kind, w, btn, k, s, depth) for w, s in zip(sorted(widths), strides, strict=True))
    return Architecture(style, Stem(16), stages, neck=Neck((32, 64, 96)), head=Head(4))


def numbers(graph: Graph, px: int) -> tuple[float, ...]:
    table = graph.table(px)
    return tuple(float(np.sum(table.total(c))) for c in (table.params, table.macs, table.out_elems))


@pytest.mark.parametrize("kind", BLOCK_KINDS)
class TestBlockContract:
    def test_it_says_who_it_is(self, kind: str) -> None:
        block = BLOCK_KINDS[kind]
        assert block.name == kind
        assert block.style in (*STYLES, ANY_STYLE)
        assert block.layers_per_block >= 1
        assert type(block).__doc__
        assert len({b.tinynas for b in BLOCK_KINDS.values()}) == len(BLOCK_KINDS)

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
            for block in range(stage.depth):
                numbers = StageNumbers(cin, stage.out, stage.btn, stage.k, stage.depth, stage.stride, arch.act)
                fans = BLOCK_KINDS[kind].fan_ins(numbers, first=block == 0)
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

        def cost(cin: object, out: object, btn: object, k: object, depth: object) -> np.ndarray:
            stage = StageNumbers(cin, out, btn, k, depth, stride, "relu", spp=stride == 2, closes=closes)
            g = GraphBuilder(3)
            block.lower(g, block.entry(g, stage), stage)
            graph = g.finish()
            table = Graph(graph.ops, [(s[0], 32, 32) for s in graph.inputs]).table()
            return np.stack([np.asarray(table.total(c)) for c in (table.params, table.macs, table.out_elems)])

        batch = cost(*np.array(rows).T)
        alone = np.stack([cost(*row) for row in rows], axis=1)
        assert batch.tolist() == alone.tolist()

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
