"""Plain measures of size that every score has to beat: FLOPs, parameters, depth. (Activation volume is a score.)"""

from __future__ import annotations

from collections.abc import Callable

from search_spaces.graph import Graph
from search_spaces.ops import DECODE_PART, WEIGHT_KINDS


def flops(graph: Graph, input_px: int) -> float:
    """Two times the multiply-accumulates of one image, deploy form."""
    table = graph.table(None if graph.fixed_px else input_px)
    return 2 * float(table.total(table.macs))


def params(graph: Graph, input_px: int) -> float:
    """Learned numbers, deploy form."""
    table = graph.table(None if graph.fixed_px else input_px)
    return float(table.total(table.params))


def depth(graph: Graph, input_px: int) -> float:
    """Convolutions and linear layers on the longest path from the image, box decoding left out."""
    longest: list[int] = []
    for op in graph.ops:
        before = max((longest[i] for i in op.inputs if i >= 0), default=0)
        own = op.kind in WEIGHT_KINDS and op.part != DECODE_PART
        longest.append(before + own)
    return float(max(longest, default=0))


PLAIN: dict[str, Callable[[Graph, int], float]] = {"flops": flops, "params": params, "depth": depth}
"""Measures by name."""
