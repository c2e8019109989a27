"""Ops as plain data for JSON, and back: one object a node, with the fields that its kind has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from search_spaces.ops import (
    ACTIVATION_ALIASES,
    CONV_KINDS,
    JOIN_KINDS,
    NORM_KINDS,
    POOL_KINDS,
    SAME_SHAPE_KINDS,
    WEIGHT_KINDS,
    Num,
    Op,
)
from workbench.errors import BadInput
from workbench.printable import shown

READING_KINDS = WEIGHT_KINDS | POOL_KINDS | JOIN_KINDS | SAME_SHAPE_KINDS | {"identity", "global_avgpool", "upsample"}
"""Kinds that mean nothing without an input."""
SLICE_FIELDS = frozenset({"start", "end", "axis", "step"})
MOST_NODES = 50_000
MOST_INPUTS = 1000
MOST_EXTENT = 2**31
"""Largest channel count, kernel or side."""
MOST_NUMBER = 2**63 - 1
"""Largest whole number of a field that an op's kind does not need."""


def op_to_json(op: Op) -> dict[str, Any]:
    """Plain data of one scalar op; ``op_from_json`` reads it back."""
    node: dict[str, Any] = {"op": op.kind, "in": list(op.inputs)}
    if op.kind in CONV_KINDS:
        node |= {"cin": int(op.cin), "cout": int(op.cout), "k": _ints(op.k), "s": _ints(op.s), "p": _ints(op.p)}
        node |= {"g": int(op.g), "bias": op.bias, "act": op.act}
    elif op.kind == "linear":
        node |= {"cin": int(op.cin), "cout": int(op.cout), "bias": op.bias, "act": op.act}
    elif op.kind in POOL_KINDS:
        node |= {"k": _ints(op.k), "s": _ints(op.s), "p": _ints(op.p)}
    elif op.kind in NORM_KINDS:
        node["c"] = int(op.cin)
    node |= dict(op.attrs)
    if op.part:
        node["part"] = op.part
    if op.name:
        node["name"] = op.name
    return node


def op_from_json(node: Any, index: int, graph: str, n_inputs: int) -> Op:
    """Read node ``index`` of the graph named ``graph``; older spellings of activations become today's."""
    where = f"graph {graph!r}, node {index}"
    if not isinstance(node, Mapping) or not isinstance(node.get("op"), str):
        raise BadInput(f"{where}: every node needs an 'op' name")
    kind = node["op"]
    where = f"{where} ({kind})"
    inputs = node.get("in", [])
    if not isinstance(inputs, list) or any(not isinstance(i, int) or not -n_inputs <= i < index for i in inputs):
        raise BadInput(f"{where}: 'in' {shown(inputs)} must list earlier nodes by index (-1 = image)")
    fields: dict[str, Any] = {}
    attrs: dict[str, Any] = {}
    for key, value in node.items():
        if key in ("op", "in"):
            continue
        if key in ("cin", "cout", "g") and kind in WEIGHT_KINDS:
            fields[key] = _whole(value, key, where)
        elif key in ("k", "s", "p") and kind in CONV_KINDS | POOL_KINDS:
            fields[key] = _pair(value, key, where, least=0 if key == "p" else 1)
        elif key == "act" and kind != "act":
            fields["act"] = _activation(value)
        elif key == "kind" and kind == "act":
            attrs["kind"] = _activation(value)
        elif key == "bias":
            fields["bias"] = bool(value)
        elif key == "c" and kind in NORM_KINDS:
            fields["cin"] = fields["cout"] = _whole(value, key, where)
        elif key in ("name", "part"):
            fields[key] = str(value)
        elif (kind == "slice" and key in SLICE_FIELDS) or key in ("heads", "params"):
            attrs[key] = None if value is None else _whole(value, key, where, -MOST_NUMBER, MOST_NUMBER)
        else:
            attrs[key] = _bounded(value, key, where)
    if kind in CONV_KINDS:
        for key in ("cin", "cout", "k"):
            if key not in fields:
                raise BadInput(f"{where}: field {key!r} is missing")
        if fields["cin"] % fields.get("g", 1):
            raise BadInput(f"{where}: cin={fields['cin']} is not a multiple of g={fields.get('g', 1)}")
    if kind in READING_KINDS and not inputs:
        raise BadInput(f"{where}: 'in' is empty: it must name the node that this one reads (-1 = image)")
    return Op(kind, tuple(inputs), attrs=attrs, **fields)


def inputs_from_json(data: Any, graph: str) -> list[list[int]]:
    """Shapes of the inputs of the graph named ``graph``: channels, or channels, height and width."""
    if not isinstance(data, list) or not 1 <= len(data) <= MOST_INPUTS:
        raise BadInput(f"graph {graph!r}: 'inputs' {shown(data)} must list 1 to {MOST_INPUTS} shapes such as [3]")
    for shape in data:
        if not isinstance(shape, list) or not shape:
            raise BadInput(f"graph {graph!r}: the input {shown(shape)} must be a shape such as [3] or [3, 640, 640]")
        for extent in shape:
            _whole(extent, "input", f"graph {graph!r}")
    if any(len(shape) not in (1, 3) for shape in data[:1]):
        raise BadInput(f"graph {graph!r}: the image {data[0]} must be [channels] or [channels, height, width]")
    return data


def indices_from_json(data: Any, key: str, count: int, graph: str) -> list[int]:
    """Indices of some of the ``count`` nodes of the graph named ``graph``."""
    if not isinstance(data, list) or any(type(i) is not int or not 0 <= i < count for i in data):
        raise BadInput(f"graph {graph!r}: {key!r} {shown(data)} must be indices of its {count} nodes")
    return data


def _whole(value: Any, key: str, where: str, least: int = 1, most: int = MOST_EXTENT) -> int:
    if type(value) is not int or not least <= value <= most:
        rule = f"must be a whole number of at least {least} and at most {most}"
        raise BadInput(f"{where}: {key}={shown(value)} {rule}")
    return value


def _bounded(value: Any, key: str, where: str) -> Any:
    """``value``, if all numbers in it are such as other code can hold."""
    items = value if isinstance(value, list) else [value]
    if any(isinstance(item, int) and abs(item) > MOST_NUMBER for item in items):
        raise BadInput(f"{where}: {key}={shown(value)} holds a number beyond 64 bits")
    return value


def _pair(value: Any, key: str, where: str, least: int) -> tuple[int, int]:
    pair = [value, value] if isinstance(value, int) else value
    if not isinstance(pair, list) or len(pair) != 2:
        raise BadInput(f"{where}: {key}={shown(value)} must be a whole number or a pair of them")
    for number in pair:
        _whole(number, key, where, least)
    return pair[0], pair[1]


def _activation(value: Any) -> str:
    return ACTIVATION_ALIASES.get(str(value), str(value))


def _ints(pair: Sequence[Num]) -> list[int]:
    return [int(v) for v in pair]
