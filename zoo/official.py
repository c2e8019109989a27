"""Official checkpoints into our detectors, by tensor name: every missing, unexpected and mis-shaped one is reported."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.errors import BadInput
from zoo.detector import Detector, Family, Recipe, class_names
from zoo.families import build_recipe, families, family
from zoo.foreign import check_finite, read_foreign

SHOWN = 6
"""So many names of each kind stand in an error message."""


def import_official(path: str | Path, family_name: str | None = None, architecture: Architecture | None = None) -> Detector:
    """The detector of an official checkpoint, in training form and evaluation mode, with its provenance and lineage.

    ``architecture`` is for DAMO-YOLO checkpoints of a searched backbone, whose sizes no published model has.
    """
    found = read_foreign(path)
    try:
        one, model, classes = identify(found.tensors, "damo-yolo" if architecture else family_name)
        check_finite(found.tensors, one.inf_allowed)
        if architecture is not None:
            model = architecture.name or architecture.digest()
        detector = build_recipe(Recipe(model, classes, architecture))
        load_official(detector, found.tensors)
    except BadInput as error:
        raise BadInput(f"{str(path)!r}: {error}") from error
    names = found.classes if found.classes and len(found.classes) == classes else class_names(classes)
    provenance = {
        "file": Path(path).name, "sha256": found.sha256, "read_from": found.source, "family": one.name,
        "licence": one.weights_licence, "facts": dict(found.facts),
    }  # fmt: skip
    lineage = ({"model": model, "licence": one.weights_licence, "sha256": found.sha256},)
    detector.info = dataclasses.replace(detector.info, class_names=tuple(names), provenance=provenance, lineage=lineage)
    return detector.eval()


def load_official(detector: Detector, tensors: Mapping[str, Tensor]) -> None:
    """Fill ``detector`` (training form) with official tensors; nothing is changed unless all of them fit."""
    one = family(detector.family)
    state = detector.state_dict()
    ours = {one.official_name(name): name for name in state}
    missing = [name for name in ours if name not in tensors]
    shapes = [
        f"{name} {list(tensors[name].shape)} for {list(state[own].shape)}"
        for name, own in ours.items()
        if name in tensors and tensors[name].shape != state[own].shape
    ]
    unexpected, changed = [], []
    for name in tensors:
        if name in ours:
            continue
        check = next((check for pattern, check in one.constants.items() if re.fullmatch(pattern, name)), None)
        if check is None:
            unexpected.append(name)
        elif not check(tensors[name].float()):
            changed.append(name)
    faults = {"missing": missing, "unexpected": unexpected, "of another shape": shapes, "a constant with another value": changed}
    if any(faults.values()):
        parts = [f"{len(names)} {what} ({_some(names)})" for what, names in faults.items() if names]
        raise BadInput(f"these tensors are not those of {detector.recipe.model} with {detector.classes} classes: {'; '.join(parts)}")
    detector.load_state_dict({own: tensors[name].to(state[own].dtype) for name, own in ours.items()})


def identify(tensors: Mapping[str, Tensor], family_name: str | None = None) -> tuple[Family, str, int]:
    """Family, model name and class count of official tensors.

    The family is told by a tensor name that only it has, the size by the one whose tensors all fit in shape.
    """
    candidates = [family(family_name)] if family_name else families()
    matching = [one for one in candidates if any(re.fullmatch(one.landmark, name) for name in tensors)]
    if not matching:
        some = _some(list(tensors))
        if family_name:
            raise BadInput(f"no tensor of family {family_name!r} ({candidates[0].landmark}) is in this file; it holds {some}")
        raise BadInput(f"no family of the zoo has tensors named {some}; give the family with --family if it was renamed")
    one = matching[0]
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    try:
        classes = one.count_classes(shapes)
    except (KeyError, StopIteration) as error:
        raise BadInput(f"this looks like {one.title}, but its last layer is missing: {error}") from error
    nearest, least = "", 10**9
    for name in one.sizes:
        wrong = _differences(one, name, classes, shapes)
        if wrong < least:
            nearest, least = name, wrong
        if wrong == 0:
            break
    return one, nearest, classes


def _differences(one: Family, model: str, classes: int, shapes: Mapping[str, Sequence[int]]) -> int:
    """How many tensors of ``model`` are missing from ``shapes``, left over in it, or of another shape."""
    with torch.device("meta"):
        state = one.make(Recipe(model, classes)).state_dict()
    expected = {one.official_name(name): tuple(value.shape) for name, value in state.items()}
    left = [n for n in shapes if n not in expected and not any(re.fullmatch(p, n) for p in one.constants)]
    return len(left) + sum(shapes.get(name) != shape for name, shape in expected.items())


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f", and {more} more" if more > 0 else "")


