"""When numbers overflow: find the layer that began it, and let that layer calculate in float32 from then on."""

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
        for one in value.values():
            yield from tensors_of(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from tensors_of(one)


def all_finite(value: Any) -> bool:
    """Whether no real tensor in ``value`` holds NaN or infinity."""
    return all(bool(torch.isfinite(t).all()) for t in tensors_of(value) if t.dtype.is_floating_point)


def first_overflow(model: nn.Module, run: Callable[[], Any]) -> str | None:
    """Name of the first layer that makes something not finite out of finite inputs while ``run`` uses ``model``.

    Layers are modules without children; None where none of them does, so that the overflow comes from the loss itself.
    """
    found: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, given: Any, made: Any) -> None:
            if not found and not all_finite(made) and all_finite(given):
                found.append(name)

        return hook

    hooks = [module.register_forward_hook(watch(name)) for name, module in model.named_modules() if not list(module.children())]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


@contextmanager
def batch_statistics_kept(model: nn.Module) -> Iterator[None]:
    """Running statistics as they were before the block, however often the model runs in it."""
    kept = {name: value.clone() for name, value in model.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, value in model.named_buffers():
                value.copy_(kept[name])


def hold_in_float32(model: nn.Module, name: str) -> None:
    """Let layer ``name`` calculate in float32 inside autocast. Doing it twice changes nothing."""
    layer = model.get_submodule(name)
    inner = layer.forward
    if getattr(inner, "in_float32", False):
        return

    def forward(*args: Any, **kwargs: Any) -> Any:
        device = next((t.device.type for t in tensors_of([args, kwargs])), "cpu")
        with torch.autocast(device, enabled=False):
            return inner(*(_floats(a) for a in args), **{k: _floats(v) for k, v in kwargs.items()})

    forward.in_float32 = True  # type: ignore[attr-defined]
    layer.forward = forward


def _floats(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16):
        return value.float()
    if isinstance(value, (list, tuple)):
        return type(value)(_floats(one) for one in value)
    return value
