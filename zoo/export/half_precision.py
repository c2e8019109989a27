"""FP16 in ONNX: a detector's layers compute in half precision; its input, its decoding and its selection stay in FP32.

A layer goes by the name of its torch module, which the exporter writes into the names of the nodes. One that is kept in
FP32 hands its result on in FP32 as well, up to the next convolution or product: a number that FP16 cannot hold must not
pass through it on the way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from workbench.errors import BadInput

ROOT = "/detector/"
"""How the names of nodes inside the network begin; decoding and selection lie outside it."""
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators behind which a result that was kept in FP32 goes back to FP16."""
SINGLE_ONLY = frozenset({"NonMaxSuppression", "Range", "TopK"})
"""Operators that rank or count, which stay in FP32."""
SINGLE_INPUTS: Mapping[str, tuple[int, ...]] = {"Resize": (1, 2)}
"""Inputs that ONNX wants in FP32 whatever the others are: a region and scales."""
MOVERS = frozenset({
    "Concat", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "MaxPool", "Relu", "Reshape", "Slice", "Split", "Squeeze", "Transpose",
    "Unsqueeze", "Where",
})  # fmt: skip
"""Operators whose results are among their inputs, or 0: rounded inputs give rounded results."""


def layer_of(node_name: str, modules: Collection[str]) -> str:
    """The torch module that made a node, as far as ``modules`` (names of all modules) know it; empty outside the network.

    The exporter writes ``stage/stage.0/conv/Conv`` where torch says ``stage.0.conv``, and names what folding made too.
    """
    if not node_name.startswith(ROOT):
        return ""
    found = ""
    for part in node_name[len(ROOT) :].split("/")[:-1]:
        parent, _, child = part.rpartition(".")
        inner = f"{found}.{part}" if found else part
        repeated = f"{found}.{child}" if parent and (found == parent or found.endswith("." + parent)) else inner
        deeper = next((name for name in (inner, repeated) if name in modules), None)
        if deeper is None:
            break
        found = deeper
    return found


def layers(model: Any, modules: Collection[str]) -> list[str]:
    """The layers of an FP32 network (an ONNX ModelProto) that would compute in FP16, in the order they compute."""
    model = _plain(model)
    kinds = _element_types(model)
    found = {layer_of(node.name, modules): None for node in model.graph.node if _can_halve(node, kinds)}
    found.pop("", None)
    return list(found)


def convert_to_half(model: Any, modules: Collection[str], keep: Iterable[str] = ()) -> Any:
    """A new ModelProto of an FP32 one whose layers compute in FP16, but for the modules named in ``keep``."""
    from onnx import TensorProto, helper, numpy_helper

    model = _plain(model)
    graph, kinds = model.graph, _element_types(model)
    owners = [layer_of(node.name, modules) for node in graph.node]
    single = _single_nodes(graph.node, owners, kinds, tuple(keep))
    weights = {one.name: one for one in graph.initializer}
    half_made = {name for node, wide in zip(graph.node, single, strict=True) if not wide for name in node.output if kinds.get(name) == TensorProto.FLOAT}
    casts: set[tuple[str, bool]] = set()
    nodes: list[Any] = []
    initialisers: dict[str, Any] = {name: one for name, one in weights.items() if one.data_type != TensorProto.FLOAT}

    def in_form(name: str, half: bool) -> str:
        """The name under which float tensor ``name`` exists in this precision; made at its first use."""
        wanted = _half(name) if half else name
        if name in weights:
            if half and wanted not in initialisers:
                with np.errstate(over="ignore"):
                    initialisers[wanted] = numpy_helper.from_array(numpy_helper.to_array(weights[name]).astype(np.float16), wanted)
            elif not half:
                initialisers[wanted] = weights[name]
        elif half != (name in half_made) and (wanted, half) not in casts:
            casts.add((wanted, half))
            source, kind = (name, TensorProto.FLOAT16) if half else (_half(name), TensorProto.FLOAT)
            nodes.append(helper.make_node("Cast", [source], [wanted], name=f"cast/{wanted}", to=kind))
        return wanted

    for node, wide in zip(graph.node, single, strict=True):
        own = SINGLE_INPUTS.get(node.op_type, ())
        for at, name in enumerate(node.input):
            if kinds.get(name) == TensorProto.FLOAT:
                node.input[at] = in_form(name, name in half_made if node.op_type == "Shape" else not wide and at not in own)
        if not wide:
            for at, name in enumerate(node.output):
                if name in half_made:
                    node.output[at] = _half(name)
            _retype(node, TensorProto.FLOAT, TensorProto.FLOAT16)
        nodes.append(node)
    for output in graph.output:
        if kinds.get(output.name) == TensorProto.FLOAT:
            in_form(output.name, False)
    copies = [_copy(node) for node in nodes]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(copies)
    graph.initializer.extend(initialisers.values())
    return model


def store_in_half(model: Any, modules: Collection[str], keep: Iterable[str] = ()) -> Any:
    """A new ModelProto of an FP32 one whose layers keep their weights in FP16 and compute in FP32, but for those in ``keep``."""
    from onnx import TensorProto, helper, numpy_helper

    model, keep = _plain(model), tuple(keep)
    graph = model.graph
    floats = {one.name: numpy_helper.to_array(one) for one in graph.initializer if one.data_type == TensorProto.FLOAT}
    used: set[str] = set()
    stored: dict[str, Any] = {}
    for node in graph.node:
        owner = layer_of(node.name, modules)
        own = SINGLE_INPUTS.get(node.op_type, ())
        for at, name in enumerate(node.input):
            if name not in floats:
                continue
            if owner and not within(owner, keep) and at not in own and floats[name].ndim:
                with np.errstate(over="ignore"):
                    stored[name] = numpy_helper.from_array(floats[name].astype(np.float16), _half(name))
                node.input[at] = name + "/single"
            else:
                used.add(name)
    nodes = [helper.make_node("Cast", [_half(name)], [name + "/single"], name=f"cast/{name}", to=TensorProto.FLOAT) for name in stored]
    nodes += [_copy(node) for node in graph.node]
    initialisers = [_copy(one) for one in graph.initializer if one.name not in floats or one.name in used]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*initialisers, *stored.values()])
    return model


