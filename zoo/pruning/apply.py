"""Cuts a network: removes channels, residual blocks and the last layers of stacks, in place."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from workbench.errors import BadInput
from zoo.layers import LayerStack, SkippableBlock, Split
from zoo.pruning.cuts import Cuts
from zoo.pruning.groups import ChannelGroups, channel_groups


def apply_cuts(module: nn.Module, cuts: Cuts, groups: ChannelGroups | None = None) -> None:
    """Cut ``module`` (training form, uncut), in place; ``groups`` are its channel groups if they are known.

    Weights stay what they are: the result computes what ``module`` computes with the removed channels at zero.
    """
    groups = channel_groups(module) if groups is None else groups
    kept = groups.kept_units(cuts)
    for path in cuts.skipped:
        if path not in groups.blocks:
            raise BadInput(f"cuts: {path[:80]!r} is no residual block that can be skipped")
    for path, depth in cuts.depths.items():
        if not 1 <= depth <= groups.stacks.get(path, 0):
            raise BadInput(f"cuts: {path[:80]!r} is no stack of at least {depth} layers")
    for name, axes in groups.axes.items():
        _keep_channels(module, name, axes, kept)
    for path, parts in groups.splits.items():
        split = module.get_submodule(path)
        assert isinstance(split, Split)
        split.sizes = [int(kept[part].sum()) for part in parts]
    for path in cuts.skipped:
        block = module.get_submodule(path)
        assert isinstance(block, SkippableBlock)
        block.skip()
    for path, depth in cuts.depths.items():
        stack = module.get_submodule(path)
        assert isinstance(stack, LayerStack)
        if depth < stack.depth:
            stack.keep_layers(depth)


def _keep_channels(module: nn.Module, name: str, axes: Mapping[int, np.ndarray], kept: np.ndarray) -> None:
    """Remove channels of one parameter or buffer, and tell its layer the new numbers."""
    path, _, own = name.rpartition(".")
    layer = module.get_submodule(path)
    value: Tensor = getattr(layer, own)
    changed = False
    for axis, units in axes.items():
        stays = kept[units]
        if not stays.all():
            value = value.detach().index_select(axis, torch.as_tensor(np.flatnonzero(stays), device=value.device))
            changed = True
    if not changed:
        return
    if own in layer._parameters:
        layer._parameters[own] = nn.Parameter(value, requires_grad=getattr(layer, own).requires_grad)
    else:
        layer._buffers[own] = value
    if own == "weight":
        _set_sizes(layer, value)


def _set_sizes(layer: nn.Module, weight: Tensor) -> None:
    """The numbers of channels that a layer states about itself."""
    if isinstance(layer, nn.Conv2d):
        if layer.groups > 1:
            layer.groups = layer.groups * weight.shape[0] // layer.out_channels
        layer.out_channels, layer.in_channels = weight.shape[0], weight.shape[1] * layer.groups
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = weight.shape
    elif isinstance(layer, nn.BatchNorm2d):
        layer.num_features = weight.shape[0]
    else:
        raise BadInput(f"layers of type {type(layer).__name__} cannot be cut yet")


def zero_units(module: nn.Module, groups: ChannelGroups, cuts: Cuts) -> None:
    """Set the channels that ``cuts`` remove to zero, in place, without changing a shape. Blocks and depths stay."""
    kept = groups.kept_units(cuts)
    with torch.no_grad():
        for name, axes in groups.axes.items():
            path, _, own = name.rpartition(".")
            if own in ("running_mean", "running_var"):
                continue
            value: Tensor = getattr(module.get_submodule(path), own)
            for axis, units in axes.items():
                gone = torch.as_tensor(np.flatnonzero(~kept[units]), device=value.device)
                value.index_fill_(axis, gone, 0.0)
