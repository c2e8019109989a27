"""From an ONNX file to a Graph.

Reads what exporters write: constants folded or not, dynamic batch, SiLU as x * sigmoid(x), batch norms beside their
convolutions. An unknown op keeps its own name and its shape and is listed in ``graph.meta["unknown_ops"]``; none is
dropped. Of weights only the shapes are read.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from search_spaces.graph import Graph
from search_spaces.graph_json import MOST_NODES
from search_spaces.ops import OP_KINDS, WEIGHT_KINDS, Op
from search_spaces.shapes import COMPUTATION_ERRORS
from workbench.doors.bytes import check_regular
from workbench.errors import BadInput, missing_package
from workbench.printable import cut, one_line, shown
from zoo.graphs.fuse import fuse_exported

MOST_BYTES = 2 * 1024**3
"""The largest file that protobuf can hold."""
MOST_SIZES = 1024
"""Most numbers in a tensor of sizes; larger integer tensors are tables, which costs do not need."""

ACTIVATIONS = {
    "Relu": "relu", "Sigmoid": "sigmoid", "LeakyRelu": "leaky_relu", "HardSwish": "hardswish",
    "HardSigmoid": "hardsigmoid", "Gelu": "gelu", "Tanh": "tanh", "Mish": "mish", "Softplus": "softplus",
    "Elu": "elu", "PRelu": "prelu", "Swish": "silu",
}  # fmt: skip
ELEMENTWISE = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Pow": "pow"}
PLAIN = {
    "Exp": "exp", "Log": "log", "Clip": "clamp", "Softmax": "softmax",
    "Identity": "identity", "Dropout": "identity", "Cast": "identity",
    "Transpose": "transpose", "Reshape": "reshape", "Flatten": "reshape", "Squeeze": "reshape", "Unsqueeze": "reshape",
    "Expand": "expand", "Gather": "gather", "GridSample": "grid_sample", "TopK": "topk", "ReduceMax": "reduce_max",
    "ReduceSum": "reduce_sum", "ReduceMean": "reduce_mean", "Sqrt": "sqrt", "Neg": "neg", "Tile": "expand",
}  # fmt: skip
SHAPE_ONLY = frozenset({"Constant", "Shape", "ConstantOfShape", "Range"})
"""Nodes that compute sizes, not features."""


def read_onnx(path: str | Path) -> Graph:
    """The Graph of an ONNX file; ``BadInput`` for any other file."""
    return graph_of(load_onnx(path), path)


def load_onnx(path: str | Path) -> Any:
    """The model in an ONNX file. External weights are not loaded, external tensors of sizes are."""
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise missing_package("reading an ONNX file", error.name, "onnx") from error

    file = Path(path)
    try:
        check_regular(file, "ONNX file", MOST_BYTES)
        model = onnx.load(str(file), load_external_data=False)
    except OSError as error:
        raise BadInput(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    except DecodeError as error:
        raise BadInput(f"{str(path)!r} is not an ONNX file: {error}") from error
    if len(model.graph.node) > MOST_NODES:
        raise BadInput(f"{str(path)!r} has {len(model.graph.node):,} nodes, and at most {MOST_NODES:,} are read")
    _check_functions(model, path)
    if not model.graph.node:
        raise BadInput(f"{str(path)!r} is not an ONNX file, or holds no network: no node was found in it")
    _load_external_sizes(model, file)
    return model


def _check_functions(model: Any, path: str | Path) -> None:
    """Refuse functions of the file that call themselves, which onnx would follow without end."""
    calls = {f.name: {node.op_type for node in f.node} for f in model.functions}
    left = set(calls)
    while leaves := {name for name in left if not calls[name] & left}:
        left -= leaves
    if left:
        raise BadInput(f"{str(path)!r}: the function {shown(min(left))} calls itself: export without functions")


def _load_external_sizes(model: Any, file: Path) -> None:
    """Load the small external tensors that set the size of maps: integers, and the factors of a Resize."""
    from onnx import TensorProto
    from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

    factors = {name for node in model.graph.node if node.op_type in ("Resize", "Upsample") for name in node.input}
    for tensor in model.graph.initializer:
        sizes = tensor.data_type in (TensorProto.INT64, TensorProto.INT32) or tensor.name in factors
        if sizes and uses_external_data(tensor) and math.prod(tensor.dims) <= MOST_SIZES:
            try:
                load_external_data_for_tensor(tensor, str(file.parent))
            except Exception as error:  # onnx has types of its own for missing, short and misplaced files
                reason = " ".join(str(error).split())[:200]
                raise BadInput(f"{str(file)!r}: the sizes that lie beside it cannot be read: {reason}") from error
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]


def graph_of(model: Any, path: str | Path) -> Graph:
    """The Graph of a model that was loaded from ``path``; open batches are set to 1 in ``model`` itself."""
    import onnx

    try:
        model = onnx.shape_inference.infer_shapes(_fixed_batch(model), data_prop=True)
    except Exception as error:  # onnx raises several types of its own for broken models; each says what is broken
        reason = cut(one_line(error), 300)
        raise BadInput(f"{str(path)!r}: the network's shapes do not fit together: {reason}") from error
    return _Reader(model, Path(path).stem).graph()


def _fixed_batch(model: Any) -> Any:
    """The model with every open leading dimension of an input set to 1."""
    initial = {t.name for t in model.graph.initializer}
    for value in model.graph.input:
        if value.name not in initial:
            for position, dim in enumerate(value.type.tensor_type.shape.dim):
                if position == 0 and not dim.dim_value:
                    dim.dim_value = 1
    return model


class _Reader:
    """Walks the nodes once and keeps the op behind each tensor name."""

    def __init__(self, model: Any, name: str) -> None:
        import onnx

        self.model, self.name = model, name
        self.helper, self.arrays = onnx.helper, onnx.numpy_helper
        self.shapes = _shapes(model)
        self.constants: dict[str, Any] = {t.name: t for t in model.graph.initializer}
        self.tensors: dict[str, int] = {}
        self.ops: list[Op] = []
        self.unknown: list[str] = []
        self.readers: dict[str, int] = {}
        for node in model.graph.node:
            for source in node.input:
                self.readers[source] = self.readers.get(source, 0) + 1
        self.ends = {o.name for o in model.graph.output}

    def graph(self) -> Graph:
        """Read every node, then fuse."""
        inputs = [v for v in self.model.graph.input if v.name not in self.constants]
        if not inputs:
            raise BadInput(f"ONNX network {self.name!r} has no input")
        sizes = []
        for position, value in enumerate(inputs):
            shape = self.shapes.get(value.name, ())
            if len(shape) != 4 and position == 0:
                raise self._fail(f"input {value.name!r} has shape {list(shape)}; an image batch [n, c, h, w] is needed")
            if position == 0 and any(s <= 0 for s in shape[1:]):
                size = list(shape)
                raise self._fail(f"input {value.name!r} leaves its size open ({size}); export it at a fixed size")
            sizes.append(tuple(int(s) for s in shape[1:]) or (1,))
            self.tensors[value.name] = -1 - position
        for node in self.model.graph.node:
            try:
                self._node(node)
            except COMPUTATION_ERRORS as error:
                if isinstance(error, BadInput):
                    raise
                reason = "its inputs or attributes are missing, or have a wrong type or value"
                raise self._fail(f"{shown(node.op_type)} {shown(node.name)}: {reason} ({error!r:.80})") from error
        outputs = [self.tensors[o.name] for o in self.model.graph.output if self.tensors.get(o.name, -1) >= 0]
        meta = {"unknown_ops": sorted(set(self.unknown))} if self.unknown else {}
        return fuse_exported(Graph(self.ops, sizes, outputs, self.name, meta))

    def _fail(self, problem: str) -> BadInput:
        return BadInput(f"ONNX network {self.name!r}: {problem}")

    def _node(self, node: Any) -> None:
        kind = node.op_type
        features = [self.tensors[i] for i in node.input if i in self.tensors]
        if kind == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    self.constants[node.output[0]] = attribute.t
            return
        if kind in SHAPE_ONLY or not features:
            if kind == "Identity" and node.input[0] in self.constants:
                self.constants[node.output[0]] = self.constants[node.input[0]]
            return  # works on sizes and constants: nothing flows through it
        attributes = {a.name: self.helper.get_attribute_value(a) for a in node.attribute}
        if kind in READERS:
            READERS[kind](self, node, attributes, features)
        elif kind in ACTIVATIONS:
            self._push(node, Op("act", (features[0],), attrs={"kind": ACTIVATIONS[kind]}))
        elif kind in ELEMENTWISE:
            self._elementwise(node, features)
        elif kind in PLAIN:
            self._plain(node, PLAIN[kind], attributes, features)
        else:
            self.unknown.append(kind)
            own = kind.lower()
            self._plain(node, f"{own}_op" if own in OP_KINDS else own, {}, features)

    def _push(self, node: Any, op: Op, output: int = 0) -> None:
        least = min(op.cin, op.cout, *op.k, *op.s, op.g) if op.kind in WEIGHT_KINDS else min(*op.k, *op.s)
        if least < 1:
            sizes = f"{op.cin} to {op.cout} channels, kernel {op.k}, stride {op.s}, groups {op.g}"
            raise self._fail(f"{node.op_type} {shown(node.name)} has {sizes}: each must be at least 1")
        self.ops.append(dataclasses.replace(op, name=node.name or f"{op.kind}_{len(self.ops)}"))
        self.tensors[node.output[output]] = len(self.ops) - 1

    def _recorded(self, name: str) -> dict[str, Any]:
        shape = self.shapes.get(name)
        return {"shape": [max(1, int(s)) for s in shape]} if shape else {}

    def _plain(self, node: Any, kind: str, attributes: dict[str, Any], features: list[int]) -> None:
        attrs = self._recorded(node.output[0])
        if not attrs:
            known = [self.shapes[i] for i in node.input if i in self.shapes and i in self.tensors]
            attrs = {"shape": [max(1, int(s)) for s in known[0]]} if known else {"shape": [1, 1]}
        if "axis" in attributes:
            attrs["axis"] = int(attributes["axis"])
        if "perm" in attributes:
            attrs["perm"] = [int(p) for p in attributes["perm"]]
        for position in range(len([o for o in node.output if o])):
            if position:
                attrs = self._recorded(node.output[position]) or attrs
            self._push(node, Op(kind, tuple(features), attrs=attrs), position)

    def _weight_shape(self, node: Any, index: int) -> tuple[int, ...]:
        name = node.input[index] if len(node.input) > index else ""
        if name in self.constants:
            return tuple(int(d) for d in self.constants[name].dims)
        shape = self.shapes.get(name)
        if shape is None:
            raise self._fail(f"{node.op_type} {node.name or node.output[0]!r} has no weight of known shape")
        return tuple(int(s) for s in shape)

    def _conv(self, node: Any, attributes: dict[str, Any], features: list[int]) -> None:
        shape, groups = self._weight_shape(node, 1), int(attributes.get("group", 1))
        k = (shape[2], shape[-1]) if len(shape) == 4 else ()
        if len(k) != 2:
            raise self._fail(f"Conv {node.name!r} has a {len(shape) - 2}-dimensional kernel; only images are read")
        dilation = [int(d) for d in attributes.get("dilations", (1, 1))]
        stride = _pair(attributes, "strides")
        # A dilated conv does the same work as a plain one of that kernel and output size.
        pads = self._pads(attributes, k)
        pads = pads if dilation == [1, 1] else _dilated_pads(k, dilation, pads)
        cin, bias = shape[1] * groups, len(node.input) > 2
        self._push(node, Op("conv", (features[0],), cin, shape[0], k, stride, pads, groups, bias=bias))

    def _convtranspose(self, node: Any, attributes: dict[str, Any], features: list[int]) -> None:
        shape, groups = self._weight_shape(node, 1), int(attributes.get("group", 1))
        pads, stride, k = self._pads(attributes, shape[2:]), _pair(attributes, "strides"), (shape[2], shape[3])
        cout, bias = shape[1] * groups, len(node.input) > 2
        self._push(node, Op("deconv", (features[0],), shape[0], cout, k, stride, pads, groups, bias=bias))

    def _pads(self, attributes: dict[str, Any], k: Sequence[int]) -> tuple[int, int]:
        """Half of the padding of both sides; SAME is kernel // 2."""
        auto = attributes.get("auto_pad", b"NOTSET")
        if auto in (b"SAME_UPPER", b"SAME_LOWER"):
            return int(k[0]) // 2, int(k[1]) // 2
        pads = [int(p) for p in attributes.get("pads", (0, 0, 0, 0))]
        return (pads[0] + pads[2] + 1) // 2, (pads[1] + pads[3] + 1) // 2

    def _batchnormalization(self, node: Any, attributes: dict[str, Any], features: list[int]) -> None:
        channels = self._weight_shape(node, 1)[0]
        self._push(node, Op("bn", (features[0],), channels, channels))

    def _layernormalization(self, node: Any, attributes: dict[str, Any], features: list[int]) -> None:
        channels = math.prod(self._weight_shape(node, 1))
        self._push(node, Op("layernorm", (features[0],), channels, channels))

    def _maxpool(self, node: Any, attributes: dict[str, Any], features: list[int]) -> None:
        k = tuple(int(v) for v in attributes["kernel_shape"])
        kind = "maxpool" if node.op_type == "MaxPool" else "avgpool"
        attrs = {"ceil": True} if attributes.get("ceil_mode") else {}
        pads, stride = self._pads(attributes, k), _pair(attributes, "strides")
        self._push(node, Op(kind, (features[0],), k=(k[0], k[-1]), s=stride, p=pads, attrs=attrs))

    def _globalaveragepool(self, node: Any, attributes: dict[str, Any], features: list[int]) -> None:
        self._push(node, Op("global_avgpool", (features[0],)))

    def _concat(self, node: Any, attributes: dict[str, Any], features: list[int]) -> None:
        axis = int(attributes.get("axis", 1))
        shape = self.shapes.get(node.output[0], ())
        if axis < 0 and shape:
            axis += len(shape)
        constants = [self._weight_shape(node, i) for i, name in enumerate(node.input) if name not in self.tensors]
        if axis == 1 and len(shape) == 4 and not constants:
            self._push(node, Op("concat", tuple(features)))
            return
        attrs = {**self._recorded(node.output[0]), "axis": axis}
        if constants:
            attrs["const_inputs"] = [list(c) for c in constants]
        self._push(node, Op("concat", tuple(features), attrs=attrs))

    def _split(self, node: Any, attributes: dict[str, Any], features: list[int]) -> None:
        axis, start = int(attributes.get("axis", 0)), 0
        source = self.shapes.get(node.input[0], ())
        axis = axis + len(source) if axis < 0 else axis
        for position, output in enumerate(node.output):
            shape = self.shapes.get(output)
            if not shape:
                raise self._fail(f"Split {node.name!r} has outputs of unknown shape; simplify the file first")
            attrs: dict[str, Any] = {"start": start, "end": start + int(shape[axis])}
            if axis != 1 or len(shape) != 4:
                attrs |= {"axis": axis, "shape": [int(s) for s in shape]}
            start = attrs["end"]
            self._push(node, Op("slice", (features[0],), attrs=attrs), position)

    def _slice(self, node: Any, attributes: dict[str, Any], features: list[int]) -> None:
        names = ("starts", "ends", "axes", "steps")
        starts, ends, axes, steps = (self._ints(node, attributes, name, i) for i, name in enumerate(names, start=1))
        shape = self.shapes.get(node.input[0], ())
        if starts and ends and len(starts) == 1 and len(shape) == 4 and starts[0] >= 0:
            axis = (axes or [0])[0] % 4
            end = min(ends[0], int(shape[axis])) if ends[0] >= 0 else int(shape[axis]) + ends[0]
            if axis:
                step = (steps or [1])[0]
                attrs = {"start": starts[0], "end": end}
                attrs |= ({"axis": axis} if axis != 1 else {}) | ({"step": step} if step != 1 else {})
                self._push(node, Op("slice", (features[0],), attrs=attrs))
                return
        self._plain(node, "slice", {}, features[:1])
        self.ops[-1] = dataclasses.replace(self.ops[-1], attrs={**self.ops[-1].attrs, "axis": 0})

    def _ints(self, node: Any, attributes: dict[str, Any], name: str, index: int) -> list[int]:
        if name in attributes:
            return [int(v) for v in attributes[name]]
        if len(node.input) > index and node.input[index] in self.constants:
            tensor = self.constants[node.input[index]]
            if tensor.data_location == tensor.EXTERNAL or math.prod(tensor.dims) > MOST_SIZES:
                raise self._fail(f"{node.op_type} {shown(node.name)} takes its {name} from a table: simplify the file")
            return [int(v) for v in self.arrays.to_array(self.constants[node.input[index]]).reshape(-1)]
        return []

    def _resize(self, node: Any, attributes: dict[str, Any], features: list[int]) -> None:
        before, after = self.shapes.get(node.input[0], ()), self.shapes.get(node.output[0], ())
        if len(before) != 4 or len(after) != 4 or min(*before[1:], *after[1:]) <= 0:
            raise self._fail(f"{node.op_type} {node.name!r} has an unknown size; simplify the file first")
        scale = after[2] / before[2]
        self._push(node, Op("upsample", (features[0],), attrs={"scale": int(scale) if scale.is_integer() else scale}))

    def _gemm(self, node: Any, attributes: dict[str, Any], features: list[int]) -> None:
        rows, columns = self._weight_shape(node, 1)
        cin, cout = (columns, rows) if attributes.get("transB") else (rows, columns)
        attrs, bias = self._recorded(node.output[0]), len(node.input) > 2
        self._push(node, Op("linear", (features[0],), cin, cout, bias=bias, attrs=attrs))

    def _matmul(self, node: Any, attributes: dict[str, Any], features: list[int]) -> None:
        if len(features) == 2:
            self._plain(node, "matmul", {}, features)
            return
        shape = self._weight_shape(node, 1 if node.input[0] in self.tensors else 0)
        cin, cout = (shape[-2], shape[-1]) if node.input[0] in self.tensors else (shape[-1], shape[-2])
        self._push(node, Op("linear", (features[0],), cin, cout, attrs=self._recorded(node.output[0])))

    def _elementwise(self, node: Any, features: list[int]) -> None:
        kind = ELEMENTWISE[node.op_type]
        if len(features) == 2:
            attrs = {} if kind != "pow" else self._recorded(node.output[0])
            self._push(node, Op(kind, tuple(features), attrs=attrs))
            return
        shape = self._weight_shape(node, 0 if node.input[0] not in self.tensors else 1)
        attrs = {"const_shape": list(shape)}
        if node.input[0] not in self.tensors:
            attrs["const_first"] = True
        self._push(node, Op(f"{kind}_const", (features[0],), attrs=attrs))


