"""FP16 in ONNX: a detector's layers compute in half precision; its input, decoding and selection stay in FP32.

A layer is named after its torch module, which the exporter writes into the names of the nodes. The result of a layer
that is kept in FP32 stays in FP32 up to the next convolution or product: a value that FP16 cannot represent must not
pass through it on the way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from workbench.errors import BadInput

ROOT = "/detector/"
"""Prefix of the names of nodes inside the network; decoding and selection lie outside it."""
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators at which a result that was kept in FP32 goes back to FP16."""
FP32_ONLY = frozenset({"NonMaxSuppression", "Range", "TopK"})
"""Operators that rank or count, which stay in FP32."""
FP32_INPUTS: Mapping[str, tuple[int, ...]] = {"Resize": (1, 2)}
"""Inputs that ONNX requires in FP32 whatever the others are: a region and scales."""
COPYING = frozenset({
    "Concat", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "MaxPool", "Relu", "Reshape",
    "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze", "Where",
})  # fmt: skip
"""Operators whose results are among their inputs, or 0: rounded inputs give rounded results."""


def layer_of(node_name: str, modules: Collection[str]) -> str:
    """The innermost torch module among ``modules`` that a node belongs to; empty outside the network.

    The exporter writes ``stage/stage.0/conv/Conv`` where torch has ``stage.0.conv``, and names what folding made too.
    """
    if not node_name.startswith(ROOT):
        return ""
    module = ""
    for part in node_name[len(ROOT) :].split("/")[:-1]:
        parent, _, child = part.rpartition(".")
        inner = f"{module}.{part}" if module else part
        is_repeated = parent and (module == parent or module.endswith("." + parent))
        repeated = f"{module}.{child}" if is_repeated else inner
        deeper = next((name for name in (inner, repeated) if name in modules), None)
        if deeper is None:
            break
        module = deeper
    return module


def half_layers(model: Any, modules: Collection[str]) -> list[str]:
    """The layers of an FP32 ModelProto that would compute in FP16, in the order of computation."""
    model = normalized(model)
    types = _element_types(model)
    names = {layer_of(node.name, modules): None for node in model.graph.node if _can_halve(node, types)}
    names.pop("", None)
    return list(names)


def convert_to_half(model: Any, modules: Collection[str], fp32_layers: Iterable[str] = ()) -> Any:
    """A copy of an FP32 ModelProto whose layers compute in FP16, except the modules in ``fp32_layers``."""
    from onnx import TensorProto

    model = normalized(model)
    graph, types = model.graph, _element_types(model)
    owners = [layer_of(node.name, modules) for node in graph.node]
    in_fp32 = _fp32_nodes(graph.node, owners, types, tuple(fp32_layers))
    half_results = {
        name
        for node, fp32 in zip(graph.node, in_fp32, strict=True)
        if not fp32
        for name in node.output
        if types.get(name) == TensorProto.FLOAT
    }
    converter = _HalfConverter({weight.name: weight for weight in graph.initializer}, half_results)
    for node, fp32 in zip(graph.node, in_fp32, strict=True):
        fp32_inputs = FP32_INPUTS.get(node.op_type, ())
        for position, name in enumerate(node.input):
            if types.get(name) == TensorProto.FLOAT:
                half = name in half_results if node.op_type == "Shape" else not fp32 and position not in fp32_inputs
                node.input[position] = converter.tensor(name, half)
        if not fp32:
            for position, name in enumerate(node.output):
                if name in half_results:
                    node.output[position] = _half_name(name)
            _retype(node, TensorProto.FLOAT, TensorProto.FLOAT16)
        converter.nodes.append(node)
    for output in graph.output:
        if types.get(output.name) == TensorProto.FLOAT:
            converter.tensor(output.name, False)
    _replace(graph, converter.nodes, list(converter.initializers.values()))
    return model


