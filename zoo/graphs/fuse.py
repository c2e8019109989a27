"""Clean-up of a Graph as it was read: activations and batch norms join the layer that feeds them, unread ops go.

Afterwards a traced or exported network has the form in which the analytic lowering writes it.
"""

from __future__ import annotations

import dataclasses

from search_spaces.graph import Graph
from search_spaces.ops import CONV_KINDS, WEIGHT_KINDS


def fuse_traced(graph: Graph) -> Graph:
    """Join activations to the conv or linear layer that only they read; drop ops that nothing reads."""
    readers = graph.consumers()
    ends = {*graph.outputs, *graph.meta.get("decode_outputs", ())}
    ops = list(graph.ops)
    target = list(range(len(ops)))
    for index, op in enumerate(graph.ops):
        if op.kind != "act":
            continue
        producer = op.inputs[0]
        if producer < 0 or producer in ends or len(readers[producer]) != 1:
            continue
        source = ops[producer]
        if source.kind in WEIGHT_KINDS and source.act == "none" and source.part == op.part:
            ops[producer] = dataclasses.replace(source, act=op.activation)
            target[index] = producer
    used = {target[i] for i in ends}
    for index in reversed(range(len(ops))):
        if target[index] == index and index in used:
            used |= {target[i] for i in ops[index].inputs if i >= 0}
    kept = sorted(used)
    new_index = {old: new for new, old in enumerate(kept)}

    def moved(i: int) -> int:
        return i if i < 0 else new_index[target[i]]

    fused = []
    for old in kept:
        op = ops[old]
        attrs = {**op.attrs, "tied_to": new_index[op.attrs["tied_to"]]} if "tied_to" in op.attrs else op.attrs
        fused.append(dataclasses.replace(op, inputs=tuple(moved(i) for i in op.inputs), attrs=attrs))
    meta = {key: [moved(i) for i in value] if key == "decode_outputs" else value for key, value in graph.meta.items()}
    return Graph(fused, graph.inputs, [moved(i) for i in graph.outputs], graph.name, meta)


def fuse_exported(graph: Graph) -> Graph:
    """Read x * sigmoid(x) as SiLU; merge batch norms and activations into the layer that only they read."""
    state = _Fusing(graph)
    state.join_silu()
    state.join_layers()
    return state.graph()


class _Fusing:
    """Ops of one graph while some of them are merged into others."""

    def __init__(self, graph: Graph) -> None:
        self.source = graph
        self.ops = list(graph.ops)
        self.alive = [True] * len(self.ops)
        self.target = list(range(len(self.ops)))

    def resolve(self, i: int) -> int:
        """The op that stands for op ``i`` now."""
        while i >= 0 and self.target[i] != i:
            i = self.target[i]
        return i

    def read_counts(self) -> dict[int, int]:
        """How often each op is read, the graph's outputs included."""
        counts: dict[int, int] = {}
        read = [i for op, alive in zip(self.ops, self.alive, strict=True) if alive for i in op.inputs]
        for i in (*read, *self.source.outputs):
            counts[self.resolve(i)] = counts.get(self.resolve(i), 0) + 1
        return counts

    def join_silu(self) -> None:
        """Replace x * sigmoid(x) by one activation."""
        counts = self.read_counts()
        for i, op in enumerate(self.ops):
            if op.kind != "mul" or len(op.inputs) != 2:
                continue
            for x, gate in (op.inputs, op.inputs[::-1]):
                sigmoid = gate >= 0 and self.ops[gate].kind == "act" and self.ops[gate].activation == "sigmoid"
                if sigmoid and self.ops[gate].inputs[0] == x and counts.get(gate) == 1:
                    self.ops[i] = dataclasses.replace(op, kind="act", inputs=(x,), attrs={"kind": "silu"})
                    self.alive[gate] = False
                    break

    def join_layers(self) -> None:
        """Merge batch norms and activations into the conv or linear layer that only they read."""
        ops, counts = self.ops, self.read_counts()
        for i, op in enumerate(ops):
            source = self.resolve(op.inputs[0]) if self.alive[i] and op.kind in ("bn", "act") else -1
            if source < 0 or counts.get(source) != 1:
                continue
            if ops[source].kind not in WEIGHT_KINDS or ops[source].act != "none":
                continue
            if op.kind == "act":
                ops[source] = dataclasses.replace(ops[source], act=op.activation)
            elif ops[source].kind in CONV_KINDS:
                ops[source] = dataclasses.replace(ops[source], bias=True)
            else:
                continue
            self.alive[i], self.target[i] = False, source
            counts[source] = counts.get(i, 0)

    def graph(self) -> Graph:
        """The graph of the ops that are left."""
        kept = [i for i, alive in enumerate(self.alive) if alive]
        new_index = {old: new for new, old in enumerate(kept)}
        ops = []
        for i in kept:
            inputs = tuple(new_index[self.resolve(s)] if s >= 0 else s for s in self.ops[i].inputs)
            ops.append(dataclasses.replace(self.ops[i], inputs=inputs))
        outputs = [new_index[self.resolve(o)] for o in self.source.outputs]
        return Graph(ops, self.source.inputs, outputs, self.source.name, self.source.meta)
