"""Overflows: find the layer that begins one, and let that layer calculate in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def tensors_of(value: Any) -> Iterator[Tensor]:
    """All tensors in nested lists, tuples and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_of(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_of(item)


def all_finite(value: Any) -> bool:
    """Whether no real tensor in ``value`` holds NaN or infinity."""
    return all(bool(torch.isfinite(t).all()) for t in tensors_of(value) if t.dtype.is_floating_point)


def first_overflow(model: nn.Module, run: Callable[[], Any]) -> str | None:
    """Name of the first layer whose outputs are not finite though its inputs are, while ``run`` uses ``model``.

    Layers are modules without children; None where there is no such layer, so that the overflow is in the loss itself.
    """
    names: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, outputs: Any) -> None:
            if not names and not all_finite(outputs) and all_finite(inputs):
                names.append(name)

        return hook

    layers = [(name, module) for name, module in model.named_modules() if not list(module.children())]
    hooks = [module.register_forward_hook(watch(name)) for name, module in layers]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return names[0] if names else None


@contextmanager
def batch_statistics_restored(model: nn.Module) -> Iterator[None]:
    """Restore the model's buffers at the end of the block, however often the model runs in it."""
    before = {name: value.clone() for name, value in model.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, value in model.named_buffers():
                value.copy_(before[name])


def run_in_float32(model: nn.Module, name: str) -> None:
    """Let layer ``name`` calculate in float32 inside autocast. Doing it twice changes nothing."""
    layer = model.get_submodule(name)
    inner = layer.forward
    if getattr(inner, "in_float32", False):
        return

    def forward(*args: Any, **kwargs: Any) -> Any:
        device = next((t.device.type for t in tensors_of([args, kwargs])), "cpu")
        with torch.autocast(device, enabled=False):
            return inner(*(_to_float(a) for a in args), **{k: _to_float(v) for k, v in kwargs.items()})

    forward.in_float32 = True  # type: ignore[attr-defined]
    layer.forward = forward


def _to_float(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16):
        return value.float()
    if isinstance(value, (list, tuple)):
        return type(value)(_to_float(item) for item in value)
    return value
