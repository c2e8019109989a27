"""Activation volume, by hand."""

from __future__ import annotations

import math

import pytest

from nas.scores import get_score
from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder
from search_spaces.ops import Op
from workbench.errors import BadInput


def test_convolutions_count_and_nothing_else() -> None:
    g = GraphBuilder(3)
    x = g.conv(-1, 8, 3, 2, act="silu")  # 8 x 32 x 32
    y = g.conv(x, 4, 1)  # 4 x 32 x 32
    z = g.join("concat", x, y)
    g.single("maxpool", z, k=(2, 2), s=(2, 2))
    found = get_score("activations")(g.finish(), 64)
    assert found.notes["elements"] == 12 * 32 * 32
    assert found.value == math.log(12 * 32 * 32)


def test_box_decoding_does_not_count() -> None:
    g = GraphBuilder(3)
    x = g.conv(-1, 8, 3, 2)
    plain = Graph(g.ops, g.inputs, [x])
    decoded = Graph([*g.ops, Op("conv", (x,), 8, 8, part="decode")], g.inputs, [x])
    assert get_score("activations")(decoded, 64).value == get_score("activations")(plain, 64).value


def test_a_graph_without_layers_is_refused() -> None:
    with pytest.raises(BadInput, match="no convolution"):
        get_score("activations")(Graph([Op("upsample", (-1,), attrs={"scale": 2})], ((3,),)), 64)
