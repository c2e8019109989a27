"""Channel groups of a network: units of channels that are removed together, and groups of parallel units."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from workbench.errors import BadInput
from zoo.graphs.tracer import tensors_in
from zoo.layers import LayerStack, SkippableBlock
from zoo.pruning.cuts import Cuts
from zoo.pruning.label_rules import LABEL_RULES
from zoo.pruning.labels import NONE, ChannelTracer

TRACE_PX = 32
"""Side of the image that channels are traced with: enough for every stride."""


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Parallel units: sets of channels of several layers, each of which stays or goes as a whole."""

    name: str
    """The layer whose output channels come first, and the first of them: ``backbone.stem:0``."""
    layer: str
    """Path of this layer."""
    units: np.ndarray
    """Numbers of the units in ``ChannelGroups.unit_of``, int64 ``[n]``, in the order of the layer's channels."""
    channels: np.ndarray
    """Output channels of ``layer`` in every unit, int64 ``[n, m]``: m is 1, or the channels of an attention head."""
    block: str = ""
    """Path of the outermost skippable block that the group lies inside of, or empty."""

    def __len__(self) -> int:
        return len(self.units)


@dataclass(frozen=True, slots=True)
class ChannelGroups:
    """All channel groups of a network, and where its parameters have their channels."""

    groups: tuple[ChannelGroup, ...]
    """Those that can be cut, in the order of execution."""
    axes: Mapping[str, Mapping[int, np.ndarray]]
    """Tensor name to axis to the unit of every channel along it, int64 ``[channels]``."""
    count: int
    """Number of units, those that cannot be cut included."""
    splits: Mapping[str, tuple[np.ndarray, ...]]
    """Path of every ``Split`` to the units of its parts."""
    blocks: tuple[str, ...]
    """Paths of the residual blocks that can be skipped, outermost ones only."""
    stacks: Mapping[str, int]
    """Path of a stack of layers to how many of its layers prediction runs."""

    def kept_units(self, cuts: Cuts) -> np.ndarray:
        """Which units the channels of ``cuts`` keep, bool ``[count]``; ``BadInput`` for channels that cannot go so."""
        kept = np.ones(self.count, dtype=bool)
        by_layer: dict[str, list[ChannelGroup]] = {}
        for group in self.groups:
            by_layer.setdefault(group.layer, []).append(group)
        for path, channels in cuts.channels.items():
            if path not in by_layer:
                raise BadInput(f"cuts: {path[:80]!r} is no layer whose channels can be cut")
            self._cut_layer(path, by_layer[path], channels, kept)
        return kept

    def _cut_layer(self, path: str, groups: list[ChannelGroup], channels: tuple[int, ...], kept: np.ndarray) -> None:
        rows = self.axes[f"{path}.weight"][0]
        if channels and channels[-1] >= len(rows):
            raise BadInput(f"cuts: {path!r} has {len(rows)} output channels, there is no channel {channels[-1]}")
        stays = np.zeros(len(rows), dtype=bool)
        stays[list(channels)] = True
        cuttable = np.zeros(len(rows), dtype=bool)
        for group in groups:
            inside = stays[group.channels]
            cuttable[group.channels.reshape(-1)] = True
            if (inside.any(1) != inside.all(1)).any():
                raise BadInput(f"cuts: {path!r} keeps a part of channels that can only go together")
            if not inside.any():
                raise BadInput(f"cuts: nothing of channel group {group.name!r} would stay; at least one unit must")
            kept[group.units] = inside.all(1)
        if not stays[~cuttable].all():
            raise BadInput(f"cuts: {path!r} would lose channels that cannot be cut")

    def cuts_of(
        self, kept: Mapping[str, np.ndarray], skipped: Sequence[str] = (), depths: Mapping[str, int] | None = None
    ) -> Cuts:
        """The cuts that keep some units (indices, ascending) of groups, by the groups' names; all of the others."""
        gone = tuple(f"{path}." for path in skipped)
        removed: dict[str, set[int]] = {}
        for group in self.groups:
            if group.name in kept and not (gone and group.layer.startswith(gone)):
                out = np.setdiff1d(np.arange(len(group)), kept[group.name])
                if len(out):
                    removed.setdefault(group.layer, set()).update(int(c) for c in group.channels[out].reshape(-1))
        channels = {
            path: tuple(c for c in range(len(self.axes[f"{path}.weight"][0])) if c not in out)
            for path, out in sorted(removed.items())
        }
        return Cuts(channels, tuple(sorted(skipped)), dict(sorted((depths or {}).items())))


