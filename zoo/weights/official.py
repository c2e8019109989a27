"""Official checkpoints into our detectors, by tensor name: every missing, unexpected and mis-shaped one is reported."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from search_spaces.architecture import Architecture
from workbench.errors import BadInput
from zoo.detector import Detector, Family, Recipe, class_names
from zoo.families import build_recipe, families, family
from zoo.weights.checkpoint import KEY, MOST_CLASSES, MOST_NAME_LENGTH, differences, plain, some
from zoo.weights.foreign import ForeignCheckpoint, check_finite, read_foreign

SEARCHED = "damo-yolo"
"""The family that an Architecture of this workbench makes."""
SHOWN_LENGTH = 120
"""Of a file's tensor name in an error message, in characters."""
MOST_FACTS = 100
MOST_FACT_LENGTH = 1_000
"""Of a text, in characters; numbers beyond 64 bits are no facts either."""


def import_official(
    path: str | Path,
    family_name: str | None = None,
    architecture: Architecture | None = None,
    names: Sequence[str] | None = None,
) -> Detector:
    """The detector of an official checkpoint, in training form and evaluation mode, with its provenance and lineage.

    ``architecture`` is for DAMO-YOLO checkpoints of a searched backbone, whose sizes no published model has. ``names``
    are the classes' names; without them those in the file stand, else COCO's for 80 classes, else numbered ones.
    """
    if architecture is not None and family_name not in (None, SEARCHED):
        raise BadInput(f"an architecture makes a detector of the family {SEARCHED!r}, not {family_name!r}: give one of the two")
    found = read_foreign(path)
    try:
        if found.source == "(top level)" and str(found.facts.get(KEY, "")).startswith("{"):
            raise BadInput("it is one of this workbench's checkpoints already: use it as it is")
        one, model, classes = identify(found.tensors, SEARCHED if architecture is not None else family_name)
        if names is not None and len(names) != classes:
            raise BadInput(f"it has {classes} classes, and {len(names)} names were given for them")
        if architecture is not None:
            model = architecture.name or architecture.digest()
            if architecture.head is not None:
                architecture = dataclasses.replace(architecture, head=dataclasses.replace(architecture.head, classes=classes))
        check_finite(found.tensors, one.inf_allowed)
        recipe = Recipe(model, classes, architecture)
        with torch.device("meta"):  # what the file claims is held against it before anything of that size is made
            misfits = _misfits(build_recipe(recipe), found.tensors)
        if misfits:
            what = f"no {one.title} has these tensors; the nearest is {model}" if architecture is None else f"these tensors are not those of architecture {model}"
            raise BadInput(f"{what} with {classes} classes, against which there are {misfits}")
        detector = build_recipe(recipe)
        load_official(detector, found.tensors)
    except BadInput as error:
        raise BadInput(f"{str(path)!r}: {error}") from error
    provenance = {
        "file": plain(Path(path).name), "sha256": found.sha256, "read_from": found.source, "family": one.name,
        "licence": one.weights_licence, "facts": _facts(found.facts),
    }  # fmt: skip
    lineage = ({"model": model, "licence": one.weights_licence, "sha256": found.sha256},)
    called = tuple(names) if names is not None else _names(found, classes)
    detector.info = dataclasses.replace(detector.info, class_names=called, provenance=provenance, lineage=lineage)
    return detector.eval()


def load_official(detector: Detector, tensors: Mapping[str, Tensor]) -> None:
    """Fill ``detector`` (training form) with official tensors; nothing is changed unless all of them fit."""
    misfits = _misfits(detector, tensors)
    if misfits:
        raise BadInput(f"these tensors are not those of {detector.recipe.model} with {detector.classes} classes: {misfits}")
    one, state = family(detector.family), detector.state_dict()
    converted = {own: tensors[one.official_name(own)].to(value.dtype) for own, value in state.items()}
    check_finite({one.official_name(own): value for own, value in converted.items()}, one.inf_allowed)  # a double may not fit a float
    detector.load_state_dict(converted)


