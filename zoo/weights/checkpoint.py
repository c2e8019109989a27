"""Our checkpoints: safetensors files that rebuild their own detector.

The header holds the recipe (model name or Architecture, number of classes), the class names, the input size, whether
the detector is folded and which branch it kept, where the weights came from and their lineage. Reading one executes
nothing; what the header says is checked against its own list of tensors before any weight is read. ``save`` makes the
same checks, so that what it writes can be read.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from search_spaces.architecture import Architecture
from workbench.errors import BadInput, missing_package
from workbench.files import replacing
from zoo.detector import Detector, Info, Recipe
from zoo.families import build_recipe, family_of
from zoo.weights.foreign import MAX_NAMES, SAFETENSORS, check_finite

FORMAT = "nas-checkpoint-1"
KEY = "nas"
"""Where our JSON stands in the header's metadata."""

MOST_HEADER_BYTES = 100 * 2**20
"""What the safetensors format allows a header to be."""
MOST_CLASSES = 100_000
MOST_NAME_LENGTH = 200
"""Of a model's or a class's name, in characters."""
INPUT_PX = range(64, 8193, 32)
"""The input sides that a detector may have, in pixels."""
SHOWN = 6
"""So many names of each kind stand in an error message."""

TYPES = {str(getattr(torch, name)): code for code, name in SAFETENSORS.items()}
"""Torch's name of a number type to the file's."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a checkpoint says about itself."""

    recipe: Recipe
    fused: bool
    branch: str
    info: Info

    @classmethod
    def of(cls, detector: Detector) -> Manifest:
        """The manifest that ``detector`` is saved with."""
        return cls(detector.recipe, detector.fused, detector.branch, detector.info)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; ``from_dict`` reads it back."""
        arch, info = self.recipe.architecture, self.info
        return {
            "format": FORMAT,
            "model": self.recipe.model,
            "classes": self.recipe.classes,
            "architecture": None if arch is None else arch.to_dict(),
            "fused": self.fused,
            "branch": self.branch,
            "info": {
                "class_names": list(info.class_names),
                "input_px": info.input_px,
                "provenance": dict(info.provenance),
                "lineage": [dict(one) for one in info.lineage],
                "category_ids": list(info.category_ids),
            },
        }

    @classmethod
    def from_dict(cls, data: Any) -> Manifest:
        """Build from plain data; a wrong field raises ``BadInput`` naming it and the rule."""
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            found = data.get("format") if isinstance(data, dict) else data
            raise BadInput(f"its format is {_shown(found)}, and this version reads only {FORMAT!r}")
        model, classes = _name("model", data.get("model")), _whole("classes", data.get("classes"), 1, MOST_CLASSES)
        given = data.get("architecture")
        try:
            arch = None if given is None else Architecture.from_dict(given)
        except ArithmeticError as error:  # a whole number too great to be a float
            raise BadInput(f"architecture: {_one_line(error)}") from error
        recipe = Recipe(model if arch is not None else family_of(model)[1], classes, arch)
        told = _mapping("info", data.get("info"))
        names = told.get("class_names")
        if not isinstance(names, list) or len(names) != classes:
            raise BadInput(f"{classes} classes need a list of as many class_names, not {_shown(names)}")
        px = _whole("input_px", told.get("input_px"), INPUT_PX.start, INPUT_PX.stop)
        if px not in INPUT_PX:
            raise BadInput(f"input_px {px} must be a multiple of {INPUT_PX.step}")
        lineage = told.get("lineage")
        if not isinstance(lineage, list):
            raise BadInput(f"lineage {_shown(lineage)} must be a list")
        ids = told.get("category_ids", [])
        if not isinstance(ids, list) or len(ids) not in (0, classes) or any(type(i) is not int for i in ids):
            raise BadInput(f"category_ids {_shown(ids)} must be a list of whole numbers, one for each of {classes} classes, or empty")
        fused = data.get("fused")
        if not isinstance(fused, bool):
            raise BadInput(f"fused {_shown(fused)} must be true or false")
        info = Info(
            tuple(_name(f"class_names[{i}]", name) for i, name in enumerate(names)), px,
            _mapping("provenance", told.get("provenance")),
            tuple(_mapping(f"lineage[{i}]", one) for i, one in enumerate(lineage)), tuple(ids),
        )  # fmt: skip
        return cls(recipe, fused, _name("branch", data.get("branch")), info)


def save(detector: Detector, path: str | Path) -> None:
    """Write ``detector`` with everything needed to build it again, atomically: a crash leaves what stood there before."""
    try:
        from safetensors import SafetensorError
        from safetensors.torch import save_file
    except ModuleNotFoundError as error:
        raise missing_package("writing a checkpoint", error.name, "torch") from error
    tensors = {name: value.detach().cpu().contiguous() for name, value in detector.state_dict().items()}
    try:
        text = json.dumps(Manifest.of(detector).to_dict(), sort_keys=True, allow_nan=False)
        _skeleton(Manifest.from_dict(json.loads(text)), {name: _entry(value) for name, value in tensors.items()})
        check_finite(tensors)
    except (TypeError, ValueError) as error:  # BadInput is a ValueError
        raise BadInput(f"cannot write {str(path)!r}, which could not be read again: {error}") from error
    with replacing(path) as temporary:
        try:
            save_file(tensors, str(temporary), {KEY: text})
        except SafetensorError as error:
            raise OSError(_one_line(error)) from error


def read_manifest(path: str | Path) -> Manifest:
    """What a checkpoint says about itself, without reading its weights."""
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
        detector = _skeleton(manifest, entries)
        tensors = load_file(str(path))
        check_finite(tensors)
    except BadInput as error:
        raise BadInput(f"{str(path)!r}: {error}") from error
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{str(path)!r} is damaged: {_one_line(error)}") from error
    detector.load_state_dict(tensors, assign=True)
    detector.info = manifest.info
    return detector.eval()


def differences(faults: Mapping[str, Sequence[str]]) -> str:
    """Kinds of fault, each with how many tensors have it and the first of their names; empty for none."""
    return "; ".join(f"{len(names)} {what} ({some(names)})" for what, names in faults.items() if names)


def some(names: Sequence[str]) -> str:
    """The first of ``names``, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f", and {more} more" if more > 0 else "")


