"""Checkpoints of cut detectors, as a shrinking run writes them."""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
from pathlib import Path

import numpy as np
from torch import nn

from zoo.detector import Detector, Recipe
from zoo.factory import build_recipe
from zoo.pruning.apply import apply_cuts
from zoo.pruning.cuts import Cuts
from zoo.pruning.groups import ChannelGroups, channel_groups
from zoo.pruning.lineage import child_info
from zoo.weights.checkpoint import load, save

AGPL_PROVENANCE = {"licence": "AGPL-3.0", "sha256": "ab" * 32, "family": "yolo11"}
AGPL_LINEAGE = ({"model": "yolo11n", "licence": "AGPL-3.0", "sha256": "ab" * 32},)
"""What official weights under the AGPL say of themselves."""


def stir_norms(detector: Detector) -> Detector:
    """Give every batch norm random numbers, so that it does something; in place."""
    for part in detector.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None and part.running_var is not None
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
            part.weight.data.uniform_(0.5, 1.5)
            part.bias.data.normal_(0, 0.1)
    return detector


def some_cuts(groups: ChannelGroups, share: float, skip_first: bool = True) -> Cuts:
    """The first ``share`` of every group stays; the first block that can be skipped is."""
    kept = {group.name: np.arange(max(1, round(share * len(group)))) for group in groups.groups}
    return groups.cuts_of(kept, groups.blocks[:1] if skip_first else ())


@functools.cache
def groups_of(recipe: Recipe) -> ChannelGroups:
    """The channel groups of a recipe's network, which take a second to trace."""
    return channel_groups(build_recipe(recipe))


def child_of(parent: Detector, parent_sha256: str, share: float = 0.5) -> Detector:
    """A detector with some channels of ``parent`` and without its first block."""
    groups = groups_of(parent.recipe)
    cuts = some_cuts(groups, share)
    child = copy.deepcopy(parent)
    apply_cuts(child, cuts, groups)
    child.recipe = dataclasses.replace(parent.recipe, cuts=parent.recipe.cuts.then(cuts))
    child.info = child_info(parent, parent_sha256)
    return child


def cut_file(parent: Path, out: Path, share: float = 0.5) -> Path:
    """Cut the checkpoint ``parent``, and write the child to ``out``."""
    child = child_of(load(parent), hashlib.sha256(parent.read_bytes()).hexdigest(), share)
    save(child, out)
    return out
