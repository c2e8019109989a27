"""How the labels of channels pass through every torch function that the detectors use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from zoo.graphs.tracer import Call
from zoo.pruning.labels import NONE, ChannelTracer, LabelRule, compact


def _rows(tracer: ChannelTracer, value: Any) -> Tensor:
    """Labels of a tensor; ``NONE`` everywhere for a constant."""
    if tracer.is_labelled(value):
        return tracer.labels(value).rows
    return torch.full((), NONE, device="cpu").expand(value.shape)


def _same(tracer: ChannelTracer, func: Any, call: Call, out: Any) -> None:
    """One tensor in, one of the same shape out."""
    labels = tracer.labels(call(0))
    if out is not call(0):
        tracer.set(out, labels.rows, labels.cols)


def _move(tracer: ChannelTracer, func: Any, call: Call, out: Any) -> None:
    """A function that moves numbers, with any number of results: it moves the labels in the same way."""
    labels = tracer.labels(call(0))
    rows = func(labels.rows, *call.args[1:], **call.kwargs)
    cols = None if labels.cols is None else func(labels.cols, *call.args[1:], **call.kwargs)
    if isinstance(out, Tensor):
        tracer.set(out, rows, cols)
        return
    for i, part in enumerate(out):
        tracer.set(part, rows[i], None if cols is None else cols[i])


def _concat(tracer: ChannelTracer, func: Any, call: Call, out: Tensor) -> None:
    """Concatenation; axes along which all labels only repeat themselves stay unexpanded in memory."""
    axis = call(1, "dim", 0) % out.ndim
    parts = [_rows(tracer, value) for value in call(0, "tensors")]
    index = tuple(
        slice(0, 1) if a != axis and all(part.stride(a) == 0 for part in parts) else slice(None)
        for a in range(out.ndim)
    )  # fmt: skip
    tracer.set(out, torch.cat([part[index] for part in parts], axis).expand(out.shape))


def _stack(tracer: ChannelTracer, func: Any, call: Call, out: Tensor) -> None:
    tracer.set(out, torch.stack([_rows(tracer, value) for value in call(0, "tensors")], call(1, "dim", 0)))


def _join(tracer: ChannelTracer, func: Any, call: Call, out: Tensor) -> None:
    """An elementwise function of two operands, either of which may be a number or a constant."""
    operands = [value for value in (call(0), call(1, "other")) if isinstance(value, Tensor)]
    join_labels(tracer, operands, out)


def join_labels(tracer: ChannelTracer, operands: list[Tensor], out: Tensor) -> None:
    """Label ``out``, computed elementwise from ``operands``: channels at equal positions are removed together.

    An operand that is repeated along an axis of the others' channels is a copy for each of them: it ties only what
    lies along its own axes. A constant ties what lies along its own axes too, for it cannot be cut.
    """
    result = torch.full((), NONE, device="cpu").expand(out.shape)
    sources = []
    for value in operands:
        rows = _rows(tracer, value)
        sources.append(rows.reshape((1,) * (out.ndim - rows.ndim) + tuple(rows.shape)))
    for number, rows in enumerate(sources):
        own = [axis for axis in range(out.ndim) if rows.shape[axis] > 1]
        others = [other for i, other in enumerate(sources) if i != number]
        repeated = [axis for axis in range(out.ndim) if rows.shape[axis] == 1 and out.shape[axis] > 1]
        is_copy = any(tracer.varies(other, axis) for other in others for axis in repeated if other.shape[axis] > 1)
        if is_copy or not _has_labels(rows):
            for other in others:
                tracer.merge(other, tuple(axis for axis in own if other.shape[axis] > 1))
            tracer.merge(rows, tuple(own))
            continue
        full = rows.expand(out.shape)
        tracer.tie(result, full)
        result = torch.where(result == NONE, full, result) if _has_labels(result) else full
    tracer.set(out, result)


def _has_labels(labels: Tensor) -> bool:
    return bool((compact(labels)[0] != NONE).any())


def _conv(tracer: ChannelTracer, func: Any, call: Call, out: Tensor) -> None:
    """Convolution: new channels from a weight's rows; a grouped one ties the inputs and outputs of each group."""
    x, weight, bias, groups = call(0), call(1, "weight"), call(2, "bias"), call(6, "groups", 1)
    rows, cols = tracer.weight_labels(weight)
    inputs = tracer.labels(x).rows[0, :, 0, 0]
    if groups == 1:
        tracer.tie(inputs, cols)
    else:
        by_group = torch.cat([rows.view(groups, -1), inputs.view(groups, -1)], 1)
        tracer.merge(by_group, (1,))
    _add_bias(tracer, rows, bias)
    tracer.set(out, rows.view(1, -1, 1, 1).expand(out.shape))


