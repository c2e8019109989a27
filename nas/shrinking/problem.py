"""From the widths of a network to the problem that the solver solves: states, importance kept, costs by table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nas.costs import table_costs
from nas.devices.profile import DeviceProfile
from nas.shrinking.solver.problem import Factor, LinearForm, Problem, Variable, form_values
from search_spaces.op_table import NUMERIC, OpTable, op_row
from search_spaces.ops import CONV_KINDS, Op
from zoo.pruning.groups import ChannelGroup
from zoo.pruning.widths import Extent, NetworkWidths, OpWidths

DEFAULT_GRID = 8
"""Channels are kept in multiples of this where a group has enough of them."""
LEAST_SHARE = 1 / 8
"""Least share of a group's units that stays, unless its whole block is skipped."""
MOST_STATES = 10
"""Widths that a group may choose from, zero not counted."""


@dataclass(frozen=True, slots=True)
class Worth:
    """Importance of everything that can go, all in one unit such as the rise of the loss."""

    groups: Mapping[str, np.ndarray]
    """Channel group to the importance of its units, ``[n]``."""
    blocks: Mapping[str, float]
    """Block to what skipping it costs; blocks that are not named are not skipped."""


def group_states(group: ChannelGroup, grid: int) -> tuple[int, ...]:
    """Numbers of units that may stay, ascending: multiples of ``grid``, coarser for wide groups, and all."""
    size = len(group)
    if group.channels.shape[1] > 1:
        return tuple(range(1, size + 1))  # attention heads
    step = grid if size >= 4 * grid else max(1, size // 4)
    step *= -(-size // (step * MOST_STATES))
    least = max(step, int(size * LEAST_SHARE))
    return (*(n for n in range(step, size, step) if n >= least), size)


def shrink_problem(
    widths: NetworkWidths, worth: Worth, profiles: Mapping[str, DeviceProfile], grid: int = DEFAULT_GRID
) -> Problem:
    """The problem without limits. Costs are those of ``nas.costs.table_costs``; latencies in the profiles' ticks.

    Variable i is group i, the number of its units that stay; 0 where the group's block is skipped.
    """
    return _Builder(widths, worth, profiles, grid).problem()


class _Builder:
    def __init__(
        self, widths: NetworkWidths, worth: Worth, profiles: Mapping[str, DeviceProfile], grid: int
    ) -> None:
        self.widths, self.worth, self.profiles = widths, worth, profiles
        self.groups = widths.groups.groups
        self.members: dict[str, list[int]] = {}
        """Block that may be skipped to its groups."""
        for number, group in enumerate(self.groups):
            if group.block in worth.blocks:
                self.members.setdefault(group.block, []).append(number)
        inside = {number for numbers in self.members.values() for number in numbers}
        self.variables = tuple(
            Variable(group.name, ((0,) if number in inside else ()) + group_states(group, grid))
            for number, group in enumerate(self.groups)
        )
        self.values: dict[LinearForm, np.ndarray] = {}

    def problem(self) -> Problem:
        """Values, links and costs."""
        tables: dict[tuple[LinearForm, ...], dict[str, np.ndarray]] = {}
        constants = {name: int(profile.fixed_ticks) for name, profile in self.profiles.items()}
        fused = self.widths.graph.table(self.widths.input_px).fused
        for number, op in enumerate(self.widths.ops):
            forms, costs = self._op_costs(op, float(fused[number]))
            for name, table in costs.items():
                if forms:
                    known = tables.setdefault(forms, {})
                    known[name] = known[name] + table if name in known else table
                else:
                    constants[name] = constants.get(name, 0) + int(table)
        factors = [Factor(forms, costs) for forms, costs in tables.items()]
        return Problem(self.variables, (*self._worth_factors(), *self._links(), *factors), {}, constants)

    def _worth_factors(self) -> list[Factor]:
        """Kept importance: of the units that stay, and of everything in a skipped block but the block itself."""
        factors = []
        for number, (group, variable) in enumerate(zip(self.groups, self.variables, strict=True)):
            ordered = np.sort(self.worth.groups[group.name])[::-1]
            kept = np.concatenate([[0.0], np.cumsum(ordered)])
            value = np.array([kept[state] for state in variable.states])
            if variable.states[0] == 0:
                lead = self.members[group.block][0] == number
                value[0] = kept[-1] - (self.worth.blocks[group.block] if lead else 0.0)
            factors.append(Factor((LinearForm(((number, 1),)),), value=value))
        return factors

    def _links(self) -> list[Factor]:
        """The groups of a block are skipped together."""
        factors = []
        for lead, *others in self.members.values():
            for other in others:
                zero = [np.array(self.variables[i].states) == 0 for i in (lead, other)]
                value = np.where(zero[0][:, None] == zero[1][None, :], 0.0, -np.inf)
                factors.append(Factor((LinearForm(((lead, 1),)), LinearForm(((other, 1),))), value=value))
        return factors

    def _op_costs(self, op: OpWidths, fused: float) -> tuple[tuple[LinearForm, ...], dict[str, np.ndarray]]:
        """The forms that one op depends on, and its costs by their values."""
        inputs = op.inputs
        if op.op.kind == "concat":
            inputs = (op.out,)  # as many numbers go in as come out
        forms = {_form(extent) for shape in (*inputs, op.out) for extent in shape if extent.terms}
        present = self._presence(op, forms)
        ordered = tuple(sorted(forms, key=lambda form: (form.terms, form.constant)))
        axes = [self._form_values(form) for form in ordered]
        grids = dict(zip(ordered, np.meshgrid(*axes, indexing="ij"), strict=True)) if axes else {}
        shape = tuple(len(axis) for axis in axes)
        exists = np.ones(shape, dtype=bool)
        for form in present:
            exists &= grids[form] > 0
        shapes = [_shape(s, grids) for s in inputs], _shape(op.out, grids)

        def costs(fused: float) -> dict[str, np.ndarray]:
            table = _op_table(op.op, *shapes, fused)
            return {
                name: np.broadcast_to(value, (int(np.prod(shape)),)).reshape(shape)
                for name, value in table_costs(table, self.profiles).items()
            }

        alone: Mapping[str, np.ndarray] = costs(float(op.fused_alone)) if op.ends in self.members else {}
        return ordered, {name: np.where(exists, table, alone.get(name, 0)) for name, table in costs(fused).items()}

    def _presence(self, op: OpWidths, forms: set[LinearForm]) -> list[LinearForm]:
        """Forms at whose value 0 the op's block is skipped; one is added if ``forms`` has none."""
        block = op.block or op.ends
        if block not in self.members:
            return []
        inner = [LinearForm(((number, 1),)) for number in self.members[block]]
        present = [form for form in inner if form in forms]
        if not present:
            forms.add(inner[0])
            present = [inner[0]]
        return present

    def _form_values(self, form: LinearForm) -> np.ndarray:
        if form not in self.values:
            self.values[form] = form_values(form, self.variables)
        return self.values[form]


def _form(extent: Extent) -> LinearForm:
    """The width alone, without a multiplicity that only repeats it."""
    if len(extent.terms) == 1 and extent.fixed == 0:
        return LinearForm(((extent.terms[0][0], 1),))
    return LinearForm(extent.terms, extent.fixed)


def _shape(extents: tuple[Extent, ...], grids: Mapping[LinearForm, np.ndarray]) -> tuple[int | np.ndarray, ...]:
    """A shape with arrays ``[N]`` in place of the extents that vary. Absent channels count as one."""
    shape: list[int | np.ndarray] = []
    for extent in extents:
        if not extent.terms:
            shape.append(extent.fixed)
            continue
        times = extent.terms[0][1] if len(extent.terms) == 1 and extent.fixed == 0 else 1
        shape.append(np.maximum(grids[_form(extent)].reshape(-1) * times, 1))
    return tuple(shape)


def _op_table(op: Op, inputs: list[tuple], out: tuple, fused: float) -> OpTable:
    """The table of one op for N combinations of widths."""
    if op.kind in CONV_KINDS:
        groups = op.g if op.g == 1 else op.g * inputs[0][0] // op.cin
        op = dataclasses.replace(op, cin=inputs[0][0], cout=out[0], g=groups)
    elif op.kind == "linear":
        op = dataclasses.replace(op, cin=inputs[0][-1], cout=out[-1])
    row = op_row(op, inputs, out) | {"fused": fused, "count": op.count}
    columns = np.broadcast_arrays(*(np.atleast_1d(np.asarray(row[name], dtype=np.float64)) for name in NUMERIC))
    named = {name: column[None, :] for name, column in zip(NUMERIC, columns, strict=True)}
    return OpTable(kinds=(op.kind,), acts=(op.activation,), parts=(op.part,), names=(op.name,), **named)