def rounding(model: Any) -> Any:
    """The same FP16 network in FP32 arithmetic, every result rounded to FP16: what hardware with FP16 arithmetic computes.

    A runtime on a processor without it leaves the rounding out, and with it every overflow.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    copy = type(model)()
    copy.CopyFrom(model)
    graph, kinds = copy.graph, _element_types(copy)
    weights = [
        numpy_helper.from_array(numpy_helper.to_array(one).astype(np.float32), one.name) if one.data_type == TensorProto.FLOAT16 else one
        for one in graph.initializer
    ]
    nodes: list[Any] = []
    for node in graph.node:
        nodes.append(node)
        rounded = [at for at, name in enumerate(node.output) if kinds.get(name) == TensorProto.FLOAT16]
        if node.op_type == "Cast":
            if rounded:
                name = node.output[0]
                node.output[0] = name + "/rounded"
                nodes.append(helper.make_node("Cast", [node.output[0]], [name], to=TensorProto.FLOAT))
            continue
        _retype(node, TensorProto.FLOAT16, TensorProto.FLOAT)
        if node.op_type in MOVERS:
            continue
        for at in rounded:
            name = node.output[at]
            node.output[at] = name + "/exact"
            nodes.append(helper.make_node("Cast", [node.output[at]], [name + "/rounded"], to=TensorProto.FLOAT16))
            nodes.append(helper.make_node("Cast", [name + "/rounded"], [name], to=TensorProto.FLOAT))
    copies = [_copy(node) for node in nodes]
    weights = [_copy(one) for one in weights]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(copies)
    graph.initializer.extend(weights)
    onnx.checker.check_model(copy)
    return copy


def has_half(model: Any) -> bool:
    """Whether any weight of an ONNX network is in FP16."""
    from onnx import TensorProto

    return any(one.data_type == TensorProto.FLOAT16 for one in model.graph.initializer)


def within(layer: str, names: Iterable[str]) -> bool:
    """Whether ``layer`` is one of the modules ``names`` or lies in one."""
    return any(layer == name or layer.startswith(name + ".") for name in names)


def _half(name: str) -> str:
    return name + "/half"


def _copy(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _plain(model: Any) -> Any:
    """A copy whose constants are all initialisers, each under its one name."""
    from onnx import helper, numpy_helper

    model = _copy(model)
    graph = model.graph
    weights = {one.name for one in graph.initializer}
    same: dict[str, str] = {}
    rest = []
    for node in graph.node:
        for at, name in enumerate(node.input):
            node.input[at] = same.get(name, name)
        value = helper.get_node_attr_value(node, "value") if node.op_type == "Constant" and node.attribute[0].name == "value" else None
        if value is not None:
            graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(value), node.output[0]))
            weights.add(node.output[0])
        elif node.op_type == "Identity" and node.input[0] in weights and node.output[0] not in {output.name for output in graph.output}:
            same[node.output[0]] = node.input[0]
        else:
            rest.append(_copy(node))
    del graph.node[:]
    graph.node.extend(rest)
    return model


def _element_types(model: Any) -> dict[str, int]:
    """Tensor name to ONNX element type."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    found = {one.name: one.type.tensor_type.elem_type for values in (graph.value_info, graph.input, graph.output) for one in values}
    found |= {one.name: one.data_type for one in graph.initializer}
    for node in graph.node:
        inner = next((attribute.name for attribute in node.attribute if attribute.HasField("g") or attribute.graphs), None)
        unknown = next((name for name in node.output if name and not found.get(name)), None)
        if inner or unknown:
            raise BadInput(f"FP16: node {node.name!r} ({node.op_type}) has {'a graph inside' if inner else 'a result of unknown type'}: write this network in FP32")
    return found


def _can_halve(node: Any, kinds: Mapping[str, int]) -> bool:
    from onnx import TensorProto

    return node.op_type not in SINGLE_ONLY and any(kinds.get(name) == TensorProto.FLOAT for name in node.output)


def _single_nodes(nodes: Sequence[Any], owners: Sequence[str], kinds: Mapping[str, int], keep: tuple[str, ...]) -> list[bool]:
    """Whether each node computes in FP32; ``nodes`` are in the order of computing."""
    from onnx import TensorProto

    handed_on: set[str] = set()
    single = []
    for node, owner in zip(nodes, owners, strict=True):
        kept = bool(owner) and within(owner, keep)
        follows = any(name in handed_on for name in node.input)
        if kept or (follows and node.op_type not in WEIGHTED):
            handed_on.update(name for name in node.output if kinds.get(name) == TensorProto.FLOAT)
        single.append(kept or follows or not owner or not _can_halve(node, kinds))
    return single


def _retype(node: Any, old: int, new: int) -> None:
    """Bring a node's own mention of an element type in line."""
    from onnx import numpy_helper

    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == old:
            attribute.i = new
        elif node.op_type == "ConstantOfShape" and attribute.name == "value" and attribute.t.data_type == old:
            value = numpy_helper.to_array(attribute.t)
            attribute.t.CopyFrom(numpy_helper.from_array(value.astype({1: np.float32, 10: np.float16}[new])))