def _linear(tracer: ChannelTracer, func: Any, call: Call, out: Tensor) -> None:
    x, weight, bias = tracer.labels(call(0)).rows, call(1, "weight"), call(2, "bias")
    rows, cols = tracer.weight_labels(weight)
    tracer.tie(x, cols.expand(x.shape))
    _add_bias(tracer, rows, bias)
    tracer.set(out, rows.expand(out.shape))


def _add_bias(tracer: ChannelTracer, rows: Tensor, bias: Tensor | None) -> None:
    if bias is not None:
        tracer.tie(rows, tracer.labels(bias).rows)


def _batch_norm(tracer: ChannelTracer, func: Any, call: Call, out: Tensor) -> None:
    """Statistics and affine parameters belong to the channels."""
    rows = tracer.labels(call(0)).rows
    for value in (call(1, "running_mean"), call(2, "running_var"), call(3, "weight"), call(4, "bias")):
        if value is not None:
            tracer.tie(rows, tracer.labels(value).rows.view(1, -1, *[1] * (rows.ndim - 2)).expand(rows.shape))
    tracer.set(out, rows)


def _layer_norm(tracer: ChannelTracer, func: Any, call: Call, out: Tensor) -> None:
    """All normalized numbers depend on each other, so they are cut together or not at all."""
    rows = tracer.labels(call(0)).rows
    axes = tuple(range(rows.ndim - len(call(1, "normalized_shape")), rows.ndim))
    for value in (call(2, "weight"), call(3, "bias")):
        if value is not None:
            tracer.tie(rows, tracer.labels(value).rows.expand(rows.shape))
    tracer.set(out, tracer.merge(rows, axes).expand(out.shape))


def _spatial(tracer: ChannelTracer, func: Any, call: Call, out: Tensor) -> None:
    """Pooling and resizing: every channel for itself."""
    tracer.set(out, tracer.labels(call(0)).rows[:, :, :1, :1].expand(out.shape))


def _matmul(tracer: ChannelTracer, func: Any, call: Call, out: Tensor) -> None:
    """The product of two activations: a whole head, an entry of the leading axes, is cut at once."""
    merged = []
    for value in (call(0), call(1, "other") if call(1, "other") is not None else call(1, "mat2")):
        rows = _rows(tracer, value)
        merged.append(tracer.merge(rows, (rows.ndim - 2, rows.ndim - 1)))
    tracer.tie(merged[0], merged[1])
    tracer.set(out, merged[0].expand(out.shape))


def _attention(tracer: ChannelTracer, func: Any, call: Call, out: Tensor) -> None:
    """Scaled dot-product attention of ``[b, heads, n, c]``: whole heads."""
    merged = []
    for value in (call(0, "query"), call(1, "key"), call(2, "value")):
        rows = _rows(tracer, value)
        merged.append(tracer.merge(rows, (2, 3)))
    tracer.tie(merged[0], merged[1])
    tracer.tie(merged[0], merged[2])
    tracer.set(out, merged[0].expand(out.shape))


def _softmax(tracer: ChannelTracer, func: Any, call: Call, out: Tensor) -> None:
    rows = tracer.labels(call(0)).rows
    tracer.set(out, tracer.merge(rows, (call(1, "dim") % rows.ndim,)).expand(out.shape))


