"""A Graph for TensorBoard's Graphs tab: nested names, edges, shapes, and the costs of each node."""

from __future__ import annotations

from search_spaces.graph import Graph
from workbench.events import Node

IMAGE = "image"


def graph_nodes(graph: Graph, input_px: int) -> list[Node]:
    """One node per op in execution order, after one per input. Names are unique, and nested by their dots."""
    size = None if graph.fixed_px else input_px
    shapes = graph.shapes(size)
    table = graph.table(size)
    inputs = [IMAGE if len(graph.inputs) == 1 else f"{IMAGE}_{i}" for i in range(len(graph.inputs))]
    nodes = [Node(name, "input", (), ()) for name in inputs]
    taken: set[str] = set(inputs)
    names: list[str] = []
    for i, op in enumerate(graph):
        name = _free((op.name or f"{op.part or 'network'}.{op.kind}").replace(".", "/").strip("/") or op.kind, taken)
        names.append(name)
        sources = tuple(inputs[-1 - at] if at < 0 else names[at] for at in op.inputs)
        facts = {"parameters": f"{int(table.params[i]):,}", "MFLOPs": f"{2 * float(table.macs[i]) / 1e6:,.2f}"}
        if op.kind == "conv":
            groups = f", {op.g} groups" if op.g > 1 else ""
            facts["convolution"] = f"{op.cin} to {op.cout} channels, {op.k[0]} x {op.k[1]}, stride {op.s[0]}{groups}"
        if op.act != "none":
            facts["activation"] = op.act
        nodes.append(Node(name, op.kind, sources, tuple(int(side) for side in shapes[i]), facts))
    return nodes


def _free(name: str, taken: set[str]) -> str:
    """``name``, or the first of ``name_2``, ``name_3`` ... that is free."""
    free, again = name, 1
    while free in taken:
        again += 1
        free = f"{name}_{again}"
    taken.add(free)
    return free
