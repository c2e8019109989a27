"""``activations``: how many numbers a network's convolutions write, a measure of size and a baseline for scores."""

from __future__ import annotations

import math

from nas.scores.score import Score, ScoreResult
from search_spaces.graph import Graph
from search_spaces.ops import DECODE_PART, WEIGHT_KINDS
from workbench.errors import BadInput


def activations(graph: Graph, input_px: int) -> ScoreResult:
    """Natural log of the output elements of all convolutions and linear layers of the deploy form, for one image.

    The definition of Radosavovic et al. (2020), with linear layers added; joins, poolings, resizings and box decoding
    do not count.
    """
    table = graph.table(None if graph.fixed_px else input_px)
    has_weights = [kind in WEIGHT_KINDS for kind in table.kinds]
    counted = [weighted and part != DECODE_PART for weighted, part in zip(has_weights, table.parts, strict=True)]
    volume = float((table.out_elems * table.count)[counted].sum())
    if volume <= 0:
        raise BadInput(f"graph {graph.name!r} has no convolution and no linear layer: it has no activation volume")
    return ScoreResult(math.log(volume), notes={"elements": volume})


ACTIVATIONS = Score(
    "activations", "log of the numbers that convolutions write, a plain measure of size", activations, deployed=True
)
