"""Graph and Op: what every ruler reads.

A Graph is a small DAG of Ops in execution order. It comes from a searched
``Architecture`` (analytic lowering), from a torch module (tracing) or from an ONNX
file, and it does not know its resolution until a ruler asks ``table(input_px)``.

Numeric fields of an Op (``cin``, ``cout``, ``k``, ``g``, ``count``) may also be numpy
arrays of shape ``[N]``: the same graph then stands for N candidates at once, and the
table's columns have shape ``[ops, N]``. ``count`` says how often an op occurs in each
candidate (0 = absent), which is how depth and optional projections vectorise. Rulers
are elementwise over columns, so they never notice the difference.

On disk a graph is one JSON object (``to_json``/``from_json``): nodes in execution order,
``in`` lists producers by index, -1 is the image.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from workbench.errors import BadInput

if TYPE_CHECKING:
    import networkx

Num: TypeAlias = Any
"""An int, or an int array of shape [N] when the graph stands for N candidates."""

CONV_KINDS = frozenset({"conv", "deconv"})
POOL_KINDS = frozenset({"maxpool", "avgpool"})
SAME_SHAPE_KINDS = frozenset(
    ["act", "bn", "scale", "softmax", "layernorm", "exp", "log", "clamp", "floor_divide", "remainder", "add_const", "sub_const", "mul_const", "div_const", "pow_const", "rsub_const"]
)
JOIN_KINDS = frozenset({"add", "sub", "mul", "div"})
VIEW_KINDS = frozenset({"reshape", "identity"})
DECODE_PART = "decode"
"""The part of a Graph that turns raw head maps into boxes."""


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """One node. ``inputs`` are indices of producer nodes, -1 - i for graph input i."""

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

    @property
    def fixed_px(self) -> tuple[int, int] | None:
        """(height, width) the graph is bound to, or None when it scales with its input."""
        shape = self.inputs[0] if self.inputs else ()
        return (int(shape[1]), int(shape[2])) if len(shape) == 3 else None

    def shapes(self, input_px: int | tuple[int, int] | None = None) -> list[tuple[Num, ...]]:
        """Output shape of every op, without batch: ``(c, h, w)`` for feature maps.

        ``input_px`` is the image side, or (height, width), in pixels. Graphs with shape-bound
        ops (attention, reshapes) answer only for the size they were traced at.
        """
        if input_px is None:
            size = self.fixed_px or (640, 640)
        else:
            size = (input_px, input_px) if isinstance(input_px, int) else tuple(input_px)  # type: ignore[assignment]
        sources: list[tuple[Num, ...]] = []
        for shape in self.inputs:
            sources.append(tuple(shape) if len(shape) == 3 and input_px is None else (shape[0], *size))
        known: list[tuple[Num, ...]] = []
        rescaled = self.fixed_px is not None and size != self.fixed_px
        for index, op in enumerate(self.ops):
            given = [known[i] if i >= 0 else sources[-1 - i] for i in op.inputs]
            known.append(_out_shape(op, given, index, rescaled))
        return known

    def consumers(self) -> list[list[int]]:
        """For every op, the indices of the ops that read it."""
        readers: list[list[int]] = [[] for _ in self.ops]
        for index, op in enumerate(self.ops):
            for producer in op.inputs:
                if producer >= 0:
                    readers[producer].append(index)
        return readers

    def without_part(self, part: str) -> Graph:
        """The graph without the ops of one part (``decode``); later ops must not need them."""
        keep = [i for i, op in enumerate(self.ops) if op.part != part]
        where = {old: new for new, old in enumerate(keep)}
        ops = []
        for old in keep:
            op = self.ops[old]
            if any(i >= 0 and i not in where for i in op.inputs):
                raise BadInput(f"graph {self.name!r}: op {old} ({op.kind}) reads part {part!r}, which cannot be dropped")
            ops.append(dataclasses.replace(op, inputs=tuple(where[i] if i >= 0 else i for i in op.inputs)))
        outputs = tuple(where[i] for i in self.outputs if i in where)
        return Graph(ops, self.inputs, outputs, self.name, self.meta)

    def only_part(self, part: str) -> Graph:
        """The ops of one part, which must come first; its outputs are what later parts read of it."""
        keep = [i for i, op in enumerate(self.ops) if op.part == part]
        where = {old: new for new, old in enumerate(keep)}
        read = sorted({i for op in self.ops if op.part != part for i in op.inputs if i in where})
        ops = []
        for old in keep:
            op = self.ops[old]
            if any(i >= 0 and i not in where for i in op.inputs):
                raise BadInput(f"graph {self.name!r}: op {old} ({op.kind}) of part {part!r} reads another part")
            tied = {"tied_to": where[op.attrs["tied_to"]]} if op.attrs.get("tied_to") in where else {}
            ops.append(dataclasses.replace(op, inputs=tuple(where.get(i, i) for i in op.inputs), attrs={**op.attrs, **tied}))
        return Graph(ops, self.inputs, [where[i] for i in read], self.name, self.meta)

    def table(self, input_px: int | tuple[int, int] | None = None) -> OpTable:
        """Columns for the rulers at one input size (pixels)."""
        shapes = self.shapes(input_px)
        size = (input_px, input_px) if isinstance(input_px, int) else input_px
        sources = [tuple(s) if len(s) == 3 and size is None else (s[0], *(size or (640, 640))) for s in self.inputs]
        fused = fused_ops(self)
        rows: dict[str, list[Num]] = {name: [] for name in _NUMERIC}
        for index, op in enumerate(self.ops):
            given = [shapes[i] if i >= 0 else sources[-1 - i] for i in op.inputs]
            row = _measure(op, given, shapes[index])
            row["fused"] = 1.0 if fused[index] else 0.0
            row["count"] = op.count
            for name in _NUMERIC:
                rows[name].append(row[name])
        columns = {name: _stack(values) for name, values in rows.items()}
        width = max((c.ndim for c in columns.values()), default=1)
        if width == 2:
            n = max(c.shape[1] for c in columns.values() if c.ndim == 2)
            columns = {m: np.broadcast_to(c[:, None] if c.ndim == 1 else c, (len(self.ops), n)) for m, c in columns.items()}
        return OpTable(
            kinds=tuple(op.kind for op in self.ops),
            acts=tuple(op.act if op.kind != "act" else str(op.attrs.get("kind", op.act)) for op in self.ops),
            parts=tuple(op.part for op in self.ops),
            names=tuple(op.name or f"{op.kind}{i}" for i, op in enumerate(self.ops)),
            **columns,
        )

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
        nodes = []
        for op in self.ops:
            node: dict[str, Any] = {"op": op.kind, "in": list(op.inputs)}
            if op.kind in CONV_KINDS:
                node |= {"cin": int(op.cin), "cout": int(op.cout), "k": _ints(op.k), "s": _ints(op.s), "p": _ints(op.p)}
                node |= {"g": int(op.g), "bias": op.bias, "act": op.act}
            elif op.kind == "linear":
                node |= {"cin": int(op.cin), "cout": int(op.cout), "bias": op.bias, "act": op.act}
            elif op.kind in POOL_KINDS:
                node |= {"k": _ints(op.k), "s": _ints(op.s), "p": _ints(op.p)}
            elif op.kind in ("bn", "layernorm"):
                node["c"] = int(op.cin)
            node |= dict(op.attrs)
            if op.part:
                node["part"] = op.part
            if op.name:
                node["name"] = op.name
            nodes.append(node)
        inputs = [[int(v) for v in shape] for shape in self.inputs]
        return {"name": self.name, "inputs": inputs, "nodes": nodes, "outputs": list(self.outputs), **self.meta}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Graph:
        """Read one graph object; names the node and the rule when a field is wrong."""
        name = str(data.get("name", ""))
        nodes = data.get("nodes")
        if not isinstance(nodes, list) or not nodes:
            raise BadInput(f"graph {name!r}: 'nodes' must be a non-empty list of ops")
        inputs = data.get("inputs", [[3]])
        ops = [_op_from_json(node, index, name, len(inputs)) for index, node in enumerate(nodes)]
        outputs = [int(i) for i in data.get("outputs", [])]
        if any(not 0 <= i < len(ops) for i in outputs):
            raise BadInput(f"graph {name!r}: 'outputs' {outputs} must be indices of its {len(ops)} nodes")
        meta = {key: data[key] for key in ("family", "variant", "nc", "decode_outputs", "levels", "squeezed") if key in data}
        return Graph(ops, inputs, outputs, name, meta)

    def digest(self) -> str:
        """Stable 12-digit fingerprint of the scalar graph (names left out)."""
        plain = self.to_json()
        for node in plain["nodes"]:
            node.pop("name", None)
        text = json.dumps([plain["inputs"], plain["nodes"], plain["outputs"]], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def fused_ops(graph: Graph) -> list[bool]:
    """Which ops a deploying runtime folds into their producer, so that they cost no kernel.

    The rule, the same for every device: an activation or a two-input add rides on the conv,
    linear, batch norm or (already fused) add that feeds it when nothing else reads that producer;
    reshapes are views; learned scales, constant scales and batch norms after a lone conv fold into it.
    """
    readers = graph.consumers()
    outputs = set(graph.outputs)
    fused = [False] * len(graph.ops)

    def carries(producer: int) -> bool:
        if producer < 0 or len(readers[producer]) != 1 or producer in outputs:
            return False
        op = graph.ops[producer]
        return op.kind in ("conv", "deconv", "linear") or (op.kind in ("add", "bn", "scale") and fused[producer])

    def lone_norm(producer: int) -> bool:
        # A batch norm that could not fold (it follows a join) and its activation are one elementwise kernel.
        return producer >= 0 and graph.ops[producer].kind == "bn" and len(readers[producer]) == 1 and producer not in outputs

    for index, op in enumerate(graph.ops):
        if op.kind in VIEW_KINDS:
            fused[index] = True
        elif op.kind == "act":
            fused[index] = carries(op.inputs[0]) or lone_norm(op.inputs[0])
        elif op.kind in ("bn", "scale", "mul_const", "add_const"):
            fused[index] = carries(op.inputs[0]) and graph.ops[op.inputs[0]].act == "none"
        elif op.kind == "add" and len(op.inputs) == 2:
            # The last computed input can take the other one in its epilogue.
            fused[index] = any(carries(i) and graph.ops[i].act == "none" for i in op.inputs) or any(
                carries(i) and graph.ops[i].kind == "conv" for i in op.inputs
            )
    return fused


def level_strides(graph: Graph, input_px: int | None = None) -> list[int]:
    """Total stride of every op's output relative to the image (side over side); 0 where it is no image-shaped map."""
    shapes = graph.shapes(input_px)
    height, width = graph.fixed_px if input_px is None and graph.fixed_px else (input_px or 640, input_px or 640)
    strides = []
    for shape in shapes:
        is_map = len(shape) == 3 and shape[1] > 0 and height * shape[2] == width * shape[1]
        strides.append(round(height / shape[1]) if is_map and shape[1] <= height else 0)
    return strides


