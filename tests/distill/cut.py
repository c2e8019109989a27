"""A detector's child with a random part of its channels."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np

from zoo.detector import Detector
from zoo.pruning.apply import apply_cuts
from zoo.pruning.groups import channel_groups


def cut_child(parent: Detector, share: float = 0.6, seed: int = 0) -> Detector:
    """A copy of ``parent`` that keeps ``share`` of the units of every channel group, with their weights."""
    random = np.random.default_rng(seed)
    groups = channel_groups(parent)
    cuts = groups.cuts_of({
        g.name: np.sort(random.choice(len(g), max(1, int(share * len(g))), replace=False)) for g in groups.groups
    })  # fmt: skip
    child = copy.deepcopy(parent)
    apply_cuts(child, cuts, groups)
    child.recipe = dataclasses.replace(parent.recipe, cuts=parent.recipe.cuts.then(cuts))
    return child
