"""The deploy form of a network as a function of its widths: how the shape of every op follows from its channel groups.

The deploy form is traced twice at once, for its ops and for its channels. Its channels are those of the training form
where both have the same module: the input and output of every module are compared.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from search_spaces.graph import Graph
from search_spaces.ops import Op
from workbench.errors import BadInput
from zoo.graphs.trace_rules import RULES
from zoo.graphs.tracer import Tracer
from zoo.layers import SkippableBlock
from zoo.pruning.cuts import Cuts
from zoo.pruning.groups import TRACE_PX, ChannelGroups, traced_groups
from zoo.pruning.label_rules import LABEL_RULES
from zoo.pruning.labels import NONE, ChannelTracer, Labels

if TYPE_CHECKING:
    from zoo.detector import Detector

INDEX = "trace_index"
"""Attribute of a traced op: its place among the recorded labels."""


@dataclass(frozen=True, slots=True)
class Extent:
    """The length of one axis: ``fixed`` plus, for every (group, multiplicity), so many channels for a kept unit."""

    fixed: int
    terms: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class OpWidths:
    """The shapes of one op's inputs and output, as extents without the batch axis."""

    op: Op
    inputs: tuple[tuple[Extent, ...], ...]
    out: tuple[Extent, ...]
    block: str = ""
    """The skippable block that the op disappears with, or empty."""
    ends: str = ""
    """The skippable block that the op is the last activation of, or empty: it stays when the block is skipped."""
    fused_alone: bool = False
    """Whether such an activation rides on another op once its block is skipped."""


@dataclass(frozen=True, slots=True)
class NetworkWidths:
    """The deploy form at one input size, and the widths of its ops."""

    graph: Graph
    input_px: int
    ops: tuple[OpWidths, ...]
    groups: ChannelGroups


def network_widths(detector: Detector, input_px: int) -> NetworkWidths:
    """Widths of a ``zoo.detector.Detector`` in training form, at an input side in pixels."""
    groups, training = traced_groups(detector)
    graph, twin = detector.graph(input_px), detector.deploy_twin()
    image = torch.empty(1, 3, TRACE_PX, TRACE_PX, device="meta")
    channels = ChannelTracer(twin, image, LABEL_RULES)
    ops = _LabelledOps(twin, image, channels)
    with torch.no_grad(), channels.watching(), ops.naming(), channels, ops:
        outputs = [ops.index(tensor) for tensor in twin.raw_outputs(twin(image))]
    small = ops.graph(outputs, graph.name)
    if [op.kind for op in small] != [op.kind for op in graph]:
        raise BadInput(f"{graph.name}: its ops depend on the input size, so its widths cannot be followed")
    blocks = {path: detector.get_submodule(path) for path in groups.blocks}
    branches = {path: block.branch_parts for path, block in blocks.items() if isinstance(block, SkippableBlock)}
    extents = _Extents(groups, _units(training, channels))
    shapes, sources = graph.shapes(input_px), graph.input_shapes(input_px)
    fused_alone = _fused_alone(detector, groups.blocks, input_px) if branches else {}
    rows: list[OpWidths] = []
    for op, traced in zip(graph, small, strict=True):
        inputs, out = ops.recorded[traced.attrs[INDEX]]
        in_shapes = [shapes[i] if i >= 0 else sources[-1 - i] for i in op.inputs]
        rows.append(
            OpWidths(
                op,
                tuple(extents.of(labels, shape) for labels, shape in zip(inputs, in_shapes, strict=True)),
                extents.of(out, shapes[len(rows)]),
                *_block_of(op, branches),
                fused_alone=fused_alone.get(op.name, False),
            )
        )
    return NetworkWidths(graph, input_px, tuple(rows), groups)


