"""From a Graph to an ONNX file with random weights, without torch: what a runtime times.

Weights are scaled so that activations keep their spread from layer to layer: denormal numbers would slow a runtime down
many times. Activations are written as torch's exporter writes them, so that runtimes recognize and fuse them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from search_spaces.graph import Graph
from search_spaces.ops import LEAKY_SLOPE, Op
from workbench.errors import BadInput, missing_package

OPSET = 17
IR_VERSION = 8
"""Versions that every runtime of the last years reads."""

ACTIVATIONS: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "none": (),
    "relu": (("Relu", {}),),
    "sigmoid": (("Sigmoid", {}),),
    "tanh": (("Tanh", {}),),
    "hardswish": (("HardSwish", {}),),
    "hardsigmoid": (("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),),
    "leaky_relu": (("LeakyRelu", {"alpha": LEAKY_SLOPE}),),
    "softplus": (("Softplus", {}),),
    "silu": (("Sigmoid", {}), ("Mul", {})),
    "mish": (("Softplus", {}), ("Tanh", {}), ("Mul", {})),
}
"""Nodes of an activation in a row; a ``Mul`` also takes the activation's own input."""


def graph_to_onnx(graph: Graph, size: tuple[int, int] | None = None, seed: int = 0) -> bytes:
    """The bytes of an ONNX file that runs ``graph`` at batch 1 on images of ``size`` (height, width).

    ``size`` is needed unless the graph states it; ``seed`` draws the weights. An op that cannot be written is named.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise missing_package("running a graph", error.name, "onnx") from error

    writer = _Writer(graph, size, seed)
    for index, op in enumerate(graph.ops):
        if op.kind not in WRITERS:
            known = ", ".join(sorted(WRITERS))
            raise BadInput(f"graph {graph.name!r}: op {index} ({op.kind}) cannot be written as ONNX; {known} can")
        WRITERS[op.kind](writer, op, index)
        writer.activate(op, index)
    read = {i for op in graph.ops for i in op.inputs}
    ends = graph.outputs or tuple(i for i in range(len(graph)) if i not in read)
    real = onnx.TensorProto.FLOAT
    info = onnx.helper.make_tensor_value_info
    inputs = [info(f"input{i}", real, [1, *shape]) for i, shape in enumerate(writer.sources)]
    outputs = [info(writer.names[i], real, [1, *writer.shapes[i]]) for i in dict.fromkeys(ends)]
    body = onnx.helper.make_graph(writer.nodes, graph.name or "graph", inputs, outputs, writer.constants)
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model(body, opset_imports=opsets, producer_name="nas-workbench")
    model.ir_version = IR_VERSION
    content: bytes = model.SerializeToString()
    return content


class _Writer:
    """Nodes and constants under construction; every op's output has a name and a shape without batch."""

    def __init__(self, graph: Graph, size: tuple[int, int] | None, seed: int) -> None:
        fixed = graph.fixed_px
        if fixed is None and size is None:
            raise BadInput(f"graph {graph.name!r} has no size of its own: say at how many pixels it is to run")
        self.graph = graph
        new_size = None if fixed is not None and size in (None, fixed) else size
        self.shapes = [tuple(int(v) for v in shape) for shape in graph.shapes(new_size)]
        self.sources = [tuple(int(v) for v in shape) for shape in graph.input_shapes(new_size)]
        self.random = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.names: list[str] = []

    def inputs(self, op: Op) -> list[str]:
        """Names of the tensors an op reads."""
        return [self.names[i] if i >= 0 else f"input{-1 - i}" for i in op.inputs]

    def input_shapes(self, op: Op) -> list[tuple[int, ...]]:
        """Their shapes, without batch."""
        return [self.shapes[i] if i >= 0 else self.sources[-1 - i] for i in op.inputs]

    def node(self, kind: str, inputs: Sequence[str], index: int, **attributes: Any) -> str:
        """One node; the name of its output, which becomes the op's."""
        import onnx

        output = f"t{len(self.nodes)}"
        label = f"{self.graph.ops[index].name or kind}_{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(kind, list(inputs), [output], name=label, **attributes))
        del self.names[index:]
        self.names.append(output)
        return output

    def constant(self, value: np.ndarray) -> str:
        """An initializer."""
        import onnx

        name = f"c{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(value, name))
        return name

    def whole(self, *values: int) -> str:
        """An initializer of integers."""
        return self.constant(np.array(values, dtype=np.int64))

    def weights(self, *shape: int, fan_in: int) -> str:
        """Random weights that keep the spread of the activations."""
        return self.constant((self.random.standard_normal(shape) / np.sqrt(max(fan_in, 1))).astype(np.float32))

    def activate(self, op: Op, index: int) -> None:
        """Write the activation that rides on an op."""
        kind = op.activation
        if kind == "relu6":
            self.node("Clip", [self.names[index], self.constant(np.float32(0)), self.constant(np.float32(6))], index)
        elif kind == "gelu":
            x = self.names[index]
            scaled = self.node("Div", [x, self.constant(np.float32(np.sqrt(2)))], index)
            raised = self.node("Add", [self.node("Erf", [scaled], index), self.constant(np.float32(1))], index)
            self.node("Mul", [self.node("Mul", [x, raised], index), self.constant(np.float32(0.5))], index)
        elif kind in ACTIVATIONS:
            x = self.names[index]
            for name, attributes in ACTIVATIONS[kind]:
                self.node(name, [x, self.names[index]] if name == "Mul" else [self.names[index]], index, **attributes)
        else:
            known = ", ".join(("relu6", "gelu", *ACTIVATIONS))
            raise BadInput(
                f"graph {self.graph.name!r}: op {index} has activation {kind!r}, which cannot be written; {known} can"
            )


