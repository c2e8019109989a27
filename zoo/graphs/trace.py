"""The second door: a torch module becomes a Graph.

The module runs once, on the meta device, while every torch function that touches the image's descendants is written
down. A function without an entry in ``RULES`` is an error that names it: nothing is dropped in silence. Afterwards an
activation joins the convolution or linear layer that alone feeds it, as the analytic lowering writes it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from search_spaces.graph import Graph
from search_spaces.ops import ACTIVATIONS, DECODE_PART, WEIGHT_KINDS, Op
from workbench.errors import BadInput

PARTS = ("backbone", "neck", "head")
"""Top-level modules whose ops are marked as a part."""


class Call:
    """Arguments of one torch function: ``call(1, "dim", 0)`` is the second one, also by its name, else 0."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs

    def __call__(self, position: int, name: str = "", default: Any = None) -> Any:
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(name or "input", default)


def trace(
    module: nn.Module, input_px: int | tuple[int, int] = 640, name: str = "",
    outputs: Callable[[Any], Sequence[Tensor]] | None = None, decode: Callable[[Any], Sequence[Tensor]] | None = None,
) -> Graph:  # fmt: skip
    """The Graph of a module on the meta device that takes an image ``[1, 3, h, w]``, at ``input_px`` (side, or h and w).

    ``outputs`` picks the Graph's outputs from what the module gives (default: every tensor in it). ``decode`` goes on
    from there; what it does is part ``decode``, and its tensors are ``meta["decode_outputs"]``.
    """
    height, width = (input_px, input_px) if isinstance(input_px, int) else input_px
    image = torch.empty(1, 3, height, width, device="meta")
    tracer = Tracer(module, image)
    with torch.no_grad(), torch.device("meta"), tracer.naming(), tracer:
        given = module(image)
        ends = [tracer.index(tensor) for tensor in (_tensors(given) if outputs is None else outputs(given))]
        decoded: list[int] = []
        if decode is not None:
            tracer.part = DECODE_PART
            decoded = [tracer.index(tensor) for tensor in decode(given)]
    return tracer.graph(ends, name or type(module).__name__, {"decode_outputs": decoded} if decoded else {})


