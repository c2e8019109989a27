"""From a model's name or a recipe to a detector with fresh weights."""

from __future__ import annotations

import dataclasses

from zoo.detector import Detector, Recipe
from zoo.families import SEARCHED, find_family
from zoo.families.card import find_card
from zoo.families.family import Family
from zoo.pruning.apply import apply_cuts


def family_of(model: str) -> tuple[Family, str]:
    """The family of ``model`` (a name or an alias), and the model's own name."""
    card = find_card(model)
    return find_family(card.family), card.model


def build(model: str, classes: int = 80) -> Detector:
    """A detector by name, with fresh weights, in training form."""
    return build_recipe(Recipe(model, classes))


def build_recipe(recipe: Recipe) -> Detector:
    """A detector from its recipe, with fresh weights, in training form, at the model's own input side."""
    if recipe.architecture is not None:
        detector = find_family(SEARCHED).make(recipe)
        if recipe.architecture.input_px is not None:
            detector.info = dataclasses.replace(detector.info, input_px=recipe.architecture.input_px)
    else:
        card = find_card(recipe.model)
        detector = find_family(card.family).make(dataclasses.replace(recipe, model=card.model))
        detector.info = dataclasses.replace(detector.info, input_px=card.input_px)
    if recipe.cuts:
        apply_cuts(detector, recipe.cuts)
    return detector
