"""Our checkpoints: safetensors files that rebuild their own detector.

The header holds the recipe (model name or Architecture, number of classes), the class names, the input size, whether
the detector is folded and which branch it kept, where the weights came from and their lineage. Reading one executes
nothing, and a file that claims more than it holds is refused before anything is allocated.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from pathlib import Path
from typing import Any

import torch

from search_spaces.architecture import Architecture
from search_spaces.errors import BadInput, missing_package
from search_spaces.files import replacing
from zoo.detector import Detector, Info, Recipe
from zoo.families import build_recipe
from zoo.foreign import check_finite

FORMAT = "nas-checkpoint-1"
KEY = "nas"
"""Where our JSON stands in the header's metadata."""

MOST_HEADER_BYTES = 100 * 2**20
"""What the safetensors format allows a header to be."""


def save(detector: Detector, path: str | Path) -> None:
    """Write ``detector`` with everything needed to build it again, atomically."""
    try:
        from safetensors.torch import save_file
    except ModuleNotFoundError as error:
        raise missing_package("writing a checkpoint", error.name, "torch") from error
    recipe = detector.recipe
    manifest = {
        "format": FORMAT,
        "model": recipe.model,
        "classes": recipe.classes,
        "architecture": None if recipe.architecture is None else recipe.architecture.to_dict(),
        "fused": detector.fused,
        "branch": detector.branch,
        "info": {**dataclasses.asdict(detector.info), "class_names": list(detector.info.class_names)},
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in detector.state_dict().items()}
    with replacing(path) as temporary:
        save_file(tensors, str(temporary), {KEY: json.dumps(manifest, sort_keys=True)})


def read_manifest(path: str | Path) -> dict[str, Any]:
    """What a checkpoint says about itself, without reading its weights."""
    file = Path(path)
    try:
        with file.open("rb") as handle:
            start = handle.read(8)
            size = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            left = file.stat().st_size - 8
            if not 2 <= size <= min(left, MOST_HEADER_BYTES):
                raise BadInput(f"{str(path)!r} is no checkpoint of this workbench: its header claims {size:,} bytes, the file holds {max(left, 0):,}")
            header = json.loads(handle.read(size))
    except OSError as error:
        raise BadInput(f"cannot read checkpoint {str(path)!r}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{str(path)!r} is no checkpoint of this workbench: its header is not JSON") from error
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    text = metadata.get(KEY) if isinstance(metadata, dict) else None
    if text is None:
        raise BadInput(f"{str(path)!r} holds tensors but not what they belong to: bring official weights in with nas zoo import {path}")
    try:
        manifest = json.loads(text)
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise BadInput(f"{str(path)!r}: its format is not {FORMAT!r}, the only one this version reads")
        return manifest
    except (TypeError, ValueError, RecursionError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{str(path)!r}: what its header says of itself is not JSON") from error


def load(path: str | Path) -> Detector:
    """The detector of a checkpoint that ``save`` wrote, with its weights, in evaluation mode on the CPU."""
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise missing_package("reading a checkpoint", error.name, "torch") from error
    detector, info = _skeleton(path, read_manifest(path))
    try:
        tensors = load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{str(path)!r} is damaged: {' '.join(str(error).split())}") from error
    wanted = detector.state_dict()
    for name, value in wanted.items():
        if name not in tensors or tensors[name].shape != value.shape or tensors[name].dtype != value.dtype:
            raise BadInput(f"{str(path)!r} does not fit {detector.recipe.model}: tensor {name!r} is missing or has another shape or type")
    left = sorted(set(tensors) - set(wanted))
    if left:
        raise BadInput(f"{str(path)!r} does not fit {detector.recipe.model}: tensor {left[0]!r} has no place in it")
    try:
        check_finite(tensors)
    except BadInput as error:
        raise BadInput(f"{str(path)!r}: {error}") from error
    detector.load_state_dict(tensors, assign=True)
    detector.info = info
    return detector.eval()


def _skeleton(path: str | Path, manifest: dict[str, Any]) -> tuple[Detector, Info]:
    """The detector on the meta device, in the form that the file holds, and what it carries."""
    try:
        given = manifest["architecture"]
        arch = None if given is None else Architecture.from_dict(given, f"{path}: architecture")
        recipe = Recipe(str(manifest["model"]), int(manifest["classes"]), arch)
        told = manifest["info"]
        info = Info(tuple(map(str, told["class_names"])), int(told["input_px"]), dict(told["provenance"]), tuple(map(dict, told["lineage"])))
        fused, branch = bool(manifest["fused"]), str(manifest["branch"])
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{str(path)!r}: what its header says of itself is incomplete: {error}") from error
    if not 1 <= recipe.classes <= 100_000 or len(info.class_names) != recipe.classes:
        raise BadInput(f"{str(path)!r}: {recipe.classes} classes with {len(info.class_names)} names")
    with torch.device("meta"):
        detector = build_recipe(recipe)
        detector.choose_branch(branch)
        if fused:
            detector.fuse()
    return detector, info
