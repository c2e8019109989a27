"""Checkpoints in the layouts that detectors' authors publish, written on the spot from ``{official name: array}``.

Tests read them back; no published file and no package that wrote one is needed.
"""

from __future__ import annotations

import json
import sys
import types
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

Tensors = Mapping[str, Any]
"""NumPy arrays or torch tensors by official name."""

NORM = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
BUFFERS = {
    "running_mean",
    "running_var",
    "num_batches_tracked",
    "anchors",
    "anchor_grid",
    "stride",
    "valid_mask",
    "pos_embed",
}
"""Last parts of names that are buffers; so is every tensor that is not of floating point."""

SAFETENSORS_TYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def as_tensors(tensors: Tensors) -> OrderedDict[str, torch.Tensor]:
    """Torch tensors on the CPU, in the order given."""
    return OrderedDict((name, torch.as_tensor(value).detach().cpu()) for name, value in tensors.items())


def save_plain(path: Path, tensors: Tensors, key: str | None = "model", legacy: bool = False, **top: Any) -> None:
    """``{key: tensors}``, or the bare dict for ``key=None``; ``top`` holds further top-level entries."""
    given = as_tensors(tensors)
    torch.save(
        {**top, **given} if key is None else {**top, key: given}, path, _use_new_zipfile_serialization=not legacy
    )


def save_rtdetr(path: Path, tensors: Tensors, legacy: bool = False) -> None:
    """RT-DETR's layout: the averaged weights in ``ema.module``, and other values in ``model``."""
    given = as_tensors(tensors)
    raw = OrderedDict((name, torch.zeros_like(value)) for name, value in given.items())
    content = {
        "date": "2023-07-01",
        "last_epoch": 71,
        "model": raw,
        "ema": {"module": given, "updates": 7, "warmups": 2000},
    }
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)


def save_pickled_model(
    path: Path,
    tensors: Tensors,
    module: str = "ultralytics.nn.tasks",
    cls: str = "DetectionModel",
    half: bool = True,
    legacy: bool = False,
    names: Sequence[str] | Mapping[int, str] | None = None,
    ema: bool = False,
) -> None:
    """A whole pickled model, as YOLOv7 (``models.yolo``, ``Model``) and Ultralytics write it.

    With ``ema`` the weights are in the averaged model and ``model`` holds zeros. The pickle names ``module.cls`` truly,
    and that class does not outlive this call.
    """
    given = as_tensors(tensors)
    with fake_class(module, cls) as kind:
        model = build_model(kind, given, half)
        if names is not None:
            model.names = dict(names) if isinstance(names, Mapping) else list(names)  # type: ignore[assignment]
        content: dict[str, Any] = {
            "epoch": -1,
            "best_fitness": np.float64(0.5),
            "model": model,
            "ema": None,
            "optimizer": None,
        }
        if ema:
            content["ema"] = model
            content["model"] = build_model(kind, {name: torch.zeros_like(value) for name, value in given.items()}, half)
        content |= {"date": "2024-01-02T03:04:05", "version": "8.1.0", "license": "see the authors' page"}
        content["train_args"] = {"imgsz": 640, "data": Path("coco.yaml")}
        with warnings.catch_warnings():  # the legacy layout wants the class's source text, and there is none
            warnings.filterwarnings("ignore", "Couldn't retrieve source code")
            torch.save(content, path, _use_new_zipfile_serialization=not legacy)


def save_safetensors(path: Path, tensors: Tensors, metadata: Mapping[str, str] | None = None) -> None:
    """The .safetensors layout, written by hand."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    body = b""
    for name, value in as_tensors(tensors).items():
        raw = value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        header[name] = {
            "dtype": SAFETENSORS_TYPES[value.dtype],
            "shape": list(value.shape),
            "data_offsets": [len(body), len(body) + len(raw)],
        }
        body += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def save_npz(path: Path, tensors: Tensors) -> None:
    """An uncompressed .npz."""
    np.savez(path, **{name: value.numpy() for name, value in as_tensors(tensors).items()})


@contextmanager
def fake_class(module: str, cls: str) -> Iterator[type[nn.Module]]:
    """An ``nn.Module`` subclass importable as ``module.cls`` while the block runs."""
    kind = type(cls, (nn.Module,), {"__module__": module, "__qualname__": cls})
    parts = module.split(".")
    packages = [".".join(parts[: depth + 1]) for depth in range(len(parts))]
    before = {name: sys.modules.get(name) for name in packages}
    try:
        for name in packages:
            sys.modules[name] = types.ModuleType(name)
        setattr(sys.modules[module], cls, kind)
        yield kind
    finally:
        for name, old in before.items():
            if old is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = old


def build_model(kind: type[nn.Module], tensors: Mapping[str, torch.Tensor], half: bool) -> nn.Module:
    """A ``kind`` whose ``state_dict`` is ``tensors``, floating ones in fp16 if ``half``."""
    tree: dict[str, Any] = {}
    for name, value in tensors.items():
        *folders, last = name.split(".")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[last] = value.half() if half and value.is_floating_point() else value.clone()
    top = kind()
    _fill(top, tree)
    assert set(top.state_dict()) == set(tensors), set(top.state_dict()) ^ set(tensors)
    return top


def _fill(module: nn.Module, tree: Mapping[str, Any]) -> None:
    """Puts the tensors and children of ``tree`` into ``module``."""
    for name, value in tree.items():
        if isinstance(value, dict):
            child = _shell(value)
            _fill(child, value)
            module.add_module(name, child)
        elif name in BUFFERS or not value.is_floating_point():
            module._buffers.pop(name, None)
            module.register_buffer(name, value)
        else:
            module.register_parameter(name, nn.Parameter(value, requires_grad=False))


def _shell(tree: Mapping[str, Any]) -> nn.Module:
    """The layer that such tensors belong to; its own are replaced."""
    leaves = {name: value for name, value in tree.items() if not isinstance(value, dict)}
    if set(leaves) == NORM:
        return nn.BatchNorm2d(1)
    if "weight" in leaves and set(leaves) <= {"weight", "bias"} and leaves["weight"].ndim == 4:
        return nn.Conv2d(1, 1, 1, bias="bias" in leaves)
    if not leaves and all(name.isdigit() for name in tree):
        return nn.Sequential()
    return nn.Module()


def pickled(**options: Any) -> Callable[[Path, Tensors], None]:
    """``save_pickled_model`` with options."""
    return lambda path, tensors: save_pickled_model(path, tensors, **options)
