"""From a Graph to a torch module with fresh weights.

The forward-pass scores run it, and tests compare its costs with the graph's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.graph import Graph
from search_spaces.ops import CONV_KINDS, LEAKY_SLOPE, Op
from workbench.errors import BadInput

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": F.relu,
    "silu": F.silu,
    "gelu": F.gelu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu6": F.relu6,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "leaky_relu": lambda x: F.leaky_relu(x, LEAKY_SLOPE),
    "mish": F.mish,
    "softplus": F.softplus,
}
"""Activations by their graph name."""


class GraphModule(nn.Module):
    """Runs a Graph op by op. ``forward(image)`` returns the outputs; ``run(image)`` every op's tensor.

    ``with_bn`` puts a batch norm after every convolution, which the deploy form has folded away.
    """

    def __init__(self, graph: Graph, with_bn: bool = False) -> None:
        super().__init__()
        self.graph = graph
        self.layers = nn.ModuleDict()
        self.norms = nn.ModuleDict()
        for index, op in enumerate(graph.ops):
            layer = _layer(op)
            if layer is not None:
                self.layers[str(index)] = layer
                if with_bn and op.kind in CONV_KINDS:
                    self.norms[str(index)] = nn.BatchNorm2d(int(op.cout))
        last_use = {i: index for index, op in enumerate(graph.ops) for i in op.inputs}
        self._outputs = graph.outputs or tuple(i for i in range(len(graph)) if i not in last_use)

    def run(self, image: Tensor) -> list[Tensor]:
        """Output of every op for ``image`` ``[batch, channels, h, w]``."""
        tensors: list[Tensor] = []
        for index, op in enumerate(self.graph.ops):
            inputs = [tensors[i] if i >= 0 else image for i in op.inputs]
            tensors.append(self._compute(index, op, inputs))
        return tensors

    def forward(self, image: Tensor) -> list[Tensor]:
        """The graph's outputs, in its order."""
        tensors = self.run(image)
        return [tensors[i] for i in self._outputs]

    def _compute(self, index: int, op: Op, inputs: list[Tensor]) -> Tensor:
        key = str(index)
        if key in self.layers:
            x: Tensor = self.layers[key](inputs[0])
            if key in self.norms:
                x = self.norms[key](x)
            return _activation(op.act, index)(x)
        return RUNNABLE[op.kind](op, inputs)


def build_module(graph: Graph, with_bn: bool = False) -> GraphModule:
    """A module for ``graph``; an op that cannot be run is named."""
    for index, op in enumerate(graph.ops):
        if _layer(op) is None and op.kind not in RUNNABLE:
            known = ", ".join(sorted(RUNNABLE))
            raise BadInput(f"graph {graph.name!r}: op {index} ({op.kind}) cannot be run; {known} can")
    return GraphModule(graph, with_bn)


def _layer(op: Op) -> nn.Module | None:
    """The learned part of an op."""
    if op.kind == "conv":
        return nn.Conv2d(int(op.cin), int(op.cout), op.k, op.s, op.p, groups=int(op.g), bias=op.bias)
    if op.kind == "deconv":
        return nn.ConvTranspose2d(int(op.cin), int(op.cout), op.k, op.s, op.p, groups=int(op.g), bias=op.bias)
    if op.kind == "linear":
        return nn.Linear(int(op.cin), int(op.cout), op.bias)
    if op.kind == "bn":
        return nn.BatchNorm2d(int(op.cin))
    if op.kind == "layernorm":
        return nn.LayerNorm(int(op.cin))
    if op.kind == "scale":
        return _Scale()
    return None


