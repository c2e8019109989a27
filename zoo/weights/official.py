"""Official checkpoints as our detectors, by tensor name: missing, unexpected and mis-shaped tensors are reported."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from search_spaces.architecture import Architecture
from workbench.errors import BadInput
from zoo.detector import Detector, Recipe, class_names
from zoo.factory import build_recipe
from zoo.families import SEARCHED, families, find_family
from zoo.families.card import weights_licence
from zoo.families.family import Family
from zoo.meta import without_weights
from zoo.weights.checkpoint import KEY
from zoo.weights.foreign import ForeignCheckpoint, check_finite, read_foreign
from zoo.weights.manifest import MAX_CLASSES, MAX_NAME_LENGTH
from zoo.weights.text import describe_differences, printable, summarize

MAX_SHOWN_LENGTH = 120
"""Characters of a file's tensor name that an error message shows."""
MAX_FACTS = 100
MAX_FACT_LENGTH = 1_000
"""Characters kept of a text among a file's facts."""


def import_official(
    path: str | Path,
    family_name: str | None = None,
    architecture: Architecture | None = None,
    names: Sequence[str] | None = None,
) -> Detector:
    """The detector of an official checkpoint, in training form and evaluation mode, with its provenance and lineage.

    Args:
        path: the official file. Nothing in it is executed.
        family_name: family, where the file's tensors fit several.
        architecture: architecture of a DAMO-YOLO checkpoint with a searched backbone.
        names: class names; without them those in the file, else COCO's for 80 classes, else numbered ones.
    """
    if architecture is not None and family_name not in (None, SEARCHED):
        raise BadInput(
            f"an architecture makes a detector of the family {SEARCHED!r}, not {family_name!r}: give one of the two"
        )
    checkpoint = read_foreign(path)
    try:
        if checkpoint.source == "(top level)" and str(checkpoint.facts.get(KEY, "")).startswith("{"):
            raise BadInput("it is one of this workbench's checkpoints already: use it as it is")
        known = _family_of(checkpoint.tensors, SEARCHED if architecture is not None else family_name)
        tensors = {known.from_alias(name): value for name, value in checkpoint.tensors.items()}
        family, recipe = _recipe_of(tensors, family_name, architecture, names)
        detector = build_recipe(recipe)
        load_official(detector, tensors)
    except BadInput as error:
        raise BadInput(f"{str(path)!r}: {error}") from error
    licence = weights_licence(family.name)
    detector.info = dataclasses.replace(
        detector.info,
        class_names=tuple(names) if names is not None else _class_names(checkpoint, recipe.classes),
        provenance={
            "file": printable(Path(path).name),
            "sha256": checkpoint.sha256,
            "read_from": checkpoint.source,
            "family": family.name,
            "licence": licence,
            "facts": _facts(checkpoint.facts),
        },
        lineage=({"model": recipe.model, "licence": licence, "sha256": checkpoint.sha256},),
    )
    return detector.eval()


def _recipe_of(
    tensors: Mapping[str, Tensor],
    family_name: str | None,
    architecture: Architecture | None,
    names: Sequence[str] | None,
) -> tuple[Family, Recipe]:
    """The family and the recipe that official tensors fit; checked on the meta device, before memory is used."""
    family, model, classes = identify(tensors, SEARCHED if architecture is not None else family_name)
    if names is not None and len(names) != classes:
        raise BadInput(f"it has {classes} classes, and {len(names)} names were given for them")
    if architecture is not None:
        model = architecture.name or architecture.digest()
        if architecture.head is not None:
            head = dataclasses.replace(architecture.head, classes=classes)
            architecture = dataclasses.replace(architecture, head=head)
    check_finite(tensors, family.inf_allowed)
    recipe = Recipe(model, classes, architecture)
    with without_weights():
        misfits = _misfits(build_recipe(recipe), tensors)
    if misfits:
        what = (
            f"no {family.title} has these tensors; the nearest is {model}"
            if architecture is None
            else f"these tensors are not those of architecture {model}"
        )
        raise BadInput(f"{what} with {classes} classes, against which there are {misfits}")
    return family, recipe


def load_official(detector: Detector, tensors: Mapping[str, Tensor]) -> None:
    """Load official tensors into ``detector`` (training form); it stays unchanged unless all of them fit."""
    misfits = _misfits(detector, tensors)
    if misfits:
        model = detector.recipe.model
        raise BadInput(f"these tensors are not those of {model} with {detector.classes} classes: {misfits}")
    family, state = find_family(detector.family), detector.state_dict()
    converted = {name: tensors[family.official_name(name)].to(value.dtype) for name, value in state.items()}
    # a finite double may overflow in float32
    check_finite({family.official_name(name): value for name, value in converted.items()}, family.inf_allowed)
    detector.load_state_dict(converted)


