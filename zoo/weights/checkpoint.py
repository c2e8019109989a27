"""Our checkpoints: safetensors files that rebuild their own detector.

The header holds the manifest (``zoo.weights.manifest``). Reading a checkpoint executes nothing; the manifest is checked
against the header's list of tensors before any weight is read. ``save`` makes the same checks, so that whatever it
writes can be read.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from workbench.errors import BadInput, missing_package
from workbench.files import replacing
from zoo.detector import Detector
from zoo.factory import build_recipe
from zoo.meta import without_weights
from zoo.weights.foreign import MAX_TENSORS, SAFETENSORS, check_finite
from zoo.weights.manifest import Manifest
from zoo.weights.text import describe_differences, one_line, shorten

KEY = "nas"
"""Key of our JSON in the header's metadata."""
MAX_HEADER_BYTES = 100 * 2**20
"""Largest header that the safetensors format allows."""
MAX_ERROR_LENGTH = 200
"""Characters quoted of a library's error message."""
TYPES = {str(getattr(torch, name)): code for code, name in SAFETENSORS.items()}
"""Torch's name of a data type to the safetensors one."""


def save(detector: Detector, path: str | Path) -> None:
    """Write ``detector`` with everything needed to rebuild it, atomically: a crash leaves the previous file."""
    try:
        from safetensors import SafetensorError
        from safetensors.torch import save_file
    except ModuleNotFoundError as error:
        raise missing_package("writing a checkpoint", error.name, "torch") from error
    tensors = {name: value.detach().cpu().contiguous() for name, value in detector.state_dict().items()}
    try:
        text = json.dumps(Manifest.of(detector).to_dict(), sort_keys=True, allow_nan=False)
        _empty_detector(Manifest.from_dict(json.loads(text)), {name: _entry(value) for name, value in tensors.items()})
        check_finite(tensors)
    except (TypeError, ValueError) as error:  # BadInput is a ValueError
        raise BadInput(f"cannot write {str(path)!r}, which could not be read again: {error}") from error
    with replacing(path) as temporary:
        try:
            save_file(tensors, str(temporary), {KEY: text})
        except SafetensorError as error:
            raise OSError(one_line(error)) from error


def read_manifest(path: str | Path) -> Manifest:
    """The manifest of a checkpoint, without reading its weights."""
    return _read_header(path)[0]


def load(path: str | Path) -> Detector:
    """The detector of a checkpoint that ``save`` wrote, with its weights, in evaluation mode on the CPU."""
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise missing_package("reading a checkpoint", error.name, "torch") from error
    manifest, entries = _read_header(path)
    try:
        detector = _empty_detector(manifest, entries)
        tensors = load_file(str(path))
        check_finite(tensors)
    except BadInput as error:
        raise BadInput(f"{str(path)!r}: {error}") from error
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{str(path)!r} is damaged: {one_line(error)}") from error
    detector.load_state_dict(tensors, assign=True)
    detector.info = manifest.info
    return detector.eval()


def _read_header(path: str | Path) -> tuple[Manifest, dict[str, Any]]:
    """The manifest, and the header's entry of every tensor: name to ``dtype``, ``shape`` and ``data_offsets``."""
    file = Path(path)
    try:
        header = _header_table(file)
        metadata = header.pop("__metadata__", None)
        text = metadata.get(KEY) if isinstance(metadata, dict) else None
        if not isinstance(text, str):
            raise BadInput(
                f"it holds tensors but not what they belong to; bring official weights in with nas zoo import {path}"
            )
        return Manifest.from_dict(_parse_json(text, "what its header says of itself")), header
    except BadInput as error:
        raise BadInput(f"{str(path)!r}: {error}") from error
    except OSError as error:
        raise BadInput(f"cannot read checkpoint {str(path)!r}: {error.strerror or error}") from error


def _header_table(file: Path) -> dict[str, Any]:
    """The JSON header of a safetensors file."""
    if not file.exists():
        raise BadInput("no such file")
    if not file.is_file():
        raise BadInput("not a regular file: give the checkpoint itself")
    with file.open("rb") as handle:
        prefix = handle.read(8)
        size = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        left = max(file.stat().st_size - 8, 0)
        if not 2 <= size <= min(left, MAX_HEADER_BYTES):
            raise BadInput(
                f"no checkpoint of this workbench, or cut short: its header claims {size:,} bytes, "
                f"the file has {left:,} left"
            )
        header = _parse_json(handle.read(size), "its header")
    if not isinstance(header, dict):
        raise BadInput("no checkpoint of this workbench: its header is no table of tensors")
    return header


def _parse_json(text: str | bytes, what: str) -> Any:
    """The data of a JSON text; NaN and infinity, which JSON does not know, are refused."""
    try:
        data = json.loads(text)
        json.dumps(data, allow_nan=False)
    except (ValueError, RecursionError) as error:
        reason = one_line(error)[:MAX_ERROR_LENGTH]
        raise BadInput(f"no checkpoint of this workbench: {what} is not JSON ({reason})") from error
    return data


def _empty_detector(manifest: Manifest, entries: Mapping[str, Any]) -> Detector:
    """The detector on the meta device, in the stored form; its tensors are those that the header lists."""
    recipe, arch = manifest.recipe, manifest.recipe.architecture
    if len(entries) > MAX_TENSORS:
        raise BadInput(f"{len(entries):,} tensors, the most is {MAX_TENSORS:,}")
    blocks = sum(stage.depth for stage in arch.stages) if arch is not None else 0
    if blocks > len(entries):  # a billion blocks take too long to build, even without weights
        raise BadInput(f"its architecture has {blocks:,} blocks, and there are {len(entries):,} tensors")
    try:
        with without_weights():
            detector = build_recipe(recipe)
            detector.choose_branch(manifest.branch)
            if manifest.fused:
                detector.fuse()
    except (RuntimeError, TypeError, ArithmeticError) as error:  # raised by torch for impossible sizes
        reason = one_line(error)[:MAX_ERROR_LENGTH]
        raise BadInput(f"{recipe.model} of its sizes cannot be built: {reason}") from error
    expected = {name: _entry(value) for name, value in detector.state_dict().items()}
    faults = {
        "missing": [name for name in expected if name not in entries],
        "without a place in it": [shorten(ascii(name)) for name in entries if name not in expected],
        "of another shape or type": [
            f"{name} {_describe(entries[name])} for {_describe(entry)}"
            for name, entry in expected.items()
            if name in entries and _describe(entries[name]) != _describe(entry)
        ],
    }
    if any(faults.values()):
        what = f"tensors that do not fit {recipe.model} with {recipe.classes} classes"
        raise BadInput(f"{what}: {describe_differences(faults)}")
    return detector


def _entry(value: torch.Tensor) -> dict[str, Any]:
    """The header's entry of a tensor, without its place in the file."""
    return {"dtype": TYPES.get(str(value.dtype), str(value.dtype)), "shape": list(value.shape)}


def _describe(entry: Any) -> str:
    """Data type and shape of a header's entry."""
    if not isinstance(entry, dict):
        return shorten(ascii(entry))
    return f"{str(entry.get('dtype'))[:20]} {shorten(ascii(entry.get('shape')))}"
