"""Which channels of a parent's feature maps a child has kept: the child's maps are a selection of the parent's."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from workbench.errors import BadInput
from zoo.detector import Detector, Recipe
from zoo.pruning.cuts import Cuts
from zoo.pruning.groups import ChannelGroups, traced_groups
from zoo.pruning.summary import uncut_network

HEAD = "head"
"""The module whose inputs are the maps."""


def kept_channels(parent: Detector, child: Detector) -> list[np.ndarray] | None:
    """The channels of the parent's levels that are the child's, int64 ``[c]`` each, ascending.

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
    """Which channels of the uncut network's levels stay, bool ``[c]`` each."""
    groups, maps = _trace_uncut(dataclasses.replace(recipe, cuts=Cuts()))
    kept = groups.kept_units(recipe.cuts)
    return [kept[units] for units in maps]


@functools.lru_cache(maxsize=4)
def _trace_uncut(recipe: Recipe) -> tuple[ChannelGroups, list[np.ndarray]]:
    """The channel groups, and the units of the channels of the levels."""
    groups, tracer = traced_groups(uncut_network(recipe))
    units = tracer.components()
    inputs = [labels for path, side, labels in tracer.calls if (path, side) == (HEAD, "in")]
    return groups, [units[labels.rows[0, :, 0, 0].numpy()] for labels in inputs]