def _conv(w: _Writer, op: Op, index: int) -> None:
    cin, cout, groups = int(op.cin), int(op.cout), int(op.g)
    k = [int(v) for v in op.k]
    shape = (cout, cin // groups, *k) if op.kind == "conv" else (cin, cout // groups, *k)
    inputs = [w.inputs(op)[0], w.weights(*shape, fan_in=cin // groups * k[0] * k[1])]
    if op.bias:
        inputs.append(w.weights(cout, fan_in=100))
    pads = [int(op.p[0]), int(op.p[1])] * 2
    kind = "Conv" if op.kind == "conv" else "ConvTranspose"
    w.node(kind, inputs, index, kernel_shape=k, strides=list(op.s), pads=pads, group=groups)


def _linear(w: _Writer, op: Op, index: int) -> None:
    cin, cout = int(op.cin), int(op.cout)
    product = w.node("MatMul", [w.inputs(op)[0], w.weights(cin, cout, fan_in=cin)], index)
    if op.bias:
        w.node("Add", [product, w.weights(cout, fan_in=100)], index)


def _pool(w: _Writer, op: Op, index: int) -> None:
    pads = [int(op.p[0]), int(op.p[1])] * 2
    extra = {"count_include_pad": 1} if op.kind == "avgpool" else {}
    k, ceil = [int(v) for v in op.k], int(bool(op.attrs.get("ceil")))
    kind = "MaxPool" if op.kind == "maxpool" else "AveragePool"
    w.node(kind, w.inputs(op), index, kernel_shape=k, strides=list(op.s), pads=pads, ceil_mode=ceil, **extra)


def _upsample(w: _Writer, op: Op, index: int) -> None:
    scale = float(op.attrs.get("scale", 2))
    scales = w.constant(np.array([1, 1, scale, scale], dtype=np.float32))
    modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    w.node("Resize", [w.inputs(op)[0], "", scales], index, **modes)


def _slice(w: _Writer, op: Op, index: int) -> None:
    axis, start, step = int(op.attrs.get("axis", 1)), int(op.attrs.get("start", 0)), int(op.attrs.get("step", 1))
    length = w.input_shapes(op)[0][axis - 1]
    # The recorded end belongs to the traced size; a longer one means the whole axis.
    end = length if op.attrs.get("end") is None else min(length, int(op.attrs["end"]))
    w.node("Slice", [w.inputs(op)[0], w.whole(start), w.whole(end), w.whole(axis), w.whole(step)], index)


def _reshape(w: _Writer, op: Op, index: int) -> None:
    w.node("Reshape", [w.inputs(op)[0], w.whole(1, *w.shapes[index])], index)


def _norm(w: _Writer, op: Op, index: int) -> None:
    channels = int(op.cin)
    ones, zeros = w.constant(np.ones(channels, dtype=np.float32)), w.constant(np.zeros(channels, dtype=np.float32))
    if op.kind == "layernorm":
        w.node("LayerNormalization", [w.inputs(op)[0], ones, zeros], index, axis=-1)
    else:
        w.node("BatchNormalization", [w.inputs(op)[0], ones, zeros, zeros, ones], index)


def _plain(kind: str) -> Callable[[_Writer, Op, int], None]:
    def write(w: _Writer, op: Op, index: int) -> None:
        w.node(kind, w.inputs(op), index)

    return write


def _joined(kind: str) -> Callable[[_Writer, Op, int], None]:
    def write(w: _Writer, op: Op, index: int) -> None:
        w.node(kind, w.inputs(op), index, axis=int(op.attrs.get("axis", 1)))

    return write


def _transpose(w: _Writer, op: Op, index: int) -> None:
    w.node("Transpose", w.inputs(op), index, perm=[int(v) for v in op.attrs["perm"]])


def _scale(w: _Writer, op: Op, index: int) -> None:
    w.node("Mul", [w.inputs(op)[0], w.constant(np.ones(1, dtype=np.float32))], index)


def _times_constant(w: _Writer, op: Op, index: int) -> None:
    """A product with the recorded number, or with ones of the recorded shape (graphs hold no arrays)."""
    value = op.attrs.get("value")
    shape = [int(extent) for extent in op.attrs.get("const_shape", [])]
    factor = np.ones(shape, dtype=np.float32) if value is None else np.array(value, dtype=np.float32)
    w.node("Mul", [w.inputs(op)[0], w.constant(factor)], index)


def _nothing(w: _Writer, op: Op, index: int) -> None:
    w.names.append(w.inputs(op)[0])


WRITERS: dict[str, Callable[[_Writer, Op, int], None]] = {
    "conv": _conv,
    "deconv": _conv,
    "linear": _linear,
    "maxpool": _pool,
    "avgpool": _pool,
    "global_avgpool": _plain("GlobalAveragePool"),
    "upsample": _upsample,
    "slice": _slice,
    "reshape": _reshape,
    "transpose": _transpose,
    "concat": _joined("Concat"),
    "softmax": _joined("Softmax"),
    "matmul": _plain("MatMul"),
    "add": _plain("Add"),
    "sub": _plain("Sub"),
    "mul": _plain("Mul"),
    "div": _plain("Div"),
    "bn": _norm,
    "layernorm": _norm,
    "scale": _scale,
    "mul_const": _times_constant,
    "identity": _nothing,
    "act": _nothing,
}
"""Writer of each kind of op; an activation that rides on the op is written after it."""