class Tracer(TorchFunctionMode):
    """Writes down what happens to one image. Tensors are known by identity and kept alive meanwhile."""

    def __init__(self, module: nn.Module, image: Tensor) -> None:
        super().__init__()
        self.module, self.image = module, image
        self.ops: list[Op] = []
        self.known: dict[int, tuple[int, Tensor]] = {id(image): (-1, image)}
        self.owners: dict[int, int] = {}
        self.stack: list[str] = []
        self.part = ""

    @property
    def scope(self) -> str:
        """Path of the module at work."""
        return self.stack[-1] if self.stack else ""

    def index(self, tensor: Tensor) -> int:
        """Number of the op that made ``tensor``."""
        if id(tensor) not in self.known:
            raise BadInput(f"an output of {type(self.module).__name__} does not depend on the image: it cannot be traced")
        return self.known[id(tensor)][0]

    def knows(self, value: Any) -> bool:
        """Whether ``value`` is a tensor that depends on the image."""
        return isinstance(value, Tensor) and id(value) in self.known

    def add(self, kind: str, inputs: Sequence[Tensor], made: Tensor, /, **fields: Any) -> None:
        """One op; fields of ``Op`` by name, all others become its attrs."""
        own = {k: fields.pop(k) for k in ("cin", "cout", "k", "s", "p", "g", "act", "bias") if k in fields}
        sources = tuple(self.index(tensor) for tensor in inputs)
        self.ops.append(Op(kind, sources, name=self.scope, part=self.part, attrs=fields, **own))
        self.known[id(made)] = (len(self.ops) - 1, made)

    def tie(self, weight: Tensor) -> dict[str, int]:
        """``tied_to`` where an earlier op already owns this weight."""
        owner = self.owners.setdefault(id(weight), len(self.ops))
        return {} if owner == len(self.ops) else {"tied_to": owner}

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Keep the path of the module at work, and which part of the detector it belongs to."""
        handles = []
        for path, part in self.module.named_modules():
            if path:
                handles.append(part.register_forward_pre_hook(self._enter(path)))
                handles.append(part.register_forward_hook(self._leave, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, path: str) -> Callable[[nn.Module, Any], None]:
        def hook(module: nn.Module, given: Any) -> None:
            if not self.stack and self.part != DECODE_PART:
                top = path.split(".")[0]
                self.part = top if top in PARTS else ""
            self.stack.append(path)

        return hook

    def _leave(self, module: nn.Module, given: Any, made: Any) -> None:
        self.stack.pop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        if not any(self.knows(value) for value in _tensors([args, kwargs])) or not any(True for _ in _tensors(made)):
            return made
        name = getattr(func, "__name__", str(func))
        if name not in RULES:
            raise BadInput(f"{self.scope or 'the module'} calls torch function {name!r}, which has no place in a Graph yet")
        RULES[name](self, Call(*args, **kwargs), made)
        return made

    def graph(self, outputs: Sequence[int], name: str, meta: dict[str, Any] | None = None) -> Graph:
        """What was written down, with activations joined and unread ops dropped."""
        bound = any("shape" in op.attrs for op in self.ops)
        inputs = (tuple(self.image.shape[1:]) if bound else (3,),)
        return _tidy(Graph(self.ops, inputs, outputs, name, meta))


TRACED_ACTIVATIONS = tuple(name for name in ACTIVATIONS if name not in ("none", "prelu"))
"""Torch functions that are activations, also in place (``relu_``). PReLU is none of them: it has weights."""

Rule = Callable[[Tracer, Call, Any], None]


def _conv(t: Tracer, call: Call, made: Tensor) -> None:
    x, weight = call(0), call(1)
    bias = call(2, "bias")
    stride, padding = call(3, "stride", 1), call(4, "padding", 0)
    dilation, groups = call(5, "dilation", 1), call(6, "groups", 1)
    if any(v != 1 for v in _pair(dilation)):
        raise BadInput(f"{t.scope or 'the module'}: a dilated convolution has no place in a Graph yet")
    t.add(
        "conv", [x], made, cin=x.shape[1], cout=weight.shape[0], k=tuple(weight.shape[2:]), s=_pair(stride),
        p=_pair(padding), g=groups, bias=bias is not None, **t.tie(weight),
    )  # fmt: skip


def _linear(t: Tracer, call: Call, made: Tensor) -> None:
    x, weight = call(0), call(1, "weight")
    bias = call(2, "bias")
    t.add("linear", [x], made, cin=weight.shape[1], cout=weight.shape[0], bias=bias is not None, shape=_shape(made), **t.tie(weight))


def _act(kind: str) -> Rule:
    return lambda t, call, made: t.add("act", [call(0)], made, kind=kind)


def _pool(kind: str) -> Rule:
    def rule(t: Tracer, call: Call, made: Tensor) -> None:
        k = _pair(call(1, "kernel_size"))
        s = _pair(call(2, "stride") or k)
        p = _pair(call(3, "padding", 0))
        extra = {"ceil": True} if call(5, "ceil_mode") else {}
        t.add(kind, [call(0)], made, k=k, s=s, p=p, **extra)

    return rule


def _arithmetic(kind: str) -> Rule:
    """Two tensors of the image, or one and a constant (a number, a fixed tensor, a learned one)."""

    def rule(t: Tracer, call: Call, made: Tensor) -> None:
        a, b = call(0), call(1, "other")
        if t.knows(a) and t.knows(b):
            same = a.shape == b.shape and a.dim() == 4
            t.add(kind, [a, b], made, **({} if same else {"shape": _shape(made)}))
            return
        x, constant = (a, b) if t.knows(a) else (b, a)
        first = {"const_first": True} if x is not a else {}
        if isinstance(constant, nn.Parameter) and constant.numel() == 1 and kind == "mul":
            t.add("scale", [x], made, params=1)
        elif isinstance(constant, Tensor):
            learned = {"params": constant.numel()} if isinstance(constant, nn.Parameter) else {}
            bound = {} if made.shape == x.shape else {"shape": _shape(made)}
            t.add(f"{kind}_const", [x], made, const_shape=list(constant.shape), **learned, **first, **bound)
        elif kind == "sub" and first:
            t.add("rsub_const", [x], made, value=float(constant), const_shape=[])
        else:
            t.add(f"{kind}_const", [x], made, value=float(constant), const_shape=[], **first)

    return rule


def _reversed(kind: str) -> Rule:
    inner = _arithmetic(kind)
    return lambda t, call, made: inner(t, Call(call(1, "other"), call(0)), made)


def _concat(t: Tracer, call: Call, made: Tensor) -> None:
    given, axis = call(0, "tensors"), call(1, "dim", 0) % made.dim()
    fixed = [list(x.shape) for x in given if not t.knows(x)]
    plain = axis == 1 and made.dim() == 4 and not fixed
    extra: dict[str, Any] = {} if plain else {"axis": axis, "shape": _shape(made)}
    t.add("concat", [x for x in given if t.knows(x)], made, **extra, **({"const_inputs": fixed} if fixed else {}))


def _stack(t: Tracer, call: Call, made: Tensor) -> None:
    t.add("stack", list(call(0)), made, axis=call(1, "dim", 0) % made.dim(), shape=_shape(made))


def _upsample(t: Tracer, call: Call, made: Tensor) -> None:
    mode = call(3, "mode", "nearest")
    if mode != "nearest":
        raise BadInput(f"{t.scope or 'the module'}: upsampling by {mode!r} has no place in a Graph yet")
    scale = made.shape[-1] / call(0).shape[-1]
    t.add("upsample", [call(0)], made, scale=int(scale) if scale == int(scale) else scale)


def _adaptive_pool(t: Tracer, call: Call, made: Tensor) -> None:
    if tuple(made.shape[2:]) != (1, 1):
        raise BadInput(f"{t.scope or 'the module'}: adaptive pooling to {list(made.shape[2:])} has no place in a Graph yet")
    t.add("global_avgpool", [call(0)], made)


def _reshape(t: Tracer, call: Call, made: Tensor) -> None:
    t.add("reshape", [call(0)], made, shape=_shape(made))


def _transpose(t: Tracer, call: Call, made: Tensor) -> None:
    order = list(range(made.dim()))
    a, b = call(1, "dim0"), call(2, "dim1")
    order[a], order[b] = order[b], order[a]
    t.add("transpose", [call(0)], made, perm=order, shape=_shape(made))


def _permute(t: Tracer, call: Call, made: Tensor) -> None:
    first = call(1, "dims")
    dims = first if isinstance(first, (list, tuple)) else call.args[1:]
    t.add("transpose", [call(0)], made, perm=[d % made.dim() for d in dims], shape=_shape(made))


def _shaped(kind: str) -> Rule:
    """An op that a Graph knows by its recorded shape alone."""
    return lambda t, call, made: t.add(kind, [call(0)], made, shape=_shape(made))


def _softmax(t: Tracer, call: Call, made: Tensor) -> None:
    t.add("softmax", [call(0)], made, axis=call(1, "dim") % made.dim())


def _select(t: Tracer, call: Call, made: Tensor) -> None:
    t.add("select", [call(0)], made, axis=call(1, "dim") % call(0).dim(), index=call(2, "index"), shape=_shape(made))


def _reduce(kind: str) -> Rule:
    def rule(t: Tracer, call: Call, made: Any) -> None:
        axis = call(1, "dim")
        every = list(range(call(0).dim()))
        axes = every if axis is None else [a % len(every) for a in (axis if isinstance(axis, (list, tuple)) else [axis])]
        for tensor in _tensors(made):
            t.add(kind, [call(0)], tensor, axis=axes, shape=_shape(tensor))

    return rule


def _split(t: Tracer, call: Call, made: Sequence[Tensor]) -> None:
    axis = call(2, "dim", 0) % call(0).dim()
    start = 0
    for piece in made:
        t.add("slice", [call(0)], piece, **_cut(axis, start, start + piece.shape[axis], 1, piece))
        start += piece.shape[axis]


def _unbind(t: Tracer, call: Call, made: Sequence[Tensor]) -> None:
    axis = call(1, "dim", 0) % call(0).dim()
    for index, piece in enumerate(made):
        t.add("select", [call(0)], piece, axis=axis, index=index, shape=_shape(piece))


def _getitem(t: Tracer, call: Call, made: Tensor) -> None:
    """Basic slicing as one op an axis; an int selects, a tensor gathers, None only reshapes."""
    x, key = call(0), call(1)
    keys = list(key) if isinstance(key, tuple) else [key]
    if any(isinstance(k, Tensor) for k in keys):
        t.add("gather", [x, *(k for k in keys if t.knows(k))], made, axis=0, shape=_shape(made))
        return
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        taken = sum(k is not None for k in keys) - 1
        keys[at : at + 1] = [slice(None)] * (x.dim() - taken)
    axis = 0
    for k in keys:
        if k is None:
            axis += 1
            made_here = x.unsqueeze(axis - 1)
            t.add("reshape", [x], made_here, shape=_shape(made_here))
        elif isinstance(k, int):
            made_here = x.select(axis, k)
            t.add("select", [x], made_here, axis=axis, index=k, shape=_shape(made_here))
        else:
            start, stop, step = k.indices(x.shape[axis])
            axis += 1
            if (start, stop, step) == (0, x.shape[axis - 1], 1):
                continue
            made_here = x[(slice(None),) * (axis - 1) + (k,)]
            t.add("slice", [x], made_here, **_cut(axis - 1, start, None if k.stop is None else stop, step, made_here))
        x = made_here
    t.known[id(made)] = (t.index(x), made)


def _cut(axis: int, start: int, end: int | None, step: int, made: Tensor) -> dict[str, Any]:
    attrs: dict[str, Any] = {"axis": axis, "start": start, "end": end, **({} if step == 1 else {"step": step})}
    # Of a map with its batch the shape rule knows the rest; a first axis above 1 is heads or tokens.
    return attrs if made.dim() == 4 and axis and made.shape[0] == 1 else {**attrs, "shape": _shape(made)}


def _topk(t: Tracer, call: Call, made: Any) -> None:
    n = call(1, "k")
    t.add("topk", [call(0)], made[0], n=n, shape=_shape(made[0]))
    t.add("topk_indices", [call(0)], made[1], n=n, shape=_shape(made[1]))


def _gather(t: Tracer, call: Call, made: Tensor) -> None:
    axis, index = call(1, "dim"), call(2, "index")
    t.add("gather", [v for v in (call(0), index) if t.knows(v)], made, axis=axis % call(0).dim(), shape=_shape(made))


def _grid_sample(t: Tracer, call: Call, made: Tensor) -> None:
    t.add("grid_sample", [v for v in (call(0), call(1, "grid")) if t.knows(v)], made, shape=_shape(made))


def _matmul(t: Tracer, call: Call, made: Tensor) -> None:
    a, b = call(0), call(1)
    if not (t.knows(a) and t.knows(b)):
        raise BadInput(f"{t.scope or 'the module'}: a matrix product with a fixed matrix has no place in a Graph: use a linear layer")
    t.add("matmul", [a, b], made, shape=_shape(made))


def _layer_norm(t: Tracer, call: Call, made: Tensor) -> None:
    channels = call(0).shape[-1]
    t.add("layernorm", [call(0)], made, cin=channels, cout=channels)


def _batch_norm(t: Tracer, call: Call, made: Tensor) -> None:
    t.add("bn", [call(0)], made, cin=call(0).shape[1], cout=call(0).shape[1])


def _clamp(t: Tracer, call: Call, made: Tensor) -> None:
    t.add("clamp", [call(0)], made, limits=[call(1, "min"), call(2, "max")])


def _plain(kind: str) -> Rule:
    return lambda t, call, made: t.add(kind, [call(0)], made)


def _same(t: Tracer, call: Call, made: Tensor) -> None:
    """The same numbers under another handle."""
    t.known[id(made)] = (t.index(call(0)), made)


def _where(t: Tracer, call: Call, made: Tensor) -> None:
    given = [v for v in (call(0), call(1), call(2)) if t.knows(v)]
    t.add("where", given, made, shape=_shape(made))


RULES: dict[str, Rule] = {
    "conv2d": _conv, "linear": _linear, "matmul": _matmul, "__matmul__": _matmul, "bmm": _matmul,
    **{name: _act(name) for name in TRACED_ACTIVATIONS}, **{f"{name}_": _act(name) for name in TRACED_ACTIVATIONS},
    "max_pool2d": _pool("maxpool"), "_max_pool2d": _pool("maxpool"), "avg_pool2d": _pool("avgpool"), "adaptive_avg_pool2d": _adaptive_pool,
    "batch_norm": _batch_norm, "layer_norm": _layer_norm, "interpolate": _upsample,
    "add": _arithmetic("add"), "__add__": _arithmetic("add"), "__iadd__": _arithmetic("add"), "add_": _arithmetic("add"), "__radd__": _arithmetic("add"),
    "sub": _arithmetic("sub"), "__sub__": _arithmetic("sub"), "__rsub__": _reversed("sub"), "rsub": _reversed("sub"),
    "mul": _arithmetic("mul"), "__mul__": _arithmetic("mul"), "__rmul__": _arithmetic("mul"), "multiply": _arithmetic("mul"), "mul_": _arithmetic("mul"),
    "div": _arithmetic("div"), "__truediv__": _arithmetic("div"), "true_divide": _arithmetic("div"), "__rtruediv__": _reversed("div"),
    "pow": _arithmetic("pow"), "__pow__": _arithmetic("pow"),
    "floordiv": _plain("floor_divide"), "__floordiv__": _plain("floor_divide"), "floor_divide": _plain("floor_divide"),
    "remainder": _plain("remainder"), "__mod__": _plain("remainder"),
    "cat": _concat, "concat": _concat, "stack": _stack,
    "reshape": _reshape, "view": _reshape, "flatten": _reshape, "unsqueeze": _reshape, "squeeze": _reshape, "unflatten": _reshape,
    "transpose": _transpose, "swapaxes": _transpose, "permute": _permute,
    "expand": _shaped("expand"), "repeat": _shaped("expand"), "tile": _shaped("expand"), "expand_as": _shaped("expand"),
    "softmax": _softmax, "select": _select, "unbind": _unbind,
    "split": _split, "chunk": _split, "tensor_split": _split, "split_with_sizes": _split, "__getitem__": _getitem,
    "topk": _topk, "gather": _gather, "take_along_dim": _gather, "grid_sample": _grid_sample,
    "amax": _reduce("reduce_max"), "max": _reduce("reduce_max"), "sum": _reduce("reduce_sum"), "mean": _reduce("reduce_mean"),
    "exp": _plain("exp"), "log": _plain("log"), "clamp": _clamp, "clip": _clamp, "where": _where, "masked_fill": _where,
    "float": _same, "to": _same, "type_as": _same, "detach": _same, "contiguous": _same, "clone": _same, "dropout": _same, "round": _plain("round"), "long": _same, "int": _same,
}  # fmt: skip
"""Torch function name to how it is written down."""


def _tidy(graph: Graph) -> Graph:
    """Activations joined to the conv or linear layer that alone feeds them; ops that nobody reads dropped."""
    readers = graph.consumers()
    ends = {*graph.outputs, *graph.meta.get("decode_outputs", ())}
    ops = list(graph.ops)
    where = list(range(len(ops)))
    for index, op in enumerate(graph.ops):
        if op.kind != "act":
            continue
        producer = op.inputs[0]
        if producer < 0 or producer in ends or len(readers[producer]) != 1:
            continue
        source = ops[producer]
        if source.kind in WEIGHT_KINDS and source.act == "none" and source.part == op.part:
            ops[producer] = dataclasses.replace(source, act=op.attrs["kind"])
            where[index] = producer
    used = {where[i] for i in ends}
    for index in reversed(range(len(ops))):
        if where[index] == index and index in used:
            used |= {where[i] for i in ops[index].inputs if i >= 0}
    keep = sorted(used)
    place = {old: new for new, old in enumerate(keep)}

    def moved(i: int) -> int:
        return i if i < 0 else place[where[i]]

    kept = []
    for old in keep:
        op = ops[old]
        attrs = {**op.attrs, "tied_to": place[op.attrs["tied_to"]]} if "tied_to" in op.attrs else op.attrs
        kept.append(dataclasses.replace(op, inputs=tuple(moved(i) for i in op.inputs), attrs=attrs))
    meta = {key: [moved(i) for i in value] if key == "decode_outputs" else value for key, value in graph.meta.items()}
    return Graph(kept, graph.inputs, [moved(i) for i in graph.outputs], graph.name, meta)


def _tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor inside nested lists, tuples and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


def _pair(value: Any) -> tuple[int, int]:
    return (int(value[0]), int(value[-1])) if isinstance(value, (list, tuple)) else (int(value), int(value))


def _shape(tensor: Tensor) -> list[int]:
    return [int(v) for v in tensor.shape]
