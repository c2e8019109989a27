"""Detectors without weights: built on the meta device, where a tensor has a shape and no memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _NoInitialization(TorchFunctionMode):
    """Skips ``torch.nn.init``: on the meta device it changes nothing, but imports torch's compiler.

    That takes seconds and makes a folder in the temporary folder.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # fmt: skip
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


@contextmanager
def without_weights() -> Iterator[None]:
    """New modules are on the meta device, and are not initialized."""
    with torch.device("meta"), _NoInitialization():
        yield
