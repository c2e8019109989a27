"""Takes over the weights of one detector into another of the same family with other widths, depths or kernels.

Tensors are paired by the paths of their modules (``inheriting.pairs``) and their channels by channel groups
(``inheriting.channels``): a narrower layer takes the most important units, a wider one takes all and doubles some, so
that the function stays the same (Net2Net, Chen et al. 2016). Residual blocks that the source does not have start as the
identity. What remains keeps the target's own weights.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from workbench.errors import BadInput
from workbench.files import file_sha256
from zoo.detector import Detector, Recipe
from zoo.families.parts.resnet_vd import FrozenBatchNorm2d
from zoo.layers import ConvBN
from zoo.pruning.apply import apply_cuts
from zoo.pruning.cuts import Cuts
from zoo.pruning.groups import ChannelGroups, channel_groups
from zoo.weights.checkpoint import load
from zoo.weights.inheriting.channels import ChannelMaps, Network, channel_maps, network_of, reads_channels
from zoo.weights.inheriting.classes import class_axes
from zoo.weights.inheriting.compare import output_change
from zoo.weights.inheriting.norms import unit_norms
from zoo.weights.inheriting.pairs import TensorPairs, tensor_pairs
from zoo.weights.inheriting.report import Inherited
from zoo.weights.inheriting.values import take_over
from zoo.weights.licence import own_licence
from zoo.weights.lineage import lineage_with

ALIVE = 1e-6
"""Bias before a ReLU that ends a branch which adds nothing: at 0 the ReLU would pass no gradient, ever."""
PARTS = ("backbone", "neck", "head")


def inherit_file(target: Detector, path: str | Path, seed: int = 0) -> tuple[Inherited, dict[str, Any]]:
    """``inherit`` from a checkpoint; also its record: file, model, SHA-256, licence and the figures.

    The lineage of ``target`` gains the source and the source's lineage.
    """
    if Path(path).suffix != ".safetensors":
        raise BadInput(f"{str(path)!r} is no checkpoint of this workbench (.safetensors): nas zoo import makes one")
    source = load(path)
    sha256 = file_sha256(path)
    try:
        result = inherit(target, source, seed)
    except BadInput as error:
        raise BadInput(f"{str(path)!r}: {error}") from error
    licence = own_licence(source.info.provenance)
    lineage = lineage_with(target.info.lineage, source, sha256, "inherited")
    target.info = dataclasses.replace(target.info, lineage=lineage)
    return result, {"file": Path(path).name, "sha256": sha256, "licence": licence, **result.to_dict()}


@torch.no_grad()
def inherit(target: Detector, source: Detector, seed: int = 0) -> Inherited:
    """Take over the weights of ``source`` into ``target``, in place; both in training form, on the CPU.

    Class layers are matched by the classes' names. What the source does not have keeps its weights; ``seed`` is that
    of the shares of doubled channels.
    """
    _check(target, source)
    donor = _with_cuts_of(target, source)
    pairs = tensor_pairs(target, donor)
    groups, source_groups = channel_groups(target), channel_groups(donor)
    classes = class_axes(target)
    maps = _maps(target, donor, pairs, (groups, source_groups), {(name, a.axis) for name, a in classes.items()})
    for name, where in classes.items():
        if name in pairs.names:
            maps.maps[name, where.axis] = where.sources(target.info.class_names, donor.info.class_names)
    taken, used = _fill(target, donor, pairs, maps, seed)
    for path in pairs.new_blocks:
        _start_as_identity(target, path, groups)
    parameters = dict(target.named_parameters())
    change, outputs = output_change(target, source)
    return Inherited(
        model=source.recipe.model,
        taken=sum(taken.values()),
        parameters=sum(value.numel() for value in parameters.values()),
        used=sum(used.values()),
        source_parameters=sum(value.numel() for value in source.parameters()),
        random=_random(parameters, taken),
        identity=pairs.new_blocks,
        differing=maps.differing,
        classes=len(set(target.info.class_names) & set(source.info.class_names)),
        all_classes=target.classes,
        output_change=change,
        outputs=outputs,
    )


def _check(target: Detector, source: Detector) -> None:
    if source.fused:
        raise BadInput(f"{source.recipe.model} is folded for deployment and cannot be inherited: give the unfolded one")
    if target.fused:
        raise BadInput(f"{target.recipe.model} is folded for deployment and cannot inherit: give the unfolded one")
    if source.family != target.family:
        raise BadInput(
            f"{source.recipe.model} is of the family {source.family}, and {target.recipe.model} of {target.family}: "
            "weights are inherited within a family (nas distill teaches across families)"
        )


def _with_cuts_of(target: Detector, source: Detector) -> Detector:
    """The source with the target's cuts, if it is the very network that the target was cut from; else the source."""
    cuts = target.recipe.cuts
    if cuts and not source.recipe.cuts and _uncut(target.recipe) == _uncut(source.recipe):
        source = copy.deepcopy(source)
        apply_cuts(source, cuts)
    return source