def identify(tensors: Mapping[str, Tensor], family_name: str | None = None) -> tuple[Family, str, int]:
    """Family, model name and class count of official tensors.

    The family is told by a tensor name that only it has. The model is the one whose tensors all fit in shape, or else
    the nearest: that with the fewest tensors amiss, and among equals the one nearest in the number of weights.
    """
    asked = family(family_name) if family_name else None
    matching = [one for one in families() if any(re.fullmatch(one.landmark, name) for name in tensors)]
    held = some([plain(name)[:SHOWN_LENGTH] for name in tensors])
    if not matching:
        raise BadInput(f"no family of the zoo has tensors named {held}; known are {', '.join(one.name for one in families())}")
    if asked is not None and asked.name not in [one.name for one in matching]:
        raise BadInput(f"this is no {asked.title} but {matching[0].title} by its tensors, which are named {held}; the family is then {matching[0].name!r}")
    one = matching[0] if asked is None else family(asked.name)
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    try:
        classes = one.count_classes(shapes)
    except (KeyError, IndexError, StopIteration) as error:
        what = f": {error}" if isinstance(error, KeyError) else ""
        raise BadInput(f"this is {one.title} by its tensors, but the one that counts its classes is missing or has another shape{what}") from error
    if not 1 <= classes <= MOST_CLASSES:
        raise BadInput(f"this is {one.title} by its tensors, but has {classes} classes, where 1 to {MOST_CLASSES} can be")
    nearest, least = "", (math.inf, math.inf)
    for name in one.sizes:
        distance = _distance(one, name, classes, shapes)
        if distance < least:
            nearest, least = name, distance
        if distance[0] == 0:
            break
    return one, nearest, classes


def _misfits(detector: Detector, tensors: Mapping[str, Tensor]) -> str:
    """What keeps official ``tensors`` from filling ``detector``, in words; empty if they fit."""
    one, state = family(detector.family), detector.state_dict()
    ours = {one.official_name(name): value for name, value in state.items()}
    unexpected, changed = [], []
    for name, tensor in tensors.items():
        if name not in ours:
            check = _constant(one, name)
            if check is None:
                unexpected.append(plain(name)[:SHOWN_LENGTH])
            elif not check(tensor.float()):
                changed.append(name)
    pairs = [(name, tensors[name], value) for name, value in ours.items() if name in tensors]
    return differences({
        "missing": [name for name in ours if name not in tensors],
        "unexpected": unexpected,
        "of another shape": [f"{name} {list(given.shape)} for {list(own.shape)}" for name, given, own in pairs if given.shape != own.shape],
        "of another type": [
            f"{name} {given.dtype} for {own.dtype}"
            for name, given, own in pairs
            if given.is_complex() or own.is_floating_point() > given.is_floating_point()
        ],
        "a constant with another value": changed,
    })  # fmt: skip


def _constant(one: Family, name: str) -> Any:
    """The check of an official tensor that we compute instead of store, or None if it is no such tensor."""
    return next((check for pattern, check in one.constants.items() if re.fullmatch(pattern, name)), None)


def _distance(one: Family, model: str, classes: int, shapes: Mapping[str, Sequence[int]]) -> tuple[float, float]:
    """How many tensors of ``model`` are missing from ``shapes``, left over in it or of another shape; then how many weights apart they are."""
    with torch.device("meta"):
        state = one.make(Recipe(model, classes)).state_dict()
    expected = {one.official_name(name): tuple(value.shape) for name, value in state.items()}
    left = [name for name in shapes if name not in expected and _constant(one, name) is None]
    wrong = len(left) + sum(shapes.get(name) != shape for name, shape in expected.items())
    weights = [sum(math.prod(shape) for shape in both.values()) for both in (shapes, expected)]
    return wrong, abs(weights[0] - weights[1])


def _names(found: ForeignCheckpoint, classes: int) -> tuple[str, ...]:
    """The names in the file if there is one a class, else the usual ones."""
    if found.classes is None or len(found.classes) != classes:
        return class_names(classes)
    return tuple(plain(name)[:MOST_NAME_LENGTH] or f"class {i}" for i, name in enumerate(found.classes))


def _facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a file's scalars that fit a header: short texts, finite numbers."""
    kept: dict[str, Any] = {}
    for name, value in list(facts.items())[:MOST_FACTS]:
        if isinstance(value, str):
            kept[plain(name)[:MOST_NAME_LENGTH]] = plain(value)[:MOST_FACT_LENGTH]
        elif (isinstance(value, float) and math.isfinite(value)) or (isinstance(value, int) and abs(value) < 2**63):
            kept[plain(name)[:MOST_NAME_LENGTH]] = value
    return kept
