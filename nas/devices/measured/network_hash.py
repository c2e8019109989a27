"""The hash of a network: equal for equal work, whatever its ops are called and in whichever order they stand.

It covers the kind of every op, its channels, kernel, stride, padding and groups, its activation, and the flow of data.
Shapes are covered only where they do not follow from these, so that a convolutional network has one hash at all input
sizes. Names, parts, views (reshapes), biases, weights, values of constants and shared weights are not covered; box
decoding, ops that no output needs, and scales that fold into weights are left out. The same network of two publishers
then has one hash.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Sequence

from search_spaces.graph import Graph
from search_spaces.op_table import fused_ops
from search_spaces.ops import (
    CONV_KINDS,
    DECODE_PART,
    JOIN_KINDS,
    NORM_KINDS,
    POOL_KINDS,
    SIZE_BOUND_KINDS,
    VIEW_KINDS,
    WEIGHT_KINDS,
    Op,
)
from search_spaces.shapes import Shape, output_shape
from workbench.errors import BadInput

DIGITS = 20
COMMUTATIVE = frozenset({"add", "mul"})
"""Kinds whose inputs have no order."""
FOLDED = frozenset({"bn", "scale", "mul_const", "add_const"})
"""Kinds that become part of the weights before them where ``fused_ops`` says so."""
DEFAULTS = {
    "axis": 1, "start": 0, "step": 1, "mode": "nearest", "ceil": False, "d": 1, "scale": None, "perm": None, "n": None,
    "groups": None, "end": None,
}  # fmt: skip
"""Attributes that change the work of an op, and what stands for a missing one."""


@functools.lru_cache(maxsize=4096)
def network_hash(graph: Graph) -> str:
    """The hash of a scalar graph, 20 hexadecimal digits; see the module's text for what it covers."""
    needed, fused = _needed(graph), fused_ops(graph.ops, graph.outputs)
    shapes = [_plain(shape) for shape in graph.shapes()]
    sources = [_plain(shape) for shape in graph.input_shapes()]
    nodes: list[tuple[str, tuple[int, ...], bool]] = [
        (f"input {i} {shape[0]}", (), False) for i, shape in enumerate(sources)
    ]
    place: list[int] = []
    for index, op in enumerate(graph.ops):
        if index not in needed:
            place.append(-1)
            continue
        inputs = [shapes[i] if i >= 0 else sources[-1 - i] for i in op.inputs]
        at = tuple(place[i] if i >= 0 else -1 - i for i in op.inputs)
        if op.kind in VIEW_KINDS or (op.kind in FOLDED and fused[index]):
            place.append(at[0])
            continue
        if op.kind != "act":
            nodes.append((_work(op, inputs, shapes[index], index), at, op.kind in COMMUTATIVE))
            at = (len(nodes) - 1,)
        if op.activation != "none":  # one that rides on its op and one of its own are the same work
            nodes.append((f"act {op.activation}", at, False))
        place.append(len(nodes) - 1 if op.kind != "act" or op.activation != "none" else at[0])
    return _hash_nodes(nodes)


def _needed(graph: Graph) -> set[int]:
    """Ops that the outputs need; without outputs, all but those of box decoding that no other op reads."""
    ends = list(graph.outputs) or [i for i, op in enumerate(graph.ops) if op.part != DECODE_PART]
    needed: set[int] = set()
    while ends:
        index = ends.pop()
        if index >= 0 and index not in needed:
            needed.add(index)
            ends += graph.ops[index].inputs
    return needed


def _work(op: Op, inputs: list[Shape], shape: Shape, index: int) -> str:
    """What one op does, without its activation, as text."""
    fields: list[object] = [op.kind]
    if op.kind in WEIGHT_KINDS:
        fields += [op.cin, op.cout]
    if op.kind in CONV_KINDS:
        fields += [op.g]
    if op.kind in CONV_KINDS | POOL_KINDS:
        fields += [*op.k, *op.s, *op.p]
    if op.kind in NORM_KINDS:
        fields += [op.cin]
    axis = int(op.attrs.get("axis", 1)) if isinstance(op.attrs.get("axis", 1), int) else 1
    for name, default in DEFAULTS.items():
        value = op.attrs.get(name, default)
        if name == "axis" and op.kind == "concat":
            continue  # the shape tells
        if name == "end" and isinstance(value, int) and _reaches_the_end(value, axis, inputs):
            value = None
        if value != default:
            fields.append(f"{name}={value}")
    if op.count != 1:
        fields.append(f"count={op.count}")
    if not _follows(op, inputs, shape, index):
        fields.append(f"shape={shape}")
    return " ".join(map(str, fields))


def _reaches_the_end(end: int, axis: int, inputs: list[Shape]) -> bool:
    """Whether a slice ends where its input does, which a trace writes as a number."""
    return bool(inputs) and 1 <= axis <= len(inputs[0]) and end >= inputs[0][axis - 1]


def _follows(op: Op, inputs: list[Shape], shape: Shape, index: int) -> bool:
    """Whether an op's shape follows from its other fields at any input size, in a traced network too."""
    if op.kind in SIZE_BOUND_KINDS:
        return False
    if "shape" not in op.attrs:
        return True
    unbound = dataclasses.replace(op, attrs={name: value for name, value in op.attrs.items() if name != "shape"})
    try:
        follows = _plain(output_shape(unbound, inputs, index, rescaled=False)) == shape
    except BadInput:
        return False  # no rule for this kind
    return follows and (op.kind not in JOIN_KINDS or shape in inputs)


def _hash_nodes(nodes: Sequence[tuple[str, tuple[int, ...], bool]]) -> str:
    """The hash of labelled nodes, each with its inputs and whether they have no order.

    A node is hashed with all that leads to it, then with all that it leads to; the sorted hashes are the network.
    """
    forward: list[str] = []
    for label, inputs, commutes in nodes:
        before = [forward[i] for i in inputs]
        forward.append(_digest([label, *(sorted(before) if commutes else before)]))
    readers: list[list[tuple[int, int]]] = [[] for _ in nodes]
    for index, (_, inputs, commutes) in enumerate(nodes):
        for position, producer in enumerate(inputs):
            readers[producer].append((index, 0 if commutes else position))
    whole = [""] * len(nodes)
    for index in range(len(nodes) - 1, -1, -1):
        after = sorted(f"{position} {whole[reader]}" for reader, position in readers[index])
        whole[index] = _digest([forward[index], *after])
    return _digest(sorted(whole))[:DIGITS]


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _plain(shape: Shape) -> Shape:
    return tuple(int(extent) for extent in shape)