def _uncut(recipe: Recipe) -> Recipe:
    arch = recipe.architecture
    name = recipe.model if arch is None else ""
    return dataclasses.replace(recipe, model=name, cuts=Cuts())


def _maps(
    target: Detector, source: Detector, pairs: TensorPairs, groups: tuple[ChannelGroups, ChannelGroups],
    without: set[tuple[str, int]],
) -> ChannelMaps:  # fmt: skip
    ours: Network = network_of(target, groups[0])
    theirs: Network = network_of(source, groups[1])
    return channel_maps(ours, theirs, pairs.names, unit_norms(source, groups[1]), without)


def _fill(
    target: Detector, source: Detector, pairs: TensorPairs, maps: ChannelMaps, seed: int
) -> tuple[dict[str, int], dict[str, int]]:
    """Write the new values; by name how many numbers of a parameter come from the source, and of how many there."""
    by_name: dict[str, dict[int, np.ndarray]] = defaultdict(dict)
    for (name, axis), channels in maps.maps.items():
        by_name[name][axis] = channels
    generator = torch.Generator().manual_seed(seed)
    theirs, parameters = source.state_dict(), dict(target.named_parameters())
    taken: dict[str, int] = {}
    used: dict[str, int] = {}
    for name, value in target.state_dict().items():
        if name not in pairs.names:
            continue
        part = take_over(
            value, theirs[pairs.names[name]], by_name[name], reads_channels(target, name, 1), generator
        )  # fmt: skip
        if part is not None:
            value.copy_(part.value)
            if name in parameters:
                taken[name] = part.numbers
                own = pairs.names[name]
                used[own] = max(used.get(own, 0), part.used)
    return taken, used


def _start_as_identity(target: Detector, path: str, groups: ChannelGroups) -> None:
    """Zero the batch norms that end a residual block's branch: those with the channels of the shortcut."""
    inside = f"{path}."
    outside = np.zeros(groups.count, dtype=bool)
    for name, by_axis in groups.axes.items():
        if not name.startswith(inside):
            for units in by_axis.values():
                outside[units] = True
    for name, part in target.get_submodule(path).named_modules():
        own = inside + name
        if isinstance(part, nn.BatchNorm2d) and outside[groups.axes[f"{own}.weight"][0]].any():
            parent = target.get_submodule(own.rpartition(".")[0])
            if isinstance(part, FrozenBatchNorm2d):  # it never learns, so the convolution before it is zero instead
                assert isinstance(parent, ConvBN)
                nn.init.zeros_(parent.conv.weight)
                continue
            nn.init.zeros_(part.weight)
            nn.init.constant_(part.bias, ALIVE if isinstance(getattr(parent, "act", None), nn.ReLU) else 0.0)


def _random(parameters: Mapping[str, nn.Parameter], taken: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Part to layer to how many of its numbers do not come from the source."""
    found: dict[str, dict[str, int]] = {part: {} for part in PARTS}
    for name, value in parameters.items():
        left = value.numel() - taken.get(name, 0)
        if left:
            layers = found[name.partition(".")[0]]
            layer = name.rpartition(".")[0]
            layers[layer] = layers.get(layer, 0) + left
    return found
