"""Which channels of a parent's feature maps a child has kept: the child's maps are a selection of the parent's."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import torch

from workbench.errors import BadInput
from zoo.detector import Detector, Recipe
from zoo.factory import build_recipe
from zoo.pruning.cuts import Cuts
from zoo.pruning.groups import meta_twin, trace_channels

HEAD = "head"
"""The module whose inputs are the maps."""


def kept_channels(parent: Detector, child: Detector) -> list[np.ndarray] | None:
    """The channels of the parent's P3, P4 and P5 that are the child's, int64 ``[c]`` each, ascending.

    Both must be cuts of one network; their numbers of classes and their forms (folded or not) do not matter. None where
    the child has a channel that the parent lacks.
    """
    of_parent, of_child = (_kept_of_uncut(detector.recipe) for detector in (parent, child))
    widths = [[len(kept) for kept in maps] for maps in (of_parent, of_child)]
    if widths[0] != widths[1]:
        raise BadInput(
            f"the feature maps of {parent.recipe.model} and {child.recipe.model} have {widths[0]} and {widths[1]} "
            "channels before any cut: a child is cut from its parent's network"
        )
    if any((inner & ~outer).any() for outer, inner in zip(of_parent, of_child, strict=True)):
        return None
    return [np.flatnonzero(inner[outer]) for outer, inner in zip(of_parent, of_child, strict=True)]


def _kept_of_uncut(recipe: Recipe) -> list[np.ndarray]:
    """Which channels of the uncut network's P3, P4 and P5 stay, bool ``[c]`` each."""
    rows, maps = _trace_uncut(dataclasses.replace(recipe, cuts=Cuts()))
    removed = np.zeros(1 + max(int(units.max(initial=-1)) for units in rows.values()), dtype=bool)
    for path, channels in recipe.cuts.channels.items():
        removed[np.delete(rows[path], list(channels))] = True
    return [~removed[units] for units in maps]


@functools.lru_cache(maxsize=4)
def _trace_uncut(recipe: Recipe) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """The units of the output channels of every layer, by path, and of the channels of P3, P4 and P5."""
    with torch.device("meta"):
        uncut = build_recipe(recipe)
    tracer, _ = trace_channels(meta_twin(uncut))
    units = tracer.components()
    rows = {
        name.removesuffix(".weight"): units[axes[0].numpy()]
        for name, axes in tracer.axes.items()
        if name.endswith(".weight") and 0 in axes
    }
    inputs = [labels for path, side, labels in tracer.calls if (path, side) == (HEAD, "in")]
    return rows, [units[labels.rows[0, :, 0, 0].numpy()] for labels in inputs]