def plain(text: str) -> str:
    """Text from outside with control characters and the like written out, so that it prints as one harmless line."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _read_header(path: str | Path) -> tuple[Manifest, dict[str, Any]]:
    """The manifest, and what the header says of every tensor: name to ``dtype``, ``shape`` and ``data_offsets``."""
    file = Path(path)
    try:
        if not file.exists():
            raise BadInput("no such file")
        if not file.is_file():
            raise BadInput("not a regular file: give the checkpoint itself")
        with file.open("rb") as handle:
            start = handle.read(8)
            size = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            left = max(file.stat().st_size - 8, 0)
            if not 2 <= size <= min(left, MOST_HEADER_BYTES):
                raise BadInput(f"no checkpoint of this workbench, or cut short: its header claims {size:,} bytes, the file has {left:,} left")
            header = _json(handle.read(size), "its header")
        if not isinstance(header, dict):
            raise BadInput("no checkpoint of this workbench: its header is no table of tensors")
        metadata = header.pop("__metadata__", None)
        text = metadata.get(KEY) if isinstance(metadata, dict) else None
        if not isinstance(text, str):
            raise BadInput(f"it holds tensors but not what they belong to; bring official weights in with nas zoo import {path}")
        return Manifest.from_dict(_json(text, "what its header says of itself")), header
    except BadInput as error:
        raise BadInput(f"{str(path)!r}: {error}") from error
    except OSError as error:
        raise BadInput(f"cannot read checkpoint {str(path)!r}: {error.strerror or error}") from error


def _json(text: str | bytes, what: str) -> Any:
    """The data of a JSON text without NaN and infinity, which print as no JSON."""
    try:
        data = json.loads(text)
        json.dumps(data, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"no checkpoint of this workbench: {what} is not JSON ({_one_line(error)[:200]})") from error
    return data


def _skeleton(manifest: Manifest, entries: Mapping[str, Any]) -> Detector:
    """The detector on the meta device, in the form that the file holds; its tensors are those that the header lists."""
    recipe, arch = manifest.recipe, manifest.recipe.architecture
    if len(entries) > MAX_NAMES:
        raise BadInput(f"{len(entries):,} tensors, the most is {MAX_NAMES:,}")
    blocks = sum(stage.depth for stage in arch.stages) if arch is not None else 0
    if blocks > len(entries):  # a billion blocks would take for ever to build, even without weights
        raise BadInput(f"its architecture has {blocks:,} blocks, and there are {len(entries):,} tensors")
    try:
        with torch.device("meta"):
            detector = build_recipe(recipe)
            detector.choose_branch(manifest.branch)
            if manifest.fused:
                detector.fuse()
    except (RuntimeError, TypeError, ArithmeticError) as error:  # what torch raises for sizes that no tensor can have
        raise BadInput(f"{recipe.model} of its sizes cannot be built: {_one_line(error)[:200]}") from error
    wanted = {name: _entry(value) for name, value in detector.state_dict().items()}
    faults = {
        "missing": [name for name in wanted if name not in entries],
        "without a place in it": [_shown(name) for name in entries if name not in wanted],
        "of another shape or type": [
            f"{name} {_told(entries[name])} for {_told(entry)}"
            for name, entry in wanted.items()
            if name in entries and _told(entries[name]) != _told(entry)
        ],
    }
    if any(faults.values()):
        raise BadInput(f"tensors that do not fit {recipe.model} with {recipe.classes} classes: {differences(faults)}")
    return detector


def _entry(value: torch.Tensor) -> dict[str, Any]:
    """What a header would say of a tensor."""
    return {"dtype": TYPES.get(str(value.dtype), str(value.dtype)), "shape": list(value.shape)}


def _told(entry: Any) -> str:
    """Type and shape of one of a header's entries."""
    return f"{str(entry.get('dtype'))[:20]} {_shown(entry.get('shape'))}" if isinstance(entry, dict) else _shown(entry)


def _name(what: str, value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= MOST_NAME_LENGTH:
        raise BadInput(f"{what} {_shown(value)} must be a text of 1 to {MOST_NAME_LENGTH} printable characters")
    return value


def _whole(what: str, value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise BadInput(f"{what} {_shown(value)} must be a whole number from {least} to {most}")
    return value


def _mapping(what: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInput(f"{what} {_shown(value)} must be a table")
    return value


def _shown(value: Any) -> str:
    """Data of a file, fit for an error line."""
    text = ascii(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