_NUMERIC = (
    ["cin", "cout", "k", "kernel_area", "stride", "groups", "pixels", "in_pixels", "macs", "params", "in_elems", "out_elems", "weight_elems", "fused", "count"]
)


def _stack(values: list[Num]) -> np.ndarray:
    arrays = [np.asarray(v, dtype=np.float64) for v in values]
    if any(a.ndim for a in arrays):
        return np.stack(np.broadcast_arrays(*arrays)) if arrays else np.zeros(0)
    return np.array(arrays, dtype=np.float64)


def _product(shape: Sequence[Num]) -> Num:
    total: Num = 1
    for extent in shape:
        total = total * extent
    return total


def _out_shape(op: Op, given: list[tuple[Num, ...]], index: int, rescaled: bool) -> tuple[Num, ...]:
    """Shape after ``op``; follows the recorded shape where only the tracer could know it."""
    kind, first = op.kind, given[0] if given else ()
    recorded = op.attrs.get("shape")
    if kind in ("conv", "maxpool", "avgpool") and len(first) == 3:
        h = _slide(first[1], op.k[0], op.s[0], op.p[0], bool(op.attrs.get("ceil")))
        w = _slide(first[2], op.k[1], op.s[1], op.p[1], bool(op.attrs.get("ceil")))
        return (op.cout if kind == "conv" else first[0], h, w)
    if kind == "deconv" and len(first) == 3:
        return (op.cout, (first[1] - 1) * op.s[0] - 2 * op.p[0] + op.k[0], (first[2] - 1) * op.s[1] - 2 * op.p[1] + op.k[1])
    if kind == "global_avgpool":
        return (first[0], 1, 1)
    if kind == "upsample" and len(first) == 3 and not isinstance(op.attrs.get("scale", 2), list):
        scale = op.attrs.get("scale", 2)
        return (first[0], int(first[1] * scale), int(first[2] * scale))
    if kind in SAME_SHAPE_KINDS or kind == "identity":
        return first
    if kind == "concat" and recorded is None:
        return (sum(shape[0] for shape in given), *first[1:])
    batched = recorded is None or len(recorded) < 2 or recorded[0] == 1
    if kind == "slice" and batched and len(first) == 3 and op.attrs.get("axis", 1) in (1, 2, 3):
        axis = int(op.attrs.get("axis", 1)) - 1
        start, end, step = int(op.attrs.get("start", 0)), op.attrs.get("end"), int(op.attrs.get("step", 1))
        stop = first[axis] if end is None or (rescaled and axis) else np.minimum(end, first[axis])
        extent = -(-(stop - start) // step)
        return (*first[:axis], extent, *first[axis + 1 :])
    if kind in JOIN_KINDS and recorded is None:
        if any(np.ndim(extent) for shape in given for extent in shape):
            return first  # as the builder promises; where the op is absent the other operand may have any width
        return max(given, key=_product)
    if recorded is None:
        raise BadInput(f"op {index} ({kind}) has no shape rule and no recorded 'shape'")
    if rescaled:
        raise BadInput(f"op {index} ({kind}) is bound to the size the graph was traced at: ask for that size")
    shape = tuple(int(v) for v in recorded)
    return shape[1:] if len(shape) > 1 and batched else shape  # a first axis above 1 is no batch but heads or tokens


def _slide(length: Num, k: Num, s: int, p: Num, ceil: bool) -> Num:
    room = length + 2 * p - k
    return (-(-room // s) if ceil else room // s) + 1


def _measure(op: Op, given: list[tuple[Num, ...]], out: tuple[Num, ...]) -> dict[str, Num]:
    """Numeric columns of one op from its fields and shapes."""
    area = op.k[0] * op.k[1]
    out_elems = _product(out)
    in_elems = sum((_product(shape) for shape in given), start=0)
    pixels = out[1] * out[2] if len(out) == 3 else _product(out[:-1])
    first = given[0] if given else out
    in_pixels = first[1] * first[2] if len(first) == 3 else _product(first[:-1])
    row: dict[str, Num] = {
        "cin": op.cin, "cout": op.cout, "k": op.k[0], "kernel_area": area, "stride": op.s[0], "groups": op.g,
        "pixels": pixels, "in_pixels": in_pixels, "macs": 0, "params": 0, "in_elems": in_elems,
        "out_elems": out_elems, "weight_elems": 0,
    }  # fmt: skip
    if op.kind in CONV_KINDS:
        weights = op.cin // op.g * op.cout * area
        row["weight_elems"] = weights
        row["params"] = weights + (op.cout if op.bias else 0)
        row["macs"] = weights * (pixels if op.kind == "conv" else in_pixels)
    elif op.kind == "linear":
        row["weight_elems"] = op.cin * op.cout
        row["params"] = op.cin * op.cout + (op.cout if op.bias else 0)
        row["macs"] = out_elems * op.cin
    elif op.kind == "matmul":
        row["cin"], row["cout"] = first[-1], out[-1]
        row["macs"] = out_elems * first[-1]
    elif op.kind in ("bn", "layernorm"):
        row["cin"] = row["cout"] = op.cin
        row["params"] = row["weight_elems"] = 2 * op.cin
    else:
        row["cin"], row["cout"] = first[0] if first else 0, out[0] if out else 0
        row["params"] = row["weight_elems"] = int(op.attrs.get("params", 0))
    if "tied_to" in op.attrs:
        row["params"] = 0
    return row


def _ints(pair: Sequence[Num]) -> list[int]:
    return [int(v) for v in pair]


def _op_from_json(node: Any, index: int, graph: str, n_inputs: int) -> Op:
    where = f"graph {graph!r}, node {index}"
    if not isinstance(node, Mapping) or not isinstance(node.get("op"), str):
        raise BadInput(f"{where}: every node needs an 'op' name")
    kind = node["op"]
    inputs = node.get("in", [])
    if not isinstance(inputs, list) or any(not isinstance(i, int) or not -n_inputs <= i < index for i in inputs):
        raise BadInput(f"{where} ({kind}): 'in' {inputs!r} must list earlier nodes by index (-1 = image)")
    fields: dict[str, Any] = {}
    attrs: dict[str, Any] = {}
    for key, value in node.items():
        if key in ("op", "in"):
            continue
        if key in ("cin", "cout", "g") and kind in (*CONV_KINDS, "linear"):
            if not isinstance(value, int) or value < 1:
                raise BadInput(f"{where} ({kind}): {key}={value!r} must be a positive whole number")
            fields[key] = value
        elif key in ("k", "s", "p") and kind in (*CONV_KINDS, *POOL_KINDS):
            pair = [value, value] if isinstance(value, int) else value
            if not isinstance(pair, list) or len(pair) != 2 or any(not isinstance(v, int) or v < 0 for v in pair):
                raise BadInput(f"{where} ({kind}): {key}={value!r} must be a whole number or a pair of them")
            fields[key] = tuple(pair)
        elif key == "act" and kind != "act":
            fields["act"] = str(value)
        elif key == "bias":
            fields["bias"] = bool(value)
        elif key == "c" and kind in ("bn", "layernorm"):
            fields["cin"] = fields["cout"] = int(value)
        elif key in ("name", "part"):
            fields[key] = str(value)
        else:
            attrs[key] = value
    if kind in CONV_KINDS:
        for key in ("cin", "cout", "k"):
            if key not in fields:
                raise BadInput(f"{where} ({kind}): field {key!r} is missing")
        if fields["cin"] % fields.get("g", 1):
            raise BadInput(f"{where} ({kind}): cin={fields['cin']} is not a multiple of g={fields.get('g', 1)}")
    return Op(kind, tuple(inputs), attrs=attrs, **fields)


class GraphBuilder:
    """Writes a Graph op by op. Channel counts, kernels and counts may be arrays (see module head).

    A tensor is an index into the ops under construction; the builder knows its channels.
    """

    def __init__(self, in_channels: Num = 3, part: str = "backbone") -> None:
        self.ops: list[Op] = []
        self._channels: list[Num] = []
        self.inputs: list[tuple[Num, ...]] = [(in_channels,)]
        self.part = part
        self.scope: list[str] = []
        self._weight: Num = 1

    def channels(self, tensor: int) -> Num:
        """Channels of a tensor made so far."""
        return self.inputs[-1 - tensor][0] if tensor < 0 else self._channels[tensor]

    def input(self, channels: Num) -> int:
        """Another graph input of so many channels."""
        self.inputs.append((channels,))
        return -len(self.inputs)

    def conv(
        self, x: int, cout: Num, k: Num = 1, s: int = 1, g: Num = 1, act: str = "none", bias: bool = True,
        name: str = "conv", when: Any = True,
    ) -> int:  # fmt: skip
        """Same-padded convolution, batch norm folded in. ``when`` False (per candidate) leaves it out."""
        if when is False:
            return x
        cin = self.channels(x)
        op = Op("conv", (x,), cin, cout, (k, k), (s, s), (k // 2, k // 2), g, act, bias)
        return self._push(op, cout, name, when)

    def join(self, kind: str, *tensors: int, name: str = "", when: Any = True) -> int:
        """``add`` (channels of the first) or ``concat`` (sum of channels); the first tensor where ``when`` is False."""
        if when is False:
            return tensors[0]
        channels = self.channels(tensors[0])
        if kind == "concat":
            channels = sum(self.channels(t) for t in tensors)
        return self._push(Op(kind, tuple(tensors)), channels, name or kind, when)

    def single(self, kind: str, x: int, name: str = "", channels: Num | None = None, /, **fields: Any) -> int:
        """Any one-input op; ``k s p`` go to fields, the rest to attrs."""
        shape_fields = {key: fields.pop(key) for key in ("k", "s", "p") if key in fields}
        out = self.channels(x) if channels is None else channels
        return self._push(Op(kind, (x,), attrs=fields, **shape_fields), out, name or kind)

    def times(self, n: Num) -> Iterator[int]:
        """Repeat a body: ``for i in g.times(n)``. For an array of depths the body runs once, weighted."""
        if np.ndim(n) == 0:
            yield from range(int(n))
            return
        held = self._weight
        self._weight = held * n
        yield 0
        self._weight = held

    def finish(self, outputs: Sequence[int] = (), name: str = "", meta: Mapping[str, Any] | None = None) -> Graph:
        """The graph written so far."""
        return Graph(self.ops, self.inputs, outputs, name, meta)

    def _push(self, op: Op, channels: Num, name: str, when: Any = True) -> int:
        count = self._weight if when is True else self._weight * when
        label = ".".join([*self.scope, name])
        self.ops.append(dataclasses.replace(op, name=label, part=self.part, count=count))
        self._channels.append(channels)
        return len(self.ops) - 1


def same_graph(a: Graph, b: Graph, input_px: int = 640) -> str:
    """Empty when both graphs have the same totals, else one sentence on where they differ."""
    ta, tb = a.table(input_px), b.table(input_px)
    for column in ("params", "macs"):
        left, right = float(ta.total(getattr(ta, column))), float(tb.total(getattr(tb, column)))
        if not math.isclose(left, right, rel_tol=0, abs_tol=0.5):
            return f"{column} differ: {left:.0f} against {right:.0f}"
    return ""
