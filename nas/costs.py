"""Costs of Graphs and of whole populations: FLOPs, parameters, activations, layers, latency.

``graph_costs`` costs one Graph. ``SpaceCosts`` costs rows of a Space, thousands at once, stage by stage, through
the same lowering with arrays in place of ints. All costs are integers (FLOPs, parameters, bytes, layers, latency in
the profile's ticks), so sums are exact in any order and equal costs compare as equal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nas.budgets import ACT, FLOPS, LATENCY, LAYERS, PARAMS, QUANTITIES, Budget, latency_on
from nas.row_memo import RowMemo
from search_spaces.architecture import Architecture, Head, Neck
from search_spaces.blocks import BLOCK_KINDS
from search_spaces.blocks.base import BlockKind, StageNumbers
from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder
from search_spaces.lowering import count_layers, lower, lower_neck_head, lower_stem, stage_flags
from search_spaces.op_table import OpTable
from search_spaces.ops import Num
from search_spaces.space import BTN, DEPTH, OUT, K, Space
from search_spaces.tail_choices import TailChoices
from workbench.errors import BadInput

if TYPE_CHECKING:
    from nas.devices.profile import DeviceProfile

ACTIVATION_BYTES = 2
"""Bytes of one activation number (FP16)."""


def latency_profiles(device: DeviceProfile | Sequence[DeviceProfile] | None) -> dict[str, DeviceProfile]:
    """Profiles by the name of their cost: ``latency_ms`` for one device, else ``latency_ms@device`` for each."""
    profiles = [] if device is None else list(device) if isinstance(device, Sequence) else [device]
    if len(profiles) == 1:
        return {LATENCY: profiles[0]}
    named = {latency_on(profile.name): profile for profile in profiles}
    if len(named) < len(profiles):
        raise BadInput(f"a device is named twice: {', '.join(p.name for p in profiles)}")
    return named


def budget_cost(profiles: Mapping[str, DeviceProfile], budget: Budget) -> str:
    """The cost that a budget limits; a latency budget must name its device where there are several."""
    if budget.quantity != LATENCY:
        if budget.device is not None:
            raise BadInput(f"budget {budget}: only a latency belongs to a device; leave out {budget.device}:")
        return budget.quantity
    devices = {profile.name: name for name, profile in profiles.items()}
    if not devices:
        raise BadInput(f"budget {budget} needs a device: add --device t4 (see `nas devices`)")
    if budget.device is None:
        if len(devices) > 1:
            example = f"{next(iter(devices))}:{budget}"
            raise BadInput(f"budget {budget} names no device, and there are {len(devices)}: write {example}")
        return LATENCY
    if budget.device not in devices:
        known = " --device ".join(devices)
        raise BadInput(f"budget {budget} is for device {budget.device!r}, but the search has --device {known}")
    return devices[budget.device]


def whole_limit(budget: Budget, unit: float) -> tuple[int, int]:
    """Lowest and highest whole number of ``unit`` within a budget."""
    # A budget of 3 ms means at most 3.0000 ms: round towards the inside, with room for binary fractions.
    return max(0, int(np.ceil(budget.low / unit - 1e-6))), int(np.floor(budget.high / unit + 1e-6))


def table_costs(table: OpTable, profiles: Mapping[str, DeviceProfile]) -> dict[str, Num]:
    """Integer costs of a table: a scalar each, or ``[N]``.

    Latencies are in the profiles' ticks, without their fixed parts.
    """
    stored = np.where(table.fused > 0, 0.0, table.out_elems)
    costs = {
        FLOPS: 2 * table.total(table.macs),
        PARAMS: table.total(table.params),
        ACT: ACTIVATION_BYTES * table.total(stored),
    }
    for name, profile in profiles.items():
        costs[name] = table.total(profile.op_ticks(table))
    return {name: np.rint(value).astype(np.int64) for name, value in costs.items()}


@dataclass(frozen=True)
class Costs:
    """Costs of one graph in base units, and latency by part (ms) on the first device."""

    costs: dict[str, float]
    parts_ms: dict[str, float]


def graph_costs(
    graph: Graph,
    input_px: int,
    device: DeviceProfile | Sequence[DeviceProfile] | None = None,
    layers: int | None = None,
) -> Costs:
    """Cost one scalar graph at ``input_px``; ``layers`` where the caller knows them."""
    profiles = latency_profiles(device)
    size = None if graph.fixed_px else input_px
    ticks = table_costs(graph.table(size), profiles)
    costs = {name: float(value) for name, value in ticks.items() if name not in profiles}
    for name, profile in profiles.items():
        costs[name] = float(int(ticks[name]) + profile.fixed_ticks) * profile.tick_ms
    if layers is not None:
        costs[LAYERS] = float(layers)
    parts = next(iter(profiles.values())).parts_ms(graph, size) if profiles else {}
    return Costs({name: costs[name] for name in cost_names(profiles) if name in costs}, parts)


def architecture_costs(
    arch: Architecture,
    input_px: int,
    device: DeviceProfile | Sequence[DeviceProfile] | None = None,
    scope: str = "detector",
) -> Costs:
    """Cost one architecture, whole or backbone alone."""
    return graph_costs(lower(arch, scope), input_px, device, count_layers(arch))


def cost_names(profiles: Mapping[str, DeviceProfile]) -> tuple[str, ...]:
    """Every cost in the order of ``QUANTITIES``; latency once a device."""
    return tuple(n for q in QUANTITIES for n in (profiles if q == LATENCY else (q,)))


class SpaceCosts:
    """Costs of rows of one space, for one scope, input size and set of devices; also the space's geometry.

    ``strides``: of the stem and every stage. ``taps``: indices of the stages that end the strides of the neck's levels.
    """

    def __init__(
        self,
        space: Space,
        device: DeviceProfile | Sequence[DeviceProfile] | None,
        input_px: int = 640,
        scope: str = "detector",
    ) -> None:
        if input_px % 32 or input_px < 64:
            raise BadInput(
                f"input {input_px} must be a multiple of 32 of at least 64 pixels: the detector's coarsest stride is 32"
            )
        self.space, self.input_px, self.scope = space, input_px, scope
        self._tails = RowMemo()
        self.profiles = latency_profiles(device)
        self.strides = [space.stem_stride if not space.focus else 2]
        for stage in space.stages:
            self.strides.append(self.strides[-1] * stage.stride)
        last_at = {stride: index for index, stride in enumerate(self.strides[1:])}
        missing = [stride for stride in space.neck.strides if stride not in last_at]
        if missing and scope == "detector":
            needed = f"{', '.join(map(str, space.neck.strides[:-1]))} and {space.neck.strides[-1]}"
            raise BadInput(
                f"space {space.name!r} has no stage at stride {missing[0]}: a detector needs {needed}; "
                "use --scope backbone"
            )
        self.taps: tuple[int, ...] = () if missing else tuple(last_at[stride] for stride in space.neck.strides)

    @property
    def cost_names(self) -> tuple[str, ...]:
        """Names of the costs; latency once a device."""
        return cost_names(self.profiles)

    @property
    def devices(self) -> tuple[DeviceProfile, ...]:
        """The device profiles, in the order given."""
        return tuple(self.profiles.values())

    @property
    def fixed(self) -> dict[str, int]:
        """Costs that every candidate pays: the profiles' constants, and the stem as one layer."""
        fixed = dict.fromkeys(self.cost_names, 0) | {LAYERS: 1}
        for name, profile in self.profiles.items():
            fixed[name] = int(profile.fixed_ticks)
        return fixed

    def unit(self, name: str) -> float:
        """Base units of one integer step of this cost: ms a tick for latency, else 1."""
        return self.profiles[name].tick_ms if name in self.profiles else 1.0

    def stem_costs(self, out: Num, input_px: Num | None = None) -> dict[str, Num]:
        """Costs of the stem for output widths ``[N]``; ``input_px``: sides ``[N]`` in place of the one of all."""
        space = self.space
        g = GraphBuilder(3)
        lower_stem(g, -1, out, space.stem_k, space.focus, space.stem_stride, space.act)
        return self._costs(g.finish(), 1, input_px)

    def stage_costs(
        self, index: int, *numbers: Num, kind: int = 0, input_px: Num | None = None
    ) -> dict[str, Num]:
        """Costs of stage ``index`` (0-based) of one kind for arrays ``[N]`` of its numbers (see ``stage_graph``).

        ``input_px``: sides ``[N]`` in place of the one of all.
        """
        cin, out, btn, k, depth = numbers
        graph = self.stage_graph(index, cin, out, btn, k, depth, kind)
        costs = self._costs(graph, self.strides[index], input_px)
        layers = self.kind(index, kind).layers(depth, self.space.stages[index].stride)
        costs[LAYERS] = np.broadcast_to(layers, np.shape(out)) if np.ndim(out) else layers
        return costs

    def kind(self, index: int, kind: int = 0) -> BlockKind:
        """The ``kind``-th block kind that stage ``index`` may have."""
        return BLOCK_KINDS[self.space.stages[index].alternatives[kind].kind]

    def stage_graph(self, index: int, cin: Num, out: Num, btn: Num, k: Num, depth: Num, kind: int = 0) -> Graph:
        """Stage ``index`` alone, as the deployed detector has it, for arrays ``[N]`` of its numbers.

        ``depth`` is a whole number where the kind is not linear in it.
        """
        choices = self.space.stages[index].alternatives[kind]
        block_kind = BLOCK_KINDS[choices.kind]
        flags = stage_flags(self.space.style, [s.stride for s in self.space.stages], index, self.space.spp)
        numbers = StageNumbers(cin, out, btn, k, depth, choices.stride, self.space.act, **flags)
        g = GraphBuilder(3)
        block_kind.lower(g, block_kind.entry(g, numbers), numbers)
        return g.finish()

    def by_kind(
        self, index: int, numbers: Sequence[np.ndarray], compute: Callable[..., Mapping[str, Num]]
    ) -> dict[str, np.ndarray]:
        """``compute(cin, out, btn, k, depth, kind)`` over rows of a stage, called once a kind.

        Once a depth too where a kind is not linear in it, with the depth as a whole number. ``numbers``: as in
        ``stage_numbers``, ``[N]`` each. Returns whole numbers ``[N]`` by name.
        """
        *columns, kinds = numbers
        if not self.space.stages[index].others and self.kind(index).linear_in_depth:
            return {name: np.asarray(value) for name, value in compute(*columns, 0).items()}
        found: dict[str, np.ndarray] = {}
        for kind in np.unique(kinds).tolist():
            of_kind = kinds == kind
            linear = self.kind(index, kind).linear_in_depth
            for depth in [None] if linear else np.unique(columns[-1][of_kind]).tolist():
                at = np.flatnonzero(of_kind if depth is None else of_kind & (columns[-1] == depth))
                part = [column[at] for column in columns]
                part[-1] = part[-1] if depth is None else depth
                for name, value in compute(*part, kind).items():
                    found.setdefault(name, np.zeros(len(kinds), dtype=np.int64))[at] = value
        return found

    def tail_costs(
        self, *widths: Num, neck: Neck | None = None, head: Head | None = None, input_px: Num | None = None
    ) -> dict[str, Num]:
        """Costs of neck and head behind backbone widths ``[N]`` by level; nothing when only the backbone counts.

        ``neck`` and ``head``: others than the space's; ``out`` and ``hidden_ratio`` may hold arrays ``[N]``.
        ``input_px``: sides ``[N]`` in place of the one of all.
        """
        if self.scope == "backbone":
            zeros = np.zeros(np.shape(widths[-1]), dtype=np.int64)
            return dict.fromkeys(self.cost_names, zeros)
        graph = self.tail_graph(*widths, neck=neck, head=head)
        return self._named(Graph(graph.ops, self.tail_inputs(widths, input_px)).table())

    def tail_inputs(self, widths: Sequence[Num], input_px: Num | None = None) -> list[tuple[Num, Num, Num]]:
        """Shapes of the backbone's maps that neck and head read, finest first."""
        px = self.input_px if input_px is None else input_px
        sides = (px // stride for stride in self.space.neck.strides)
        return [(width, side, side) for width, side in zip(widths, sides, strict=True)]

    def tail_graph(self, *widths: Num, neck: Neck | None = None, head: Head | None = None) -> Graph:
        """Neck and head alone behind backbone widths ``[N]`` by level, which are its inputs."""
        g = GraphBuilder(widths[0])
        tensors = [-1, *(g.input(width) for width in widths[1:])]
        lower_neck_head(g, tensors, neck or self.space.neck, head or self.space.head)
        return g.finish()

    def _costs(self, graph: Graph, entry_stride: int, input_px: Num | None) -> dict[str, Num]:
        """Costs of a piece alone; its inputs (all at one stride) are graph inputs of known size."""
        side = (self.input_px if input_px is None else input_px) // entry_stride
        return self._named(Graph(graph.ops, [(shape[0], side, side) for shape in graph.inputs]).table())

    def _named(self, table: OpTable) -> dict[str, Num]:
        costs = table_costs(table, self.profiles)
        return {**costs, LAYERS: np.zeros(table.count.shape[1:], dtype=np.int64)}

    def costs(self, rows: np.ndarray, input_px: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Costs of rows ``[N, genes]``, int64 ``[N]`` each (latency in ticks, fixed part included).

        ``input_px``: sides ``[N]`` in place of the one of all.
        """
        given = () if input_px is None else (input_px,)
        pieces: list[Mapping[str, Num]] = [self.stem_costs(rows[:, 0], *given)]
        for index, (*numbers, kinds) in enumerate(self.stage_numbers(rows)):

            def of_stage(*columns: Num, at: int = index) -> dict[str, Num]:
                *sides, cin, out, btn, k, depth, kind = columns
                side = sides[0] if sides else None
                return self.stage_costs(at, cin, out, btn, k, depth, kind=int(kind), input_px=side)

            pieces.append(self.by_kind(index, [*given, *numbers, kinds], of_stage))
        if self.taps:
            pieces.append(self.by_tail(rows, self.tail_costs, self._tails, input_px))
        fixed = self.fixed
        return {name: np.asarray(sum(piece[name] for piece in pieces) + fixed[name]) for name in self.cost_names}

    def by_tail(
        self,
        rows: np.ndarray,
        compute: Callable[..., Mapping[str, Num]],
        memo: RowMemo,
        input_px: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """``compute(*widths, neck=, head=, input_px=)`` over rows: whole numbers ``[N]`` by name.

        Neck and head see few widths, which repeat within a population and from one to the next, so each combination is
        computed once and kept in ``memo``. All structures of the tail that differ in ``hidden_ratio`` alone are one
        call. Without open fields and sides, the arguments with names are left out.
        """
        widths = rows[:, [self.space.column(i, OUT) for i in self.taps]]
        tail, levels = self.space.tail, widths.shape[1]
        sides = [] if input_px is None else [input_px[:, None]]
        if tail is None:

            def of_widths(unique: np.ndarray) -> dict[str, np.ndarray]:
                named = {} if input_px is None else {"input_px": unique[:, levels]}
                return {k: np.asarray(value) for k, value in compute(*unique[:, :levels].T, **named).items()}

            return memo(np.concatenate([widths, *sides], axis=1), of_widths)
        outs, structure = tail.split(self.space.tail_genes(rows))
        keys = np.concatenate([structure[:, None], outs, widths, *sides], axis=1)
        return memo(keys, lambda unique: self._open_tails(unique, tail, compute, input_px is not None))

    def _open_tails(
        self, unique: np.ndarray, tail: TailChoices, compute: Callable[..., Mapping[str, Num]], with_sides: bool
    ) -> dict[str, np.ndarray]:
        """``compute`` over different tails: structure, widths of the neck, widths of the backbone, and perhaps side."""
        levels = len(self.taps)
        found: dict[str, np.ndarray] = {}
        for neck, head, members, ratios in tail.families:
            at = np.flatnonzero(members[unique[:, 0]])
            if not len(at):
                continue
            part = unique[at]
            ratio = ratios[part[:, 0]] if len(set(ratios[members])) > 1 else neck.hidden_ratio
            own = dataclasses.replace(neck, out=tuple(part[:, 1 : 1 + levels].T), hidden_ratio=ratio)
            named = {"input_px": part[:, 1 + 2 * levels]} if with_sides else {}
            values = compute(*part[:, 1 + levels : 1 + 2 * levels].T, neck=own, head=head, **named)
            for name, value in values.items():
                found.setdefault(name, np.zeros(len(unique), dtype=np.int64))[at] = value
        return found

    def stage_numbers(self, rows: np.ndarray) -> list[tuple[np.ndarray, ...]]:
        """For every stage ``(cin, out, btn, k, depth, kind)`` of the rows, ``[N]`` each; ``kind`` is an index."""
        stages = []
        cin = rows[:, 0]
        for i in range(len(self.space.stages)):
            genes = tuple(rows[:, self.space.column(i, gene)] for gene in (OUT, BTN, K, DEPTH))
            stages.append((cin, *genes, self.space.kinds_of(rows, i)))
            cin = genes[0]
        return stages