def channel_groups(module: nn.Module) -> ChannelGroups:
    """Trace ``module`` (training form, any device; it is not changed) and group its channels."""
    return traced_groups(module)[0]


def traced_groups(module: nn.Module) -> tuple[ChannelGroups, ChannelTracer]:
    """The channel groups of ``module``, and the tracer that followed its channels."""
    twin = meta_twin(module)
    tracer, outputs = trace_channels(twin)
    units = tracer.components()
    axes = {name: {axis: units[labels.numpy()] for axis, labels in by.items()} for name, by in tracer.axes.items()}
    splits = {path: tuple(units[part] for part in parts) for path, parts in tracer.splits.items()}
    blocks = _outermost(
        path
        for path, part in twin.named_modules()
        if isinstance(part, SkippableBlock) and part.skippable and not part.skipped
    )
    stacks = {path: part.depth for path, part in twin.named_modules() if isinstance(part, LayerStack)}
    count = int(units.max(initial=-1)) + 1
    fixed = np.ones(count, dtype=bool)
    fixed[[unit for by in axes.values() for unit in by.get(0, ())]] = False  # a unit without rows is never computed
    fixed[units[outputs]] = True
    groups = _group(tracer, units, fixed, blocks)
    return ChannelGroups(groups, axes, count, splits, blocks, stacks), tracer


def meta_twin(module: nn.Module) -> nn.Module:
    """A copy of ``module`` on the meta device, as ``trace_channels`` takes it: in training form and mode."""
    twin = copy.deepcopy(module).to("meta").train()
    for part in twin.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()  # in training mode it is slow on the meta device
    return twin


def trace_channels(twin: nn.Module) -> tuple[ChannelTracer, np.ndarray]:
    """Run a module that is on the meta device; the tracer, and the labels of all output channels."""
    image = torch.empty(1, 3, TRACE_PX, TRACE_PX, device="meta")
    tracer = ChannelTracer(twin, image, LABEL_RULES)
    with torch.no_grad(), tracer.watching(), tracer:
        result = twin(image)
    outputs = np.unique(np.concatenate([tracer.labels(value).rows.unique().numpy() for value in tensors_in(result)]))
    return tracer, outputs[outputs != NONE]


def _group(
    tracer: ChannelTracer, units: np.ndarray, fixed: np.ndarray, blocks: tuple[str, ...]
) -> tuple[ChannelGroup, ...]:
    """Units that have as many channels on the same axes of the same tensors are parallel."""
    random = np.random.default_rng(0)
    signature = np.zeros(len(fixed), dtype=np.uint64)
    owner: dict[int, tuple[str, int]] = {}
    for name, by_axis in tracer.axes.items():
        for axis, labels in by_axis.items():
            key = random.integers(1, 2**63, dtype=np.uint64)
            np.add.at(signature, units[labels.numpy()], key)
            if axis == 0 and len(by_axis) == 2:
                owner |= {int(label): (name, i) for i, label in enumerate(labels.tolist())}
    first = np.full(len(fixed), len(units), dtype=np.int64)
    np.minimum.at(first, units, np.arange(len(units)))
    members: dict[tuple[int, str], list[int]] = {}
    for unit in np.argsort(first, kind="stable"):
        if not fixed[unit] and int(first[unit]) in owner:
            members.setdefault((int(signature[unit]), owner[int(first[unit])][0]), []).append(int(unit))
    return tuple(
        _channel_group(tracer, units, np.array(parallel), tensor, blocks)
        for (_, tensor), parallel in members.items()
        if len(parallel) > 1
    )


def _channel_group(
    tracer: ChannelTracer, units: np.ndarray, parallel: np.ndarray, tensor: str, blocks: tuple[str, ...]
) -> ChannelGroup:
    """The group of some units whose channels come first in the rows of ``tensor``."""
    rows = units[tracer.axes[tensor][0].numpy()]
    channels = np.array([np.flatnonzero(rows == unit) for unit in parallel])
    layer = tensor.rpartition(".")[0]
    inside = [path for path in blocks if layer.startswith(f"{path}.")]
    return ChannelGroup(f"{layer}:{channels.min()}", layer, parallel, channels, inside[0] if inside else "")


def _outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """Paths that lie in no other of them."""
    chosen: list[str] = []
    for path in sorted(paths):
        if not any(path.startswith(f"{other}.") for other in chosen):
            chosen.append(path)
    return tuple(chosen)