class _Scale(nn.Module):
    """Multiplication by one learned number."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def _activation(name: str, index: int) -> Callable[[Tensor], Tensor]:
    if name not in ACTIVATIONS:
        raise BadInput(f"op {index}: activation {name!r} cannot be run; {', '.join(ACTIVATIONS)} can")
    return ACTIVATIONS[name]


def _constant(op: Op, x: Tensor) -> Tensor:
    """The constant operand: its recorded value, else ones of its shape (graphs hold no weights)."""
    if "value" in op.attrs:
        return torch.as_tensor(float(op.attrs["value"]), dtype=x.dtype)
    return torch.ones([int(v) for v in op.attrs.get("const_shape", [])], dtype=x.dtype)


def _with_constant(function: Callable[[Any, Any], Tensor]) -> Callable[[Op, list[Tensor]], Tensor]:
    def call(op: Op, inputs: list[Tensor]) -> Tensor:
        pair = (inputs[0], _constant(op, inputs[0]))
        return function(*(pair[::-1] if op.attrs.get("const_first") else pair))

    return call


def _slice(op: Op, inputs: list[Tensor]) -> Tensor:
    axis = int(op.attrs.get("axis", 1))
    part = slice(int(op.attrs.get("start", 0)), op.attrs.get("end"), int(op.attrs.get("step", 1)))
    return inputs[0][(slice(None),) * axis + (part,)]


def _concat(op: Op, inputs: list[Tensor]) -> Tensor:
    shapes = [[int(v) for v in shape] for shape in op.attrs.get("const_inputs", [])]
    constants = [torch.zeros(shape, dtype=inputs[0].dtype) for shape in shapes]
    return torch.cat([*inputs, *constants], int(op.attrs.get("axis", 1)))


def _pool(op: Op, inputs: list[Tensor]) -> Tensor:
    ceil = bool(op.attrs.get("ceil"))
    if op.kind == "maxpool":
        return F.max_pool2d(inputs[0], op.k, op.s, op.p, ceil_mode=ceil)
    return F.avg_pool2d(inputs[0], op.k, op.s, op.p, ceil_mode=ceil)


def _reshape(op: Op, inputs: list[Tensor]) -> Tensor:
    """To the recorded shape; else from a map to ``heads`` rows of tokens, or back to the map that is the second input.

    See ``search_spaces.shapes``."""
    x = inputs[0]
    if "shape" in op.attrs:
        return x.reshape(_recorded(op, x))
    if "heads" in op.attrs:
        heads = int(op.attrs["heads"])
        return x.reshape(x.shape[0], heads, x.shape[1] // heads, -1)
    return x.reshape(x.shape[0], -1, *inputs[1].shape[2:])


def _recorded(op: Op, x: Tensor) -> list[int]:
    """The recorded shape with this batch in front."""
    shape = [int(v) for v in op.attrs["shape"]]
    return [x.shape[0], *shape[1:]] if math.prod(shape[1:]) * x.shape[0] == x.numel() else shape


RUNNABLE: dict[str, Callable[[Op, list[Tensor]], Tensor]] = {
    "add": lambda op, x: x[0] + x[1],
    "sub": lambda op, x: x[0] - x[1],
    "mul": lambda op, x: x[0] * x[1],
    "div": lambda op, x: x[0] / x[1],
    "add_const": _with_constant(torch.add),
    "sub_const": _with_constant(torch.sub),
    "rsub_const": lambda op, x: _constant(op, x[0]) - x[0],
    "mul_const": _with_constant(torch.mul),
    "div_const": _with_constant(torch.div),
    "pow_const": _with_constant(torch.pow),
    "act": lambda op, x: _activation(op.activation, -1)(x[0]),
    "concat": _concat,
    "slice": _slice,
    "maxpool": _pool,
    "avgpool": _pool,
    "global_avgpool": lambda op, x: x[0].mean(dim=(2, 3), keepdim=True),
    "upsample": lambda op, x: F.interpolate(x[0], scale_factor=float(op.attrs.get("scale", 2)), mode="nearest"),
    "identity": lambda op, x: x[0],
    "reshape": _reshape,
    "transpose": lambda op, x: x[0].permute([int(v) for v in op.attrs["perm"]]),
    "expand": lambda op, x: x[0].expand([int(v) for v in op.attrs["shape"]]),
    "select": lambda op, x: x[0].select(int(op.attrs["axis"]), int(op.attrs["index"])),
    "stack": lambda op, x: torch.stack(x, int(op.attrs["axis"])),
    "matmul": lambda op, x: x[0] @ x[1],
    "softmax": lambda op, x: x[0].softmax(int(op.attrs["axis"])),
    "exp": lambda op, x: x[0].exp(),
    "log": lambda op, x: x[0].log(),
    "clamp": lambda op, x: x[0].clamp(*op.attrs.get("limits", (None, None))),
    "reduce_max": lambda op, x: x[0].amax(tuple(op.attrs["axis"])),
    "reduce_sum": lambda op, x: x[0].sum(tuple(op.attrs["axis"])),
}
"""Function of each kind of op without weights."""