class _LabelledOps(Tracer):
    """A tracer of ops that keeps the labels of every op's inputs and output."""

    def __init__(self, module: nn.Module, image: Tensor, channels: ChannelTracer) -> None:
        super().__init__(module, image, RULES)
        self.channels = channels
        self.recorded: list[tuple[list[Tensor], Tensor]] = []

    def add(self, kind: str, inputs: Sequence[Tensor], out: Tensor, /, **fields: object) -> None:
        """Record one op and its labels."""
        super().add(kind, inputs, out, **{INDEX: len(self.recorded)}, **fields)
        self.recorded.append(([self._rows(value) for value in inputs], self._rows(out)))

    def _rows(self, value: Tensor) -> Tensor:
        if self.channels.knows(value):
            return self.channels.labels(value).rows
        return torch.full((), NONE).expand(value.shape)


def _units(training: ChannelTracer, deployed: ChannelTracer) -> np.ndarray:
    """For every label of the deploy form the unit of the training form, or ``NONE``."""
    wanted: dict[tuple[str, str], list[Labels]] = {}
    for path, side, labels in training.calls:
        wanted.setdefault((path, side), []).append(labels)
    units, own = training.components(), deployed.components()
    unit_of = np.full(int(own.max(initial=-1)) + 1, NONE, dtype=np.int64)
    for path, side, labels in deployed.calls:
        twins = wanted.get((path, side), [])
        twin = twins.pop(0) if twins else None
        if twin is None or twin.rows.shape != labels.rows.shape:
            continue
        index = tuple(slice(0, 1) if stride == 0 else slice(None) for stride in labels.rows.stride())
        here, there = labels.rows[index].reshape(-1).numpy(), twin.rows[index].reshape(-1).numpy()
        used = (here != NONE) & (there != NONE)
        unit_of[own[here[used]]] = units[there[used]]
    return unit_of[own]


class _Extents:
    """Turns labels into extents."""

    def __init__(self, groups: ChannelGroups, unit_of_label: np.ndarray) -> None:
        self.groups = groups
        self.unit_of_label = np.append(unit_of_label, NONE)  # the last one is that of the label NONE
        self.group_of_unit = np.full(groups.count + 1, NONE, dtype=np.int64)
        for number, group in enumerate(groups.groups):
            self.group_of_unit[group.units] = number

    def of(self, labels: Tensor, shape: Sequence[int]) -> tuple[Extent, ...]:
        """Extents of a tensor with ``labels`` (batch axis included) that has ``shape`` in the graph."""
        skipped = labels.ndim - len(shape)
        return tuple(self._axis(labels, axis + skipped, int(extent)) for axis, extent in enumerate(shape))

    def _axis(self, labels: Tensor, axis: int, extent: int) -> Extent:
        if labels.shape[axis] != extent or labels.stride(axis) == 0:
            return Extent(extent)
        place = tuple(slice(None) if a == axis else 0 for a in range(labels.ndim))
        units = self.unit_of_label[labels[place].numpy()]
        if (units == units[0]).all():
            return Extent(extent)
        found = self.group_of_unit[units]
        terms = []
        for number in np.unique(found[found != NONE]):
            count, size = int((found == number).sum()), len(self.groups.groups[number])
            if count % size:
                raise BadInput(f"an op has a part of channel group {self.groups.groups[number].name!r}")
            terms.append((int(number), count // size))
        return Extent(int((found == NONE).sum()), tuple(terms))


def _fused_alone(detector: Detector, blocks: tuple[str, ...], input_px: int) -> dict[str, bool]:
    """Name of every activation to whether it is fused where all blocks are skipped."""
    bare = copy.copy(detector)
    bare.recipe = dataclasses.replace(detector.recipe, cuts=detector.recipe.cuts.then(Cuts(skipped=blocks)))
    table = bare.graph(input_px).table(input_px)
    rows = zip(table.names, table.kinds, table.fused, strict=True)
    return {name: bool(fused) for name, kind, fused in rows if kind == "act"}


def _block_of(op: Op, branches: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """``OpWidths.block`` and ``OpWidths.ends`` of an op, from the children of every block's branch."""
    for path, children in branches.items():
        if op.name == path:
            return path, ""
        if op.name.startswith(f"{path}."):
            child = op.name[len(path) + 1 :].partition(".")[0]
            return (path, "") if child in children else ("", path)
    return "", ""