class _HalfConverter:
    """Nodes and initializers of the converted graph, with casts and FP16 weights made at their first use."""

    def __init__(self, weights: Mapping[str, Any], half_results: Collection[str]) -> None:
        from onnx import TensorProto

        self._weights, self._half_results = weights, half_results
        self._casts: set[tuple[str, bool]] = set()
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {
            name: weight for name, weight in weights.items() if weight.data_type != TensorProto.FLOAT
        }

    def tensor(self, name: str, half: bool) -> str:
        """The name of float tensor ``name`` in this precision."""
        from onnx import TensorProto, helper

        wanted = _half_name(name) if half else name
        if name in self._weights:
            if half and wanted not in self.initializers:
                self.initializers[wanted] = _half_weight(self._weights[name])
            elif not half:
                self.initializers[wanted] = self._weights[name]
        elif half != (name in self._half_results) and (wanted, half) not in self._casts:
            self._casts.add((wanted, half))
            source, kind = (name, TensorProto.FLOAT16) if half else (_half_name(name), TensorProto.FLOAT)
            self.nodes.append(helper.make_node("Cast", [source], [wanted], name=f"cast/{wanted}", to=kind))
        return wanted


def store_in_half(model: Any, modules: Collection[str], fp32_layers: Iterable[str] = ()) -> Any:
    """A copy of an FP32 ModelProto that stores weights in FP16 and computes in FP32, except ``fp32_layers``."""
    from onnx import TensorProto, helper

    model, fp32_layers = normalized(model), tuple(fp32_layers)
    graph = model.graph
    floats = {weight.name: weight for weight in graph.initializer if weight.data_type == TensorProto.FLOAT}
    used_in_fp32: set[str] = set()
    stored: dict[str, Any] = {}
    for node in graph.node:
        owner = layer_of(node.name, modules)
        fp32_inputs = FP32_INPUTS.get(node.op_type, ())
        for position, name in enumerate(node.input):
            if name not in floats:
                continue
            if owner and not within(owner, fp32_layers) and position not in fp32_inputs and len(floats[name].dims):
                stored[name] = _half_weight(floats[name])
                node.input[position] = name + "/single"
            else:
                used_in_fp32.add(name)
    nodes = [
        helper.make_node("Cast", [_half_name(name)], [name + "/single"], name=f"cast/{name}", to=TensorProto.FLOAT)
        for name in stored
    ]
    weights = [weight for weight in graph.initializer if weight.name not in floats or weight.name in used_in_fp32]
    _replace(graph, [*nodes, *graph.node], [*weights, *stored.values()])
    return model


