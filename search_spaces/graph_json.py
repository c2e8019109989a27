"""Ops as plain data for JSON, and back: one object a node, with the fields that its kind has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from search_spaces.ops import ACTIVATION_ALIASES, CONV_KINDS, NORM_KINDS, POOL_KINDS, WEIGHT_KINDS, Num, Op
from workbench.errors import BadInput


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
        raise BadInput(f"{where}: 'in' {inputs!r} must list earlier nodes by index (-1 = image)")
    fields: dict[str, Any] = {}
    attrs: dict[str, Any] = {}
    for key, value in node.items():
        if key in ("op", "in"):
            continue
        if key in ("cin", "cout", "g") and kind in WEIGHT_KINDS:
            if not isinstance(value, int) or value < 1:
                raise BadInput(f"{where}: {key}={value!r} must be a positive whole number")
            fields[key] = value
        elif key in ("k", "s", "p") and kind in CONV_KINDS | POOL_KINDS:
            fields[key] = _pair(value, key, where)
        elif key == "act" and kind != "act":
            fields["act"] = _activation(value)
        elif key == "kind" and kind == "act":
            attrs["kind"] = _activation(value)
        elif key == "bias":
            fields["bias"] = bool(value)
        elif key == "c" and kind in NORM_KINDS:
            fields["cin"] = fields["cout"] = int(value)
        elif key in ("name", "part"):
            fields[key] = str(value)
        else:
            attrs[key] = value
    if kind in CONV_KINDS:
        for key in ("cin", "cout", "k"):
            if key not in fields:
                raise BadInput(f"{where}: field {key!r} is missing")
        if fields["cin"] % fields.get("g", 1):
            raise BadInput(f"{where}: cin={fields['cin']} is not a multiple of g={fields.get('g', 1)}")
    return Op(kind, tuple(inputs), attrs=attrs, **fields)


def _pair(value: Any, key: str, where: str) -> tuple[int, int]:
    pair = [value, value] if isinstance(value, int) else value
    if not isinstance(pair, list) or len(pair) != 2 or any(not isinstance(v, int) or v < 0 for v in pair):
        raise BadInput(f"{where}: {key}={value!r} must be a whole number or a pair of them")
    return pair[0], pair[1]


def _activation(value: Any) -> str:
    return ACTIVATION_ALIASES.get(str(value), str(value))


def _ints(pair: Sequence[Num]) -> list[int]:
    return [int(v) for v in pair]
