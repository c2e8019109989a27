"""Graph: the small DAG of Ops that every cost, latency and score reads.

A Graph comes from a searched ``Architecture`` (analytic lowering), from a torch module (tracing) or from an ONNX file.
It does not know its resolution until it is asked for ``table(input_px)``.

Numeric fields of an Op (``cin``, ``cout``, ``k``, ``g``, ``count``) may also be numpy arrays of shape ``[N]``: the
same graph then stands for N candidates at once, and the table's columns have shape ``[ops, N]``. ``count`` is how often
an op occurs in each candidate (0 = absent), which is how depth and optional projections vectorise.

On disk a graph is one JSON object (``to_json``/``from_json``): nodes in execution order, ``in`` lists producers by
index, -1 is the image.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from search_spaces.graph_json import MOST_NODES, indices_from_json, inputs_from_json, op_from_json, op_to_json
from search_spaces.op_table import OpTable, build_table
from search_spaces.ops import Num, Op, consumers
from search_spaces.shapes import Shape, check_shape, output_shape
from workbench.errors import BadInput

if TYPE_CHECKING:
    import networkx

MOST_NAME = 300
"""Longest name of a graph that is read, in characters."""
DEFAULT_PX = 640
"""Image side, pixels, of a graph that states no size and is asked for none."""
STORED_META = ("family", "variant", "nc", "decode_outputs", "levels", "squeezed")
"""Keys of ``meta`` that are read back from JSON."""


INDEX_META = {"decode_outputs", "levels", "squeezed"}
"""Those that list nodes by index."""


class Graph:
    """Ops in execution order, plus the channels of the inputs and the output nodes."""

    def __init__(
        self,
        ops: Sequence[Op],
        inputs: Sequence[Sequence[Num]] = ((3,),),
        outputs: Sequence[int] = (),
        name: str = "",
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        self.ops = tuple(ops)
        self.inputs = tuple(tuple(shape) for shape in inputs)
        self.outputs = tuple(outputs)
        self.name = name
        self.meta = dict(meta or {})

    def __len__(self) -> int:
        return len(self.ops)

    def __iter__(self) -> Iterator[Op]:
        return iter(self.ops)

    def __repr__(self) -> str:
        size = f", {self.fixed_px[0]}x{self.fixed_px[1]} px" if self.fixed_px else ""
        counts = f"{len(self.ops)} ops, {len(self.inputs)} inputs, {len(self.outputs)} outputs"
        return f"Graph({self.name!r}, {counts}{size})"

    @property
    def fixed_px(self) -> tuple[int, int] | None:
        """(height, width) the graph is bound to, or None when it scales with its input or holds N input sizes."""
        shape = self.inputs[0] if self.inputs else ()
        return (int(shape[1]), int(shape[2])) if len(shape) == 3 and np.ndim(shape[1]) == 0 else None

    def shapes(self, input_px: int | tuple[int, int] | None = None) -> list[Shape]:
        """Output shape of every op, without batch: ``(c, h, w)`` for feature maps.

        ``input_px`` is the image side, or (height, width), in pixels. Graphs with shape-bound
        ops (attention, reshapes) answer only for the size they were traced at.
        """
        sources = self.input_shapes(input_px)
        rescaled = self.fixed_px is not None and self._size(input_px) != self.fixed_px
        shapes: list[Shape] = []
        for index, op in enumerate(self.ops):
            inputs = [shapes[i] if i >= 0 else sources[-1 - i] for i in op.inputs]
            shapes.append(output_shape(op, inputs, index, rescaled))
            check_shape(shapes[-1], op, index)
        return shapes

    def input_shapes(self, input_px: int | tuple[int, int] | None = None) -> list[Shape]:
        """Shapes of the graph's inputs at one input size (pixels), without batch."""
        size = self._size(input_px)
        return [shape if len(shape) == 3 and input_px is None else (shape[0], *size) for shape in self.inputs]

    def _size(self, input_px: int | tuple[int, int] | None) -> tuple[int, int]:
        """(height, width) in pixels that ``input_px`` stands for."""
        if input_px is None:
            return self.fixed_px or (DEFAULT_PX, DEFAULT_PX)
        return (input_px, input_px) if isinstance(input_px, int) else (input_px[0], input_px[1])

    def consumers(self) -> list[list[int]]:
        """For every op, the indices of the ops that read it."""
        return consumers(self.ops)

    def without_part(self, part: str) -> Graph:
        """The graph without the ops of one part (``decode``); later ops must not need them."""
        keep = [i for i, op in enumerate(self.ops) if op.part != part]
        new_index = {old: new for new, old in enumerate(keep)}
        ops = []
        for old in keep:
            op = self.ops[old]
            if any(i >= 0 and i not in new_index for i in op.inputs):
                where = f"graph {self.name!r}: op {old} ({op.kind})"
                raise BadInput(f"{where} reads part {part!r}, which cannot be dropped")
            ops.append(dataclasses.replace(op, inputs=tuple(new_index[i] if i >= 0 else i for i in op.inputs)))
        outputs = tuple(new_index[i] for i in self.outputs if i in new_index)
        return Graph(ops, self.inputs, outputs, self.name, self.meta)

    def only_part(self, part: str) -> Graph:
        """The ops of one part, which must come first; its outputs are what later parts read of it."""
        keep = [i for i, op in enumerate(self.ops) if op.part == part]
        new_index = {old: new for new, old in enumerate(keep)}
        read = sorted({i for op in self.ops if op.part != part for i in op.inputs if i in new_index})
        ops = []
        for old in keep:
            op = self.ops[old]
            if any(i >= 0 and i not in new_index for i in op.inputs):
                raise BadInput(f"graph {self.name!r}: op {old} ({op.kind}) of part {part!r} reads another part")
            attrs = dict(op.attrs)
            if isinstance(attrs.get("tied_to"), int) and attrs["tied_to"] in new_index:
                attrs["tied_to"] = new_index[attrs["tied_to"]]
            inputs = tuple(new_index.get(i, i) for i in op.inputs)
            ops.append(dataclasses.replace(op, inputs=inputs, attrs=attrs))
        return Graph(ops, self.inputs, [new_index[i] for i in read], self.name, self.meta)

    def table(self, input_px: int | tuple[int, int] | None = None) -> OpTable:
        """Numbers of every op at one input size (pixels)."""
        return build_table(self.ops, self.input_shapes(input_px), self.shapes(input_px), self.outputs)

    def to_networkx(self, input_px: int | None = None) -> networkx.DiGraph:
        """A networkx view: one node an op, with its fields and output shape, edges along data."""
        import networkx

        shapes = self.shapes(input_px)
        view = networkx.DiGraph(name=self.name)
        for i, shape in enumerate(self.inputs):
            view.add_node(-1 - i, kind="input", label=f"input {shape[0]}", shape=tuple(shape))
        for index, op in enumerate(self.ops):
            view.add_node(index, kind=op.kind, label=op.name or op.kind, shape=shapes[index], part=op.part, op=op)
            for producer in op.inputs:
                view.add_edge(producer, index)
        return view

    def to_json(self) -> dict[str, Any]:
        """Plain data: ``name``, ``inputs``, ``nodes``, ``outputs``. Scalar graphs only."""
        nodes = [op_to_json(op) for op in self.ops]
        inputs = [[int(v) for v in shape] for shape in self.inputs]
        return {"name": self.name, "inputs": inputs, "nodes": nodes, "outputs": list(self.outputs), **self.meta}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Graph:
        """Read one graph object; names the node and the rule when a field is wrong."""
        name = str(data.get("name", ""))[:MOST_NAME]
        nodes = data.get("nodes")
        if not isinstance(nodes, list) or not nodes:
            raise BadInput(f"graph {name!r}: 'nodes' must be a non-empty list of ops")
        if len(nodes) > MOST_NODES:
            raise BadInput(f"graph {name!r}: {len(nodes):,} nodes, and at most {MOST_NODES:,} are read")
        inputs = inputs_from_json(data.get("inputs", [[3]]), name)
        ops = [op_from_json(node, index, name, len(inputs)) for index, node in enumerate(nodes)]
        outputs = indices_from_json(data.get("outputs", []), "outputs", len(ops), name)
        meta = {key: data[key] for key in STORED_META if key in data}
        for key in sorted(INDEX_META & meta.keys()):
            indices_from_json(meta[key], key, len(ops), name)
        return Graph(ops, inputs, outputs, name, meta)

    def digest(self) -> str:
        """Stable 12-digit fingerprint of the scalar graph (names left out)."""
        plain = self.to_json()
        for node in plain["nodes"]:
            node.pop("name", None)
        text = json.dumps([plain["inputs"], plain["nodes"], plain["outputs"]], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def level_strides(graph: Graph, input_px: int | None = None) -> list[int]:
    """Total stride of every op's output relative to the image (side over side); 0 where it is no image-shaped map."""
    shapes = graph.shapes(input_px)
    default = input_px or DEFAULT_PX
    height, width = graph.fixed_px if input_px is None and graph.fixed_px else (default, default)
    strides = []
    for shape in shapes:
        is_map = len(shape) == 3 and shape[1] > 0 and height * shape[2] == width * shape[1]
        strides.append(round(height / shape[1]) if is_map and shape[1] <= height else 0)
    return strides


def same_graph(a: Graph, b: Graph, input_px: int = DEFAULT_PX) -> str:
    """Empty when both graphs have the same totals, else one sentence on where they differ."""
    table_a, table_b = a.table(input_px), b.table(input_px)
    for column in ("params", "macs"):
        left = float(table_a.total(getattr(table_a, column)))
        right = float(table_b.total(getattr(table_b, column)))
        if not math.isclose(left, right, rel_tol=0, abs_tol=0.5):
            return f"{column} differ: {left:.0f} against {right:.0f}"
    return ""