def emulate_half(model: Any) -> Any:
    """An FP16 network in FP32 arithmetic with every result rounded to FP16, as hardware with FP16 arithmetic computes.

    A runtime on a processor without FP16 arithmetic leaves the rounding out, and with it every overflow.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = _copy(model)
    graph, types = model.graph, _element_types(model)
    weights = [
        numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float32), weight.name)
        if weight.data_type == TensorProto.FLOAT16
        else weight
        for weight in graph.initializer
    ]
    nodes: list[Any] = []
    for node in graph.node:
        nodes.append(node)
        rounded = [at for at, name in enumerate(node.output) if types.get(name) == TensorProto.FLOAT16]
        if node.op_type == "Cast":
            if rounded:
                name = node.output[0]
                node.output[0] = name + "/rounded"
                nodes.append(helper.make_node("Cast", [node.output[0]], [name], to=TensorProto.FLOAT))
            continue
        _retype(node, TensorProto.FLOAT16, TensorProto.FLOAT)
        if node.op_type in COPYING:
            continue
        for position in rounded:
            name = node.output[position]
            node.output[position] = name + "/exact"
            nodes.append(helper.make_node("Cast", [name + "/exact"], [name + "/rounded"], to=TensorProto.FLOAT16))
            nodes.append(helper.make_node("Cast", [name + "/rounded"], [name], to=TensorProto.FLOAT))
    _replace(graph, nodes, weights)
    onnx.checker.check_model(model)
    return model


def has_half(model: Any) -> bool:
    """Whether any weight of an ONNX network is in FP16."""
    from onnx import TensorProto

    return any(weight.data_type == TensorProto.FLOAT16 for weight in model.graph.initializer)


def within(layer: str, names: Iterable[str]) -> bool:
    """Whether ``layer`` is one of the modules ``names`` or a submodule of one."""
    return any(layer == name or layer.startswith(name + ".") for name in names)


def _half_name(name: str) -> str:
    return name + "/half"


def _half_weight(weight: Any) -> Any:
    """A float TensorProto in FP16, under the FP16 name; values too large become infinite."""
    from onnx import numpy_helper

    with np.errstate(over="ignore"):
        return numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), _half_name(weight.name))


def _copy(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _replace(graph: Any, nodes: Sequence[Any], initializers: Sequence[Any]) -> None:
    """Give a graph these nodes and initializers, which may be its own, and drop its recorded shapes."""
    nodes, initializers = [_copy(node) for node in nodes], [_copy(weight) for weight in initializers]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(initializers)


def normalized(model: Any) -> Any:
    """A copy in which all constants are initializers with one name each."""
    from onnx import helper, numpy_helper

    model = _copy(model)
    graph = model.graph
    weights = {weight.name for weight in graph.initializer}
    outputs = {output.name for output in graph.output}
    aliases: dict[str, str] = {}
    rest = []
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = aliases.get(name, name)
        is_constant = node.op_type == "Constant" and node.attribute[0].name == "value"
        value = helper.get_node_attr_value(node, "value") if is_constant else None
        if value is not None:
            graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(value), node.output[0]))
            weights.add(node.output[0])
        elif node.op_type == "Identity" and node.input[0] in weights and node.output[0] not in outputs:
            aliases[node.output[0]] = node.input[0]
        else:
            rest.append(_copy(node))
    del graph.node[:]
    graph.node.extend(rest)
    return model


def _element_types(model: Any) -> dict[str, int]:
    """Tensor name to ONNX element type."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types |= {weight.name: weight.data_type for weight in graph.initializer}
    for node in graph.node:
        has_subgraph = any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)
        has_unknown = any(name and not types.get(name) for name in node.output)
        if has_subgraph or has_unknown:
            reason = "a graph inside" if has_subgraph else "a result of unknown type"
            raise BadInput(
                f"FP16: node {node.name!r} ({node.op_type}) has {reason}: write this network in FP32"
            )
    return types


def _can_halve(node: Any, types: Mapping[str, int]) -> bool:
    from onnx import TensorProto

    return node.op_type not in FP32_ONLY and any(types.get(name) == TensorProto.FLOAT for name in node.output)


def _fp32_nodes(
    nodes: Sequence[Any], owners: Sequence[str], types: Mapping[str, int], fp32_layers: tuple[str, ...]
) -> list[bool]:
    """Whether each node computes in FP32; ``nodes`` are in the order of computation."""
    from onnx import TensorProto

    fp32_results: set[str] = set()
    in_fp32 = []
    for node, owner in zip(nodes, owners, strict=True):
        is_kept = bool(owner) and within(owner, fp32_layers)
        follows = any(name in fp32_results for name in node.input)
        if is_kept or (follows and node.op_type not in WEIGHTED):
            fp32_results.update(name for name in node.output if types.get(name) == TensorProto.FLOAT)
        in_fp32.append(is_kept or follows or not owner or not _can_halve(node, types))
    return in_fp32


def _retype(node: Any, old: int, new: int) -> None:
    """Change a node's own mention of an element type."""
    from onnx import numpy_helper

    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == old:
            attribute.i = new
        elif node.op_type == "ConstantOfShape" and attribute.name == "value" and attribute.t.data_type == old:
            value = numpy_helper.to_array(attribute.t)
            attribute.t.CopyFrom(numpy_helper.from_array(value.astype({1: np.float32, 10: np.float16}[new])))