def identify(tensors: Mapping[str, Tensor], family_name: str | None = None) -> tuple[Family, str, int]:
    """Family, model name and number of classes of official tensors.

    The family follows from a tensor name that only it has. The model is the one whose tensor shapes all fit, or else
    the nearest: the one with the fewest misfits, and among equals the nearest in number of weights.
    """
    family = _family_of(tensors, family_name)
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    what = f"this is {family.title} by its tensors, but"
    try:
        classes = family.count_classes(shapes)
    except (KeyError, IndexError, StopIteration) as error:
        name = f": {error}" if isinstance(error, KeyError) else ""
        raise BadInput(f"{what} the one that counts its classes is missing or has another shape{name}") from error
    if not 1 <= classes <= MAX_CLASSES:
        raise BadInput(f"{what} has {classes} classes, where 1 to {MAX_CLASSES} can be")
    nearest, least = "", (math.inf, math.inf)
    for name in family.sizes:
        distance = _distance(family, name, classes, shapes)
        if distance < least:
            nearest, least = name, distance
        if distance[0] == 0:
            break
    return family, nearest, classes


def _family_of(tensors: Mapping[str, Tensor], family_name: str | None) -> Family:
    """The family whose landmark is among the tensor names; ``family_name`` chooses where several are."""
    requested = find_family(family_name) if family_name else None
    known = families()
    matching = [family for family in known if any(re.fullmatch(family.landmark, name) for name in tensors)]
    shown = summarize([printable(name)[:MAX_SHOWN_LENGTH] for name in tensors])
    if not matching:
        names = ", ".join(family.name for family in known)
        raise BadInput(f"no family of the zoo has tensors named {shown}; known are {names}")
    if requested is None:
        return matching[0]
    if requested.name not in [family.name for family in matching]:
        raise BadInput(
            f"this is no {requested.title} but {matching[0].title} by its tensors, which are named {shown}; "
            f"the family is then {matching[0].name!r}"
        )
    return requested


def _misfits(detector: Detector, tensors: Mapping[str, Tensor]) -> str:
    """Why official ``tensors`` do not fit ``detector``, in words; empty if they fit."""
    family, state = find_family(detector.family), detector.state_dict()
    expected = {family.official_name(name): value for name, value in state.items()}
    unexpected, changed = [], []
    for name, tensor in tensors.items():
        if name not in expected:
            check = family.constant_check(name)
            if check is None:
                unexpected.append(printable(name)[:MAX_SHOWN_LENGTH])
            elif not check(tensor.float()):
                changed.append(name)
    pairs = [(name, tensors[name], value) for name, value in expected.items() if name in tensors]
    return describe_differences({
        "missing": [name for name in expected if name not in tensors],
        "unexpected": unexpected,
        "of another shape": [
            f"{name} {list(tensor.shape)} for {list(ours.shape)}"
            for name, tensor, ours in pairs
            if tensor.shape != ours.shape
        ],
        "of another type": [
            f"{name} {tensor.dtype} for {ours.dtype}"
            for name, tensor, ours in pairs
            if tensor.is_complex() or ours.is_floating_point() > tensor.is_floating_point()
        ],
        "a constant with another value": changed,
    })


def _distance(
    family: Family, model: str, classes: int, shapes: Mapping[str, Sequence[int]]
) -> tuple[float, float]:
    """Number of tensors of ``model`` missing from ``shapes``, unexpected in it or of another shape; then the
    difference in the number of weights."""
    with without_weights():
        state = family.make(Recipe(model, classes)).state_dict()
    expected = {family.official_name(name): tuple(value.shape) for name, value in state.items()}
    unexpected = [name for name in shapes if name not in expected and family.constant_check(name) is None]
    wrong = len(unexpected) + sum(shapes.get(name) != shape for name, shape in expected.items())
    weights = [sum(math.prod(shape) for shape in table.values()) for table in (shapes, expected)]
    return wrong, abs(weights[0] - weights[1])


def _class_names(checkpoint: ForeignCheckpoint, classes: int) -> tuple[str, ...]:
    """The names in the file if there is one a class, else the default ones."""
    if checkpoint.classes is None or len(checkpoint.classes) != classes:
        return class_names(classes)
    return tuple(
        printable(name)[:MAX_NAME_LENGTH] or f"class {index}" for index, name in enumerate(checkpoint.classes)
    )


def _facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The scalars of a file that fit into a header: short texts, finite numbers of at most 64 bits."""
    fitting: dict[str, Any] = {}
    for name, value in list(facts.items())[:MAX_FACTS]:
        key = printable(name)[:MAX_NAME_LENGTH]
        if isinstance(value, str):
            fitting[key] = printable(value)[:MAX_FACT_LENGTH]
        elif (isinstance(value, float) and math.isfinite(value)) or (isinstance(value, int) and abs(value) < 2**63):
            fitting[key] = value
    return fitting
