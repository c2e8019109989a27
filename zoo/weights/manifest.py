"""What a checkpoint's header says about its detector, as plain data that is checked field by field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from search_spaces.architecture import Architecture
from workbench.errors import BadInput
from zoo.detector import Detector, Info, Recipe
from zoo.families.card import find_card
from zoo.pruning.cuts import Cuts
from zoo.weights.text import one_line, shorten

FORMAT = "nas-checkpoint-1"
MAX_CLASSES = 100_000
MAX_NAME_LENGTH = 200
"""Characters of a model's or a class's name."""
MOST_OWN_PX = 4096
"""Largest side that a checkpoint may state as its own: whoever opens it does not choose the memory that it takes."""
LEAST_PX, MOST_PX = 64, 8192
"""Smallest and largest input side in pixels."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """How to rebuild a detector, and the form its stored weights are in."""

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
            **({"cuts": self.recipe.cuts.to_dict()} if self.recipe.cuts else {}),
            "fused": self.fused,
            "branch": self.branch,
            "info": {
                "class_names": list(info.class_names),
                "input_px": info.input_px,
                "provenance": dict(info.provenance),
                "lineage": [dict(ancestor) for ancestor in info.lineage],
                "category_ids": list(info.category_ids),
            },
        }

    @classmethod
    def from_dict(cls, data: Any) -> Manifest:
        """Build from plain data; a wrong field raises ``BadInput`` with its name and the rule."""
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            version = data.get("format") if isinstance(data, dict) else data
            raise BadInput(f"its format is {_shown(version)}, and this version reads only {FORMAT!r}")
        recipe = _recipe(data)
        stride = 32 if recipe.architecture is None else recipe.architecture.level_strides[-1]
        info = _info(_mapping("info", data.get("info")), recipe.classes, stride)
        fused = data.get("fused")
        if not isinstance(fused, bool):
            raise BadInput(f"fused {_shown(fused)} must be true or false")
        return cls(recipe, fused, _name("branch", data.get("branch")), info)


def _recipe(data: dict[str, Any]) -> Recipe:
    model, classes = _name("model", data.get("model")), _integer("classes", data.get("classes"), 1, MAX_CLASSES)
    stored = data.get("architecture")
    try:
        arch = None if stored is None else Architecture.from_dict(stored)
    except ArithmeticError as error:  # an integer too large for a float
        raise BadInput(f"architecture: {one_line(error)}") from error
    cuts = Cuts.from_dict(data["cuts"]) if "cuts" in data else Cuts()
    return Recipe(model if arch is not None else find_card(model).model, classes, arch, cuts)


def input_sides(stride: int) -> range:
    """The input sides (pixels) that a detector with this coarsest stride may have."""
    return range(LEAST_PX, MOST_PX + 1, stride)


def _info(data: dict[str, Any], classes: int, stride: int) -> Info:
    names = data.get("class_names")
    if not isinstance(names, list) or len(names) != classes:
        raise BadInput(f"{classes} classes need a list of as many class_names, not {_shown(names)}")
    input_px = _integer("input_px", data.get("input_px"), LEAST_PX, MOST_OWN_PX)
    if input_px not in input_sides(stride):
        raise BadInput(f"input_px {input_px} must be a multiple of {stride}")
    lineage = data.get("lineage")
    if not isinstance(lineage, list):
        raise BadInput(f"lineage {_shown(lineage)} must be a list")
    ids = data.get("category_ids", [])
    if not isinstance(ids, list) or len(ids) not in (0, classes) or any(type(i) is not int for i in ids):
        rule = f"must be a list of whole numbers, one for each of {classes} classes, or empty"
        raise BadInput(f"category_ids {_shown(ids)} {rule}")
    return Info(
        class_names=tuple(_name(f"class_names[{i}]", name) for i, name in enumerate(names)),
        input_px=input_px,
        provenance=_mapping("provenance", data.get("provenance")),
        lineage=tuple(_mapping(f"lineage[{i}]", ancestor) for i, ancestor in enumerate(lineage)),
        category_ids=tuple(ids),
    )


def _name(what: str, value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= MAX_NAME_LENGTH:
        raise BadInput(f"{what} {_shown(value)} must be a text of 1 to {MAX_NAME_LENGTH} printable characters")
    return value


def _integer(what: str, value: Any, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise BadInput(f"{what} {_shown(value)} must be a whole number from {low} to {high}")
    return value


def _mapping(what: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInput(f"{what} {_shown(value)} must be a table")
    return value


def _shown(value: Any) -> str:
    """Data of a file for an error message."""
    return shorten(ascii(value))
