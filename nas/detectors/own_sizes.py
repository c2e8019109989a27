"""Own sizes of a network in deploy form, counted on its graph, for one image."""

from __future__ import annotations

from collections.abc import Callable

from nas.scores.activations import activations
from search_spaces.graph import Graph
from search_spaces.op_table import OpTable


def table_of(graph: Graph, input_px: int) -> OpTable:
    """Numbers of every op at an input size (pixels), or at the size that the graph is bound to."""
    return graph.table(None if graph.fixed_px else input_px)


def params(graph: Graph, input_px: int) -> float:
    """Learned parameters."""
    table = table_of(graph, input_px)
    return float(table.total(table.params))


def flops(graph: Graph, input_px: int) -> float:
    """Two times the multiply-accumulates."""
    table = table_of(graph, input_px)
    return 2 * float(table.total(table.macs))


def activation_volume(graph: Graph, input_px: int) -> float:
    """Numbers that convolutions and linear layers write."""
    return float(activations(graph, input_px).notes["elements"])


OWN_SIZES: dict[str, Callable[[Graph, int], float]] = {
    "params": params, "flops": flops, "activations": activation_volume,
}  # fmt: skip
"""Size by name, each of a graph at an input size."""