READERS: dict[str, Callable[[_Reader, Any, dict[str, Any], list[int]], None]] = {
    "Conv": _Reader._conv, "ConvTranspose": _Reader._convtranspose,
    "BatchNormalization": _Reader._batchnormalization, "LayerNormalization": _Reader._layernormalization,
    "MaxPool": _Reader._maxpool, "AveragePool": _Reader._maxpool, "GlobalAveragePool": _Reader._globalaveragepool,
    "Concat": _Reader._concat, "Split": _Reader._split, "Slice": _Reader._slice,
    "Resize": _Reader._resize, "Upsample": _Reader._resize, "Gemm": _Reader._gemm, "MatMul": _Reader._matmul,
}  # fmt: skip
"""What reads a node of each type; other types are in the tables above, or unknown."""


def _pair(attributes: dict[str, Any], name: str) -> tuple[int, int]:
    values = [int(v) for v in attributes.get(name, (1, 1))]
    return values[0], values[-1]


def _dilated_pads(k: Sequence[int], dilation: Sequence[int], pads: tuple[int, int]) -> tuple[int, int]:
    """Padding that gives a dilated conv's output size to a plain one of the same kernel."""
    return pads[0] - (dilation[0] - 1) * (k[0] - 1) // 2, pads[1] - (dilation[1] - 1) * (k[1] - 1) // 2


def _shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """Known shapes by tensor name; an open dimension is 0."""
    shapes: dict[str, tuple[int, ...]] = {}
    for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape"):
            shapes[value.name] = tuple(int(d.dim_value) for d in tensor.shape.dim)
    for tensor in model.graph.initializer:
        shapes.setdefault(tensor.name, tuple(int(d) for d in tensor.dims))
    return shapes