def _reduce(tracer: ChannelTracer, func: Any, call: Call, out: Any) -> None:
    """Reductions over axes: what is reduced is cut together."""
    axis = call(1, "dim")
    rows = tracer.labels(call(0)).rows
    axes = tuple(range(rows.ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    axes = tuple(a % rows.ndim for a in axes)
    merged = tracer.merge(rows, axes)
    for result in [out] if isinstance(out, Tensor) else list(out):
        kept = merged
        if result.ndim < rows.ndim:
            kept = merged[tuple(0 if a in axes else slice(None) for a in range(rows.ndim))]
        tracer.set(result, kept.expand(result.shape))


def _topk(tracer: ChannelTracer, func: Any, call: Call, out: Any) -> None:
    rows = tracer.labels(call(0)).rows
    merged = tracer.merge(rows, (call(2, "dim", -1) % rows.ndim,))
    tracer.set(out[0], merged.expand(out[0].shape))


def _gather(tracer: ChannelTracer, func: Any, call: Call, out: Tensor) -> None:
    """Reading at computed places along an axis: tokens, which have no labels of their own."""
    rows, axis = _rows(tracer, call(0)), call(1, "dim")
    tracer.set(out, tracer.merge(rows, (axis % rows.ndim,)).expand(out.shape))


def _grid_sample(tracer: ChannelTracer, func: Any, call: Call, out: Tensor) -> None:
    """``[n, c, h, w]`` sampled at ``[n, h', w', 2]``: the maps of an entry and its places are cut together."""
    maps = tracer.merge(_rows(tracer, call(0)), (1, 2, 3))
    places = tracer.merge(_rows(tracer, call(1, "grid")), (1, 2, 3))
    tracer.tie(maps, places)
    tracer.set(out, maps.expand(out.shape))


def _where(tracer: ChannelTracer, func: Any, call: Call, out: Tensor) -> None:
    join_labels(tracer, [v for v in (call(1), call(2)) if isinstance(v, Tensor) and tracer.is_labelled(v)], out)


def _masked_fill(tracer: ChannelTracer, func: Any, call: Call, out: Tensor) -> None:
    tracer.set(out, _rows(tracer, call(0)).expand(out.shape))


def _names(rule: Callable[..., None], names: str) -> dict[str, LabelRule]:
    return dict.fromkeys(names.split(), rule)


LABEL_RULES: dict[str, LabelRule] = {
    **_names(
        _same,
        "relu relu_ silu silu_ gelu sigmoid sigmoid_ tanh hardswish hardsigmoid softplus leaky_relu relu6 hardtanh "
        "mish float to type_as detach contiguous clone dropout exp log sqrt rsqrt neg sin cos round clamp clip "
        "requires_grad_ __neg__ long int half bfloat16",
    ),
    **_names(
        _move,
        "reshape view flatten unsqueeze squeeze unflatten split chunk tensor_split split_with_sizes transpose swapaxes "
        "permute select unbind __getitem__ expand repeat tile narrow flip",
    ),
    **_names(
        _join,
        "add __add__ __iadd__ add_ __radd__ sub __sub__ __rsub__ rsub mul __mul__ __rmul__ multiply mul_ div "
        "__truediv__ true_divide __rtruediv__ pow __pow__ floordiv __floordiv__ floor_divide remainder __mod__ "
        "maximum minimum",
    ),
    **_names(_spatial, "max_pool2d _max_pool2d avg_pool2d adaptive_avg_pool2d interpolate boolean_dispatch"),
    **_names(_matmul, "matmul __matmul__ bmm"),
    **_names(_concat, "cat concat"),
    **_names(_reduce, "amax max sum mean"),
    **_names(_gather, "gather take_along_dim"),
    "conv2d": _conv,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "scaled_dot_product_attention": _attention,
    "softmax": _softmax,
    "stack": _stack,
    "topk": _topk,
    "grid_sample": _grid_sample,
    "where": _where,
    "masked_fill": _masked_fill,
}
"""Rule of each torch function, by the function's name."""
