"""Activation volume: how many numbers a network's convolutions write, a plain rival that every other score has to beat."""

from __future__ import annotations

import math

from nas.scores import ScoreResult
from search_spaces.graph import Graph
from search_spaces.ops import DECODE_PART, WEIGHT_KINDS
from workbench.errors import BadInput


def activations(graph: Graph, input_px: int, weights: tuple[float, ...]) -> ScoreResult:
    """ln of the sum, over convolutions and linear layers of the deploy form, of the output elements of one image.

    The definition of Radosavovic et al. (2020), with linear layers added; joins, poolings, resizings and box decoding
    do not count. The level weights are not used.
    """
    table = graph.table(None if graph.fixed_px else input_px)
    own = [kind in WEIGHT_KINDS for kind in table.kinds]
    counted = [mine and part != DECODE_PART for mine, part in zip(own, table.parts, strict=True)]
    volume = float((table.out_elems * table.count)[counted].sum())
    if volume <= 0:
        raise BadInput(f"graph {graph.name!r} has no convolution and no linear layer: it has no activation volume")
    return ScoreResult(math.log(volume), notes={"elements": volume})
