"""How each torch function is recorded as Ops of a Graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from search_spaces.ops import ACTIVATIONS
from workbench.errors import BadInput
from zoo.graphs.tracer import Call, Rule, Tracer, tensors_in

TRACED_ACTIVATIONS = tuple(name for name in ACTIVATIONS if name not in ("none", "prelu"))
"""Torch functions that are activations, also in place (``relu_``). PReLU is none of them: it has weights."""


def _conv(t: Tracer, call: Call, out: Tensor) -> None:
    x, weight = call(0), call(1)
    bias = call(2, "bias")
    stride, padding = call(3, "stride", 1), call(4, "padding", 0)
    dilation, groups = call(5, "dilation", 1), call(6, "groups", 1)
    if any(v != 1 for v in _pair(dilation)):
        raise BadInput(f"{t.scope or 'the module'}: a dilated convolution has no place in a Graph yet")
    t.add(
        "conv", [x], out, cin=x.shape[1], cout=weight.shape[0], k=tuple(weight.shape[2:]), s=_pair(stride),
        p=_pair(padding), g=groups, bias=bias is not None, **t.tie(weight),
    )  # fmt: skip


def _linear(t: Tracer, call: Call, out: Tensor) -> None:
    x, weight = call(0), call(1, "weight")
    bias = call(2, "bias")
    cout, cin = weight.shape
    t.add("linear", [x], out, cin=cin, cout=cout, bias=bias is not None, shape=_shape(out), **t.tie(weight))


def _act(kind: str) -> Rule:
    return lambda t, call, out: t.add("act", [call(0)], out, kind=kind)


def _pool(kind: str) -> Rule:
    def rule(t: Tracer, call: Call, out: Tensor) -> None:
        k = _pair(call(1, "kernel_size"))
        s = _pair(call(2, "stride") or k)
        p = _pair(call(3, "padding", 0))
        extra = {"ceil": True} if call(5, "ceil_mode") else {}
        t.add(kind, [call(0)], out, k=k, s=s, p=p, **extra)

    return rule


def _arithmetic(kind: str) -> Rule:
    """Two traced tensors, or one and a constant (a number, a fixed tensor, a parameter)."""

    def rule(t: Tracer, call: Call, out: Tensor) -> None:
        a, b = call(0), call(1, "other")
        if t.knows(a) and t.knows(b):
            same = a.shape == b.shape and a.dim() == 4
            t.add(kind, [a, b], out, **({} if same else {"shape": _shape(out)}))
            return
        x, constant = (a, b) if t.knows(a) else (b, a)
        first = {"const_first": True} if x is not a else {}
        if isinstance(constant, nn.Parameter) and constant.numel() == 1 and kind == "mul":
            t.add("scale", [x], out, params=1)
        elif isinstance(constant, Tensor):
            learned = {"params": constant.numel()} if isinstance(constant, nn.Parameter) else {}
            bound = {} if out.shape == x.shape else {"shape": _shape(out)}
            t.add(f"{kind}_const", [x], out, const_shape=list(constant.shape), **learned, **first, **bound)
        elif kind == "sub" and first:
            t.add("rsub_const", [x], out, value=float(constant), const_shape=[])
        else:
            t.add(f"{kind}_const", [x], out, value=float(constant), const_shape=[], **first)

    return rule


def _reversed(kind: str) -> Rule:
    inner = _arithmetic(kind)
    return lambda t, call, out: inner(t, Call(call(1, "other"), call(0)), out)


def _concat(t: Tracer, call: Call, out: Tensor) -> None:
    tensors, axis = call(0, "tensors"), call(1, "dim", 0) % out.dim()
    fixed = [list(x.shape) for x in tensors if not t.knows(x)]
    plain = axis == 1 and out.dim() == 4 and not fixed
    extra: dict[str, Any] = {} if plain else {"axis": axis, "shape": _shape(out)}
    t.add("concat", [x for x in tensors if t.knows(x)], out, **extra, **({"const_inputs": fixed} if fixed else {}))


def _stack(t: Tracer, call: Call, out: Tensor) -> None:
    t.add("stack", list(call(0)), out, axis=call(1, "dim", 0) % out.dim(), shape=_shape(out))


def _upsample(t: Tracer, call: Call, out: Tensor) -> None:
    mode = call(3, "mode", "nearest")
    if mode != "nearest":
        raise BadInput(f"{t.scope or 'the module'}: upsampling by {mode!r} has no place in a Graph yet")
    scale = out.shape[-1] / call(0).shape[-1]
    t.add("upsample", [call(0)], out, scale=int(scale) if scale == int(scale) else scale)


def _adaptive_pool(t: Tracer, call: Call, out: Tensor) -> None:
    if tuple(out.shape[2:]) != (1, 1):
        size = list(out.shape[2:])
        raise BadInput(f"{t.scope or 'the module'}: adaptive pooling to {size} has no place in a Graph yet")
    t.add("global_avgpool", [call(0)], out)


def _reshape(t: Tracer, call: Call, out: Tensor) -> None:
    t.add("reshape", [call(0)], out, shape=_shape(out))


def _transpose(t: Tracer, call: Call, out: Tensor) -> None:
    order = list(range(out.dim()))
    a, b = call(1, "dim0"), call(2, "dim1")
    order[a], order[b] = order[b], order[a]
    t.add("transpose", [call(0)], out, perm=order, shape=_shape(out))


def _permute(t: Tracer, call: Call, out: Tensor) -> None:
    first = call(1, "dims")
    dims = first if isinstance(first, (list, tuple)) else call.args[1:]
    t.add("transpose", [call(0)], out, perm=[d % out.dim() for d in dims], shape=_shape(out))


def _shaped(kind: str) -> Rule:
    """An op of which a Graph stores only the output shape."""
    return lambda t, call, out: t.add(kind, [call(0)], out, shape=_shape(out))


def _softmax(t: Tracer, call: Call, out: Tensor) -> None:
    t.add("softmax", [call(0)], out, axis=call(1, "dim") % out.dim())


def _select(t: Tracer, call: Call, out: Tensor) -> None:
    t.add("select", [call(0)], out, axis=call(1, "dim") % call(0).dim(), index=call(2, "index"), shape=_shape(out))


def _reduce(kind: str) -> Rule:
    def rule(t: Tracer, call: Call, out: Any) -> None:
        axis = call(1, "dim")
        rank = call(0).dim()
        axes = axis if isinstance(axis, (list, tuple)) else [axis]
        axes = list(range(rank)) if axis is None else [a % rank for a in axes]
        for tensor in tensors_in(out):
            t.add(kind, [call(0)], tensor, axis=axes, shape=_shape(tensor))

    return rule


def _split(t: Tracer, call: Call, out: Sequence[Tensor]) -> None:
    axis = call(2, "dim", 0) % call(0).dim()
    start = 0
    for piece in out:
        t.add("slice", [call(0)], piece, **_cut(axis, start, start + piece.shape[axis], 1, piece))
        start += piece.shape[axis]


def _unbind(t: Tracer, call: Call, out: Sequence[Tensor]) -> None:
    axis = call(1, "dim", 0) % call(0).dim()
    for index, piece in enumerate(out):
        t.add("select", [call(0)], piece, axis=axis, index=index, shape=_shape(piece))


def _getitem(t: Tracer, call: Call, out: Tensor) -> None:
    """Basic slicing as one op an axis; an int selects, a tensor gathers, None only reshapes."""
    x, key = call(0), call(1)
    keys = list(key) if isinstance(key, tuple) else [key]
    if any(isinstance(k, Tensor) for k in keys):
        t.add("gather", [x, *(k for k in keys if t.knows(k))], out, axis=0, shape=_shape(out))
        return
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        taken = sum(k is not None for k in keys) - 1
        keys[at : at + 1] = [slice(None)] * (x.dim() - taken)
    axis = 0
    for k in keys:
        if k is None:
            axis += 1
            part = x.unsqueeze(axis - 1)
            t.add("reshape", [x], part, shape=_shape(part))
        elif isinstance(k, int):
            part = x.select(axis, k)
            t.add("select", [x], part, axis=axis, index=k, shape=_shape(part))
        else:
            start, stop, step = k.indices(x.shape[axis])
            axis += 1
            if (start, stop, step) == (0, x.shape[axis - 1], 1):
                continue
            part = x[(slice(None),) * (axis - 1) + (k,)]
            t.add("slice", [x], part, **_cut(axis - 1, start, None if k.stop is None else stop, step, part))
        x = part
    t.known[id(out)] = (t.index(x), out)


def _cut(axis: int, start: int, end: int | None, step: int, out: Tensor) -> dict[str, Any]:
    attrs: dict[str, Any] = {"axis": axis, "start": start, "end": end, **({} if step == 1 else {"step": step})}
    # Of a map with its batch the shape rule knows the rest; a first axis above 1 is heads or tokens.
    return attrs if out.dim() == 4 and axis and out.shape[0] == 1 else {**attrs, "shape": _shape(out)}


def _topk(t: Tracer, call: Call, out: Any) -> None:
    n = call(1, "k")
    t.add("topk", [call(0)], out[0], n=n, shape=_shape(out[0]))
    t.add("topk_indices", [call(0)], out[1], n=n, shape=_shape(out[1]))


def _gather(t: Tracer, call: Call, out: Tensor) -> None:
    axis, index = call(1, "dim"), call(2, "index")
    t.add("gather", [v for v in (call(0), index) if t.knows(v)], out, axis=axis % call(0).dim(), shape=_shape(out))


def _grid_sample(t: Tracer, call: Call, out: Tensor) -> None:
    t.add("grid_sample", [v for v in (call(0), call(1, "grid")) if t.knows(v)], out, shape=_shape(out))


def _matmul(t: Tracer, call: Call, out: Tensor) -> None:
    a, b = call(0), call(1)
    if not (t.knows(a) and t.knows(b)):
        where = t.scope or "the module"
        raise BadInput(f"{where}: a matrix product with a fixed matrix has no place in a Graph: use a linear layer")
    t.add("matmul", [a, b], out, shape=_shape(out))


def _layer_norm(t: Tracer, call: Call, out: Tensor) -> None:
    channels = call(0).shape[-1]
    t.add("layernorm", [call(0)], out, cin=channels, cout=channels)


def _batch_norm(t: Tracer, call: Call, out: Tensor) -> None:
    t.add("bn", [call(0)], out, cin=call(0).shape[1], cout=call(0).shape[1])


def _clamp(t: Tracer, call: Call, out: Tensor) -> None:
    t.add("clamp", [call(0)], out, limits=[call(1, "min"), call(2, "max")])


def _plain(kind: str) -> Rule:
    return lambda t, call, out: t.add(kind, [call(0)], out)


def _same(t: Tracer, call: Call, out: Tensor) -> None:
    """The output stands for the input: no op."""
    t.known[id(out)] = (t.index(call(0)), out)


def _where(t: Tracer, call: Call, out: Tensor) -> None:
    inputs = [v for v in (call(0), call(1), call(2)) if t.knows(v)]
    t.add("where", inputs, out, shape=_shape(out))


RULES: dict[str, Rule] = {
    **{name: _act(name) for name in TRACED_ACTIVATIONS}, **{f"{name}_": _act(name) for name in TRACED_ACTIVATIONS},
    **{name: _arithmetic("add") for name in ("add", "__add__", "__iadd__", "add_", "__radd__")},
    **{name: _arithmetic("sub") for name in ("sub", "__sub__")},
    **{name: _reversed("sub") for name in ("__rsub__", "rsub")},
    **{name: _arithmetic("mul") for name in ("mul", "__mul__", "__rmul__", "multiply", "mul_")},
    **{name: _arithmetic("div") for name in ("div", "__truediv__", "true_divide")},
    **{name: _arithmetic("pow") for name in ("pow", "__pow__")},
    **{name: _plain("floor_divide") for name in ("floordiv", "__floordiv__", "floor_divide")},
    **{name: _plain("remainder") for name in ("remainder", "__mod__")},
    **{name: _reshape for name in ("reshape", "view", "flatten", "unsqueeze", "squeeze", "unflatten")},
    **{name: _shaped("expand") for name in ("expand", "repeat", "tile", "expand_as")},
    **{name: _split for name in ("split", "chunk", "tensor_split", "split_with_sizes")},
    **{name: _same for name in ("float", "to", "type_as", "detach", "contiguous", "clone", "dropout", "long", "int")},
    "conv2d": _conv, "linear": _linear, "matmul": _matmul, "__matmul__": _matmul, "bmm": _matmul,
    "max_pool2d": _pool("maxpool"), "_max_pool2d": _pool("maxpool"), "avg_pool2d": _pool("avgpool"),
    "adaptive_avg_pool2d": _adaptive_pool, "interpolate": _upsample,
    "batch_norm": _batch_norm, "layer_norm": _layer_norm, "__rtruediv__": _reversed("div"),
    "cat": _concat, "concat": _concat, "stack": _stack,
    "transpose": _transpose, "swapaxes": _transpose, "permute": _permute,
    "softmax": _softmax, "select": _select, "unbind": _unbind, "__getitem__": _getitem,
    "topk": _topk, "gather": _gather, "take_along_dim": _gather, "grid_sample": _grid_sample,
    "amax": _reduce("reduce_max"), "max": _reduce("reduce_max"), "sum": _reduce("reduce_sum"),
    "mean": _reduce("reduce_mean"), "exp": _plain("exp"), "log": _plain("log"), "round": _plain("round"),
    "clamp": _clamp, "clip": _clamp, "where": _where, "masked_fill": _where,
}  # fmt: skip
"""Rule of each torch function, by the function's name."""


def _pair(value: Any) -> tuple[int, int]:
    return (int(value[0]), int(value[-1])) if isinstance(value, (list, tuple)) else (int(value), int(value))


def _shape(tensor: Tensor) -> list[int]:
    return [int(v) for v in tensor.shape]
