"""Every family and model by name. A new family is one file and one line here."""

from __future__ import annotations

import dataclasses
import importlib
from typing import TYPE_CHECKING

from workbench.errors import unknown_name
from zoo.families.card import find_card

if TYPE_CHECKING:
    from zoo.detector import Detector, Family, Recipe

MODULES = {
    "damo-yolo": "damo_yolo",
    "yolox": "yolox",
    "yolov7": "yolov7",
    "yolo11": "yolo11",
    "yolo26": "yolo26",
    "rtdetrv2": "rtdetrv2",
}
"""Family name to the module of this room that holds its ``FAMILY``."""


def family(name: str) -> Family:
    """A family by name."""
    if name not in MODULES:
        raise unknown_name("detector family", name, MODULES)
    found: Family = importlib.import_module(f"zoo.families.{MODULES[name]}").FAMILY
    return found


def families() -> list[Family]:
    """All families, in the order of the list."""
    return [family(name) for name in MODULES]


def family_of(model: str) -> tuple[Family, str]:
    """The family that builds ``model``, and the model's own name when an alias was given."""
    card = find_card(model)
    return family(card.family), card.model


def build(model: str, classes: int = 80) -> Detector:
    """A detector by name, with fresh weights, in training form."""
    from zoo.detector import Recipe

    return build_recipe(Recipe(model, classes))


def build_recipe(recipe: Recipe) -> Detector:
    """A detector from its recipe, with fresh weights, in training form, at the model's published input size."""
    if recipe.architecture is not None:
        return family("damo-yolo").make(recipe)
    found, name = family_of(recipe.model)
    detector = found.make(dataclasses.replace(recipe, model=name))
    if name in found.input_px:
        detector.info = dataclasses.replace(detector.info, input_px=found.input_px[name])
    return detector
