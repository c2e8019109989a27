"""Ops: the nodes of a Graph, and the one vocabulary of their kinds and activations.

Every front end (lowering, tracing, ONNX) writes these names and every consumer (costs, latency, scores, export)
reads them from here. Activations are spelled as in ``torch.nn.functional``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Num: TypeAlias = Any
"""An int, or an int array of shape ``[N]`` when the graph stands for N candidates."""

CONV_KINDS = frozenset({"conv", "deconv"})
"""Convolutions and transposed convolutions, dense, grouped or depthwise."""
WEIGHT_KINDS = CONV_KINDS | {"linear"}
"""Layers with a weight matrix; an activation may ride on them (``Op.act``)."""
NORM_KINDS = frozenset({"bn", "layernorm"})
"""Norms with a scale and a shift per channel."""
POOL_KINDS = frozenset({"maxpool", "avgpool"})
"""Poolings over a window."""
RESIZE_KINDS = frozenset({"upsample", "deconv"})
"""Ops that enlarge a feature map."""
JOIN_KINDS = frozenset({"add", "sub", "mul", "div"})
"""Elementwise ops on two tensors, broadcast."""
COPY_KINDS = frozenset({"concat", "slice", "stack", "expand", "select"})
"""Ops that only copy numbers."""
VIEW_KINDS = frozenset({"reshape", "identity"})
"""Ops that move nothing in memory."""
CONST_KINDS = frozenset({"add_const", "sub_const", "rsub_const", "mul_const", "div_const", "pow_const"})
"""Elementwise ops on a tensor and a constant."""
UNARY_KINDS = frozenset(
    {"exp", "log", "sqrt", "rsqrt", "neg", "sin", "cos", "round", "clamp", "floor_divide", "remainder"}
)
"""Elementwise functions of one tensor."""
REDUCE_KINDS = frozenset({"reduce_max", "reduce_sum", "reduce_mean"})
"""Reductions over axes."""
INDEX_KINDS = frozenset({"topk", "topk_indices", "gather", "grid_sample", "where"})
"""Ops that read at computed places."""
OTHER_KINDS = frozenset(
    {"act", "scale", "global_avgpool", "matmul", "softmax", "transpose", "pow", "pad"}
    | {"groupnorm", "normalize", "const"}
)
"""Kinds that belong to no group. ``scale`` multiplies by learned numbers, ``act`` is an activation of its own."""
OP_KINDS = frozenset().union(
    WEIGHT_KINDS, NORM_KINDS, POOL_KINDS, RESIZE_KINDS, JOIN_KINDS, COPY_KINDS, VIEW_KINDS, CONST_KINDS, UNARY_KINDS,
    REDUCE_KINDS, INDEX_KINDS, OTHER_KINDS,
)  # fmt: skip
"""Every kind of op. An ONNX op outside of it keeps its own name and is listed in ``graph.meta["unknown_ops"]``."""

SAME_SHAPE_KINDS = CONST_KINDS | NORM_KINDS | {"act", "scale", "softmax"} | {
    "exp", "log", "clamp", "floor_divide", "remainder"
}  # fmt: skip
"""Kinds whose output always has the shape of their input, so that no shape is recorded."""
ELEMENTWISE_KINDS = frozenset({"bn", "act", "scale", "identity"})
"""Kinds that leave channels and pixels where they are: a search for a producer looks through them."""
SIZE_BOUND_KINDS = frozenset({"reshape", "matmul", "transpose"})
"""Kinds that bind a graph to the image size that it was traced at."""
ATTENTION_KINDS = frozenset({"softmax", "transpose"})
"""Kinds that a fused attention kernel takes in."""

ACTIVATIONS = (
    "none", "relu", "relu6", "leaky_relu", "prelu", "elu", "silu", "gelu", "sigmoid", "tanh", "hardswish",
    "hardsigmoid", "mish", "softplus",
)  # fmt: skip
"""Every activation, by its name in ``torch.nn.functional``."""
LEAKY_SLOPE = 0.1
"""Negative slope of ``leaky_relu``, as YOLO networks have it; graphs do not store one."""
RELU_LIKE = frozenset({"none", "relu", "relu6", "leaky_relu"})
"""Activations that need a comparison and no exponential: every runtime fuses them into the op before."""
GATES = frozenset({"sigmoid", "hardsigmoid", "softplus"})
"""Activations that are positive everywhere: they do not tell on from off."""
ACTIVATION_ALIASES = {"": "none", "identity": "none", "leakyrelu": "leaky_relu"}
"""Spellings in stored graphs, read as today's names."""

DECODE_PART = "decode"
"""The part of a Graph that turns raw head maps into boxes."""


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """One node of a Graph. ``inputs`` are indices of producer nodes, -1 - i for graph input i.

    ``cin``, ``cout`` channels; ``k``, ``s``, ``p`` kernel, stride and padding (height, width); ``g`` groups; ``act``
    the activation that rides on the op; ``count`` how often the op occurs. An op of kind ``act`` names its
    activation in ``attrs["kind"]``.
    """

    kind: str
    inputs: tuple[int, ...]
    cin: Num = 0
    cout: Num = 0
    k: tuple[Num, Num] = (1, 1)
    s: tuple[int, int] = (1, 1)
    p: tuple[Num, Num] = (0, 0)
    g: Num = 1
    act: str = "none"
    bias: bool = False
    name: str = ""
    part: str = ""
    count: Num = 1
    attrs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def activation(self) -> str:
        """The activation that the op applies, riding or alone; ``none`` where there is none."""
        return str(self.attrs.get("kind", self.act)) if self.kind == "act" else self.act


def consumers(ops: tuple[Op, ...]) -> list[list[int]]:
    """For every op, the indices of the ops that read it."""
    readers: list[list[int]] = [[] for _ in ops]
    for index, op in enumerate(ops):
        for producer in op.inputs:
            if producer >= 0:
                readers[producer].append(index)
    return readers
