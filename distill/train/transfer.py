"""Weights for new classes: a detector is built again for the data's class map and takes over every tensor that fits."""

from __future__ import annotations

import dataclasses

from distill.data.classes import ClassMap
from zoo.detector import Detector, Recipe
from zoo.factory import build_recipe
from zoo.pruning.summary import uncut_network


def adapt_classes(detector: Detector, classes: ClassMap) -> tuple[Detector, list[str]]:
    """A detector like ``detector`` with the class map ``classes``, and the names of tensors that are initialized anew.

    With the same class names all weights stay. New tensors come from torch's global random numbers. A cut detector
    stays cut; a layer whose width depends on the number of classes, as in YOLO11's class branches, keeps as many
    channels as before, or all that there are.
    """
    if detector.info.class_names == classes.names:
        detector.info = dataclasses.replace(detector.info, category_ids=classes.original_ids)
        return detector, []
    adapted = build_recipe(fit_cuts(dataclasses.replace(detector.recipe, classes=len(classes))))
    old, new = detector.state_dict(), adapted.state_dict()
    fresh = [name for name, value in new.items() if name not in old or old[name].shape != value.shape]
    if len(classes) == detector.classes:
        fresh = []  # the same sizes under other names: the last layers continue from their weights
    adapted.load_state_dict({name: value if name in fresh else old[name] for name, value in new.items()})
    adapted.info = dataclasses.replace(detector.info, class_names=classes.names, category_ids=classes.original_ids)
    return adapted, fresh


def fit_cuts(recipe: Recipe) -> Recipe:
    """``recipe`` with cuts that its network allows, if they were made at another number of classes."""
    if not recipe.cuts.channels:
        return recipe
    uncut = uncut_network(recipe)
    channels = dict(recipe.cuts.channels)
    for path, kept in recipe.cuts.channels.items():
        width = uncut.get_submodule(path).get_parameter("weight").shape[0]
        if kept[-1] >= width:
            channels[path] = tuple(range(min(len(kept), width)))
    return dataclasses.replace(recipe, cuts=dataclasses.replace(recipe.cuts, channels=channels))
