"""Shape rules: the output shape of every kind of op, without the batch axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from search_spaces.ops import CONV_KINDS, JOIN_KINDS, POOL_KINDS, SAME_SHAPE_KINDS, Num, Op
from search_spaces.rounding import whole
from workbench.errors import BadInput
from workbench.printable import shown

COMPUTATION_ERRORS = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What arithmetic raises on fields of the wrong type."""
MOST_EXTENT = 2**40
Shape: TypeAlias = "tuple[Num, ...]"
"""``(c, h, w)`` of a feature map; other tensors have other lengths."""


def product(shape: Sequence[Num]) -> Num:
    """Number of elements of a tensor of this shape."""
    total: Num = 1
    for extent in shape:
        total = total * extent
    return total


def output_shape(op: Op, inputs: list[Shape], index: int, rescaled: bool) -> Shape:
    """Shape after ``op``; the recorded shape where only the tracer could know it.

    ``index`` names the op in errors. ``rescaled``: the graph was traced at another size than the one asked for.
    """
    try:
        return _output_shape(op, inputs, index, rescaled)
    except COMPUTATION_ERRORS as error:
        if isinstance(error, BadInput):
            raise
        raise cannot_compute(op, index, error) from error


def check_shape(shape: Shape, op: Op, index: int) -> None:
    """Refuse a scalar shape with an extent that is negative, or too large to count with."""
    for extent in shape:
        if isinstance(extent, int) and not 0 <= extent <= MOST_EXTENT:
            where = f"op {index} ({op.kind})"
            raise BadInput(f"{where} cannot be computed: a side would be {shown(extent)}; give another input size")


def cannot_compute(op: Op, index: int, error: Exception) -> BadInput:
    """The error for an op from a file whose fields do not fit together."""
    reason = f"an input or a field has a wrong type or value ({error!r:.80})"
    return BadInput(f"op {index} ({op.kind}) cannot be computed: {reason}")


def _output_shape(op: Op, inputs: list[Shape], index: int, rescaled: bool) -> Shape:
    kind, first = op.kind, inputs[0] if inputs else ()
    recorded = op.attrs.get("shape")
    if kind in CONV_KINDS | POOL_KINDS and len(first) == 3:
        return _window_shape(op, first)
    if kind == "global_avgpool":
        return (first[0], 1, 1)
    if kind == "upsample" and len(first) == 3 and not isinstance(op.attrs.get("scale", 2), list):
        scale = op.attrs.get("scale", 2)
        return (first[0], whole(first[1] * scale), whole(first[2] * scale))
    if kind in SAME_SHAPE_KINDS or kind == "identity":
        return first
    if kind == "concat" and recorded is None:
        return (sum(shape[0] for shape in inputs), *first[1:])
    batched = recorded is None or len(recorded) < 2 or recorded[0] == 1
    if kind == "slice" and batched and len(first) == 3 and op.attrs.get("axis", 1) in (1, 2, 3):
        return _sliced_shape(op, first, rescaled)
    if recorded is None and kind in TOKEN_SHAPES and (kind != "reshape" or "heads" in op.attrs or len(inputs) == 2):
        return TOKEN_SHAPES[kind](op, inputs)
    if kind in JOIN_KINDS and recorded is None:
        if any(np.ndim(extent) for shape in inputs for extent in shape):
            return first  # as the builder promises; where the op is absent the other operand may have any width
        return max(inputs, key=product)
    if recorded is None:
        raise BadInput(f"op {index} ({kind}) has no shape rule and no recorded 'shape'")
    if rescaled:
        raise BadInput(f"op {index} ({kind}) is bound to the size the graph was traced at: ask for that size")
    shape = tuple(int(v) for v in recorded)
    return shape[1:] if len(shape) > 1 and batched else shape  # a first axis above 1 is no batch but heads or tokens


def _reshaped(op: Op, inputs: Sequence[Shape]) -> Shape:
    """``(c, h, w)`` to ``(heads, c / heads, h * w)`` with ``heads``; back to the map that is the second input."""
    first = inputs[0]
    if "heads" in op.attrs:
        heads = op.attrs["heads"]
        return (heads, first[0] // heads, first[1] * first[2])
    return (product(first[:-1]), *inputs[1][1:])


TOKEN_SHAPES: dict[str, Callable[[Op, Sequence[Shape]], Shape]] = {
    "reshape": _reshaped,
    "transpose": lambda op, inputs: tuple(inputs[0][axis - 1] for axis in op.attrs["perm"][1:]),
    "matmul": lambda op, inputs: (*inputs[0][:-1], inputs[1][-1]),
}
"""Rules of attention as the lowering writes it; a traced graph has its shapes recorded. Axes count the batch."""


def _window_shape(op: Op, first: Shape) -> Shape:
    if op.kind == "deconv":
        height, width = ((n - 1) * s - 2 * p + k for n, s, p, k in zip(first[1:], op.s, op.p, op.k, strict=True))
        return (op.cout, height, width)
    ceil = bool(op.attrs.get("ceil"))
    height, width = (_window_count(n, k, s, p, ceil) for n, k, s, p in zip(first[1:], op.k, op.s, op.p, strict=True))
    return (op.cout if op.kind == "conv" else first[0], height, width)


def _window_count(length: Num, k: Num, s: int, p: Num, ceil: bool) -> Num:
    room = length + 2 * p - k
    return (-(-room // s) if ceil else room // s) + 1


def _sliced_shape(op: Op, first: Shape, rescaled: bool) -> Shape:
    axis = int(op.attrs.get("axis", 1)) - 1
    start, end, step = op.attrs.get("start", 0), op.attrs.get("end"), int(op.attrs.get("step", 1))
    stop = first[axis] if end is None or (rescaled and axis) else np.minimum(end, first[axis])
    extent = -(-(stop - start) // step)
    return (*first[:axis], extent, *first[axis + 1 :])
