"""OpTable: the numbers of every op of a Graph at one input size, column by column.

Costs, latency and scores are elementwise over these columns, so they serve one candidate (columns ``[ops]``) and N
candidates at once (``[ops, N]``) alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search_spaces.ops import CONV_KINDS, NORM_KINDS, VIEW_KINDS, WEIGHT_KINDS, Num, Op, consumers
from search_spaces.shapes import COMPUTATION_ERRORS, Shape, cannot_compute, product


@dataclass(frozen=True, slots=True)
class OpTable:
    """Columns over ops at one input size; each is ``[ops]`` or ``[ops, N]`` (float64 unless said).

    ``macs`` multiply-accumulates; ``params`` learned numbers; ``in_elems``/``out_elems``
    numbers read from and written to activations; ``weight_elems`` numbers read as weights;
    ``pixels`` output height x width; ``in_pixels`` input height x width; ``fused`` 1 where a
    runtime folds the op into its producer; ``count`` occurrences.
    """

    kinds: tuple[str, ...]
    acts: tuple[str, ...]
    parts: tuple[str, ...]
    names: tuple[str, ...]
    cin: np.ndarray
    cout: np.ndarray
    k: np.ndarray
    kernel_area: np.ndarray
    stride: np.ndarray
    groups: np.ndarray
    pixels: np.ndarray
    in_pixels: np.ndarray
    macs: np.ndarray
    params: np.ndarray
    in_elems: np.ndarray
    out_elems: np.ndarray
    weight_elems: np.ndarray
    fused: np.ndarray
    count: np.ndarray

    def total(self, column: np.ndarray) -> np.ndarray:
        """Sum of ``column`` over ops, each as often as it occurs: a scalar, or ``[N]``."""
        return (column * self.count).sum(axis=0)


NUMERIC = (
    "cin", "cout", "k", "kernel_area", "stride", "groups", "pixels", "in_pixels", "macs", "params", "in_elems",
    "out_elems", "weight_elems", "fused", "count",
)  # fmt: skip
"""Columns of an OpTable that are numbers."""


def build_table(ops: tuple[Op, ...], inputs: list[Shape], shapes: list[Shape], outputs: Sequence[int]) -> OpTable:
    """The table of ``ops``: ``inputs`` are the shapes of the graph's inputs, ``shapes`` those of the ops' outputs."""
    fused = fused_ops(ops, outputs)
    rows: dict[str, list[Num]] = {name: [] for name in NUMERIC}
    for index, op in enumerate(ops):
        try:
            row = op_row(op, [shapes[i] if i >= 0 else inputs[-1 - i] for i in op.inputs], shapes[index])
        except COMPUTATION_ERRORS as error:
            raise cannot_compute(op, index, error) from error
        row["fused"] = 1.0 if fused[index] else 0.0
        row["count"] = op.count
        for name in NUMERIC:
            rows[name].append(row[name])
    columns = {name: _stack(values) for name, values in rows.items()}
    widths = [column.shape[1] for column in columns.values() if column.ndim == 2]
    if widths:
        shape = (len(ops), max(widths))
        columns = {
            name: np.broadcast_to(column[:, None] if column.ndim == 1 else column, shape)
            for name, column in columns.items()
        }
    return OpTable(
        kinds=tuple(op.kind for op in ops),
        acts=tuple(op.activation for op in ops),
        parts=tuple(op.part for op in ops),
        names=tuple(op.name or f"{op.kind}{i}" for i, op in enumerate(ops)),
        **columns,
    )


def fused_ops(ops: tuple[Op, ...], outputs: Sequence[int] = ()) -> list[bool]:
    """Which ops a deploying runtime folds into their producer, so that they cost no kernel.

    The rule, the same for every device: an activation or a two-input add rides on the conv, linear, batch norm or
    (already fused) add that feeds it when nothing else reads that producer; reshapes are views; learned scales,
    constant scales and batch norms after a conv that only they read fold into it.
    """
    readers = consumers(ops)
    ends = set(outputs)
    fused = [False] * len(ops)

    def read_once(producer: int) -> bool:
        return producer >= 0 and len(readers[producer]) == 1 and producer not in ends

    def carries(producer: int) -> bool:
        if not read_once(producer):
            return False
        op = ops[producer]
        return op.kind in WEIGHT_KINDS or (op.kind in ("add", "bn", "scale") and fused[producer])

    def is_single_norm(producer: int) -> bool:
        # A batch norm that could not fold (it follows a join) and its activation are one elementwise kernel.
        return read_once(producer) and ops[producer].kind == "bn"

    for index, op in enumerate(ops):
        if op.kind in VIEW_KINDS:
            fused[index] = True
        elif op.kind == "act":
            fused[index] = carries(op.inputs[0]) or is_single_norm(op.inputs[0])
        elif op.kind in ("bn", "scale", "mul_const", "add_const"):
            fused[index] = carries(op.inputs[0]) and ops[op.inputs[0]].act == "none"
        elif op.kind == "add" and len(op.inputs) == 2:
            # The last computed input can take the other one in its epilogue.
            fused[index] = any(carries(i) and (ops[i].act == "none" or ops[i].kind == "conv") for i in op.inputs)
    return fused


def op_row(op: Op, inputs: list[Shape], out: Shape) -> dict[str, Num]:
    """Numeric columns of one op from its fields and shapes."""
    area = op.k[0] * op.k[1]
    out_elems = product(out)
    pixels = out[1] * out[2] if len(out) == 3 else product(out[:-1])
    first = inputs[0] if inputs else out
    in_pixels = first[1] * first[2] if len(first) == 3 else product(first[:-1])
    read = inputs[:1] if op.kind == "reshape" else inputs  # of its second one it only takes the size
    row: dict[str, Num] = {
        "cin": op.cin, "cout": op.cout, "k": op.k[0], "kernel_area": area, "stride": op.s[0], "groups": op.g,
        "pixels": pixels, "in_pixels": in_pixels, "macs": 0, "params": 0,
        "in_elems": sum((product(shape) for shape in read), start=0), "out_elems": out_elems, "weight_elems": 0,
    }  # fmt: skip
    if op.kind in WEIGHT_KINDS:
        weights = op.cin // op.g * op.cout * area
        row["weight_elems"] = weights
        row["params"] = weights + (op.cout if op.bias else 0)
        if op.kind in CONV_KINDS:
            row["macs"] = weights * (pixels if op.kind == "conv" else in_pixels)
        else:
            row["macs"] = out_elems * op.cin
    elif op.kind == "matmul":
        row["cin"], row["cout"] = first[-1], out[-1]
        row["macs"] = out_elems * first[-1]
    elif op.kind in NORM_KINDS:
        row["cin"] = row["cout"] = op.cin
        row["params"] = row["weight_elems"] = 2 * op.cin
    else:
        row["cin"], row["cout"] = first[0] if first else 0, out[0] if out else 0
        row["params"] = row["weight_elems"] = int(op.attrs.get("params", 0))
    if "tied_to" in op.attrs:
        row["params"] = 0
    return row


def _stack(values: list[Num]) -> np.ndarray:
    """Numbers and arrays of one shape below one another, float64 ``[ops]`` or ``[ops, N]``."""
    shapes = {getattr(value, "shape", ()) for value in values}
    shape = np.broadcast_shapes(*shapes)
    if not shape:
        return np.array(values, dtype=np.float64)
    stacked = np.empty((len(values), *shape))
    for row, value in enumerate(values):
        stacked[row] = value
    return stacked
