"""The problem: variables, factors with values and costs, limits.

Every variable takes one of its states, a whole number such as the channels that a unit keeps. Values and costs are sums
of tables; a table has one axis per *linear form*, a sum of variables such as the width of a concatenation. Wanted are
the states with the greatest value whose costs respect all limits::

    variables = (Variable("a", (8, 16, 32)), Variable("b", (8, 16)))
    a, both = LinearForm(((0, 1),)), LinearForm(((0, 1), (1, 1)))
    flops = np.multiply.outer(form_values(a, variables), form_values(both, variables))
    factors = (Factor((a,), value=np.array([0.0, 1.0, 1.5])), Factor((a, both), costs={"flops": flops}))
    problem = Problem(variables, factors, {"flops": (0, 600)})
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from workbench.errors import BadInput

EXACT = 2**53
"""Greatest cost: sums of whole numbers up to here are exact in double precision."""


@dataclass(frozen=True)
class Variable:
    """A variable and its states: whole numbers from 0, ascending."""

    name: str
    states: tuple[int, ...]

    def __post_init__(self) -> None:
        ascending = all(low < high for low, high in zip(self.states, self.states[1:], strict=False))
        if not self.states or self.states[0] < 0 or not ascending:
            raise BadInput(f"variable {self.name!r} has states {self.states}: give whole numbers from 0, ascending")


@dataclass(frozen=True)
class LinearForm:
    """``constant`` plus a sum of variables: ``terms`` holds (index of the variable, multiplicity)."""

    terms: tuple[tuple[int, int], ...]
    constant: int = 0

    def __post_init__(self) -> None:
        merged: dict[int, int] = {}
        for variable, multiplicity in self.terms:
            if variable < 0 or multiplicity < 0:
                raise BadInput(f"linear form {self.terms}: indices and multiplicities are whole numbers from 0")
            merged[variable] = merged.get(variable, 0) + multiplicity
        object.__setattr__(self, "terms", tuple(sorted(term for term in merged.items() if term[1])))

    def of(self, states: Sequence[int]) -> int:
        """Value for one state per variable."""
        return self.constant + sum(times * int(states[variable]) for variable, times in self.terms)


def form_values(form: LinearForm, variables: Sequence[Variable]) -> np.ndarray:
    """The values that ``form`` can take, ascending: ``int64 [values]``. They index a factor's axis."""
    values = np.array([form.constant], dtype=np.int64)
    for variable, times in form.terms:
        states = np.asarray(variables[variable].states, dtype=np.int64) * times
        values = np.unique(np.add.outer(values, states))
    return values


@dataclass(frozen=True, eq=False)
class Factor:
    """One summand of the value and of the costs: tables with one axis per form, indexed by its ``form_values``.

    ``costs`` holds whole numbers per cost name, ``value`` floats; -inf forbids a combination.
    """

    forms: tuple[LinearForm, ...]
    costs: Mapping[str, np.ndarray] = field(default_factory=dict)
    value: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Problem:
    """Maximize the sum of all values such that ``low <= cost <= high`` for each of ``limits``: name -> (low, high).

    ``constants`` are added to the costs of that name. Costs without a limit are reported, not limited.
    """

    variables: tuple[Variable, ...]
    factors: tuple[Factor, ...]
    limits: Mapping[str, tuple[float, float]]
    constants: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.variables:
            raise BadInput("the problem has no variables: give at least one")
        values: dict[LinearForm, int] = {}
        for number, factor in enumerate(self.factors):
            for form in factor.forms:
                if form not in values:
                    values[form] = self._form_size(form, number)
            self._check_factor(factor, number, tuple(values[form] for form in factor.forms))
        for name, (low, high) in self.limits.items():
            if math.isnan(low) or math.isnan(high) or low > high:
                raise BadInput(f"limit of {name!r} is {low} to {high}: the first must not exceed the second")

    def _form_size(self, form: LinearForm, number: int) -> int:
        if form.terms and form.terms[-1][0] >= len(self.variables):
            raise BadInput(
                f"factor {number} uses variable {form.terms[-1][0]}: there are {len(self.variables)} variables"
            )
        return len(form_values(form, self.variables))

    def _check_factor(self, factor: Factor, number: int, shape: tuple[int, ...]) -> None:
        for name, table in factor.costs.items():
            if table.shape != shape or not np.issubdtype(table.dtype, np.integer):
                raise BadInput(
                    f"costs {name!r} of factor {number} are {table.dtype} {table.shape}: give whole numbers {shape}"
                )
        if factor.value is not None:
            if factor.value.shape != shape:
                raise BadInput(f"value of factor {number} has shape {factor.value.shape}: its forms need {shape}")
            if np.isnan(factor.value).any() or (factor.value == np.inf).any():
                raise BadInput(f"value of factor {number} has NaN or inf: give finite values, or -inf to forbid")

    @property
    def cost_names(self) -> tuple[str, ...]:
        """Every cost that a limit, a factor or a constant names, sorted."""
        names = {*self.limits, *self.constants}
        return tuple(sorted(names.union(*(factor.costs for factor in self.factors))))

    def measure(self, states: Sequence[int]) -> tuple[float, dict[str, int]]:
        """Value and costs of one state per variable, added up table by table."""
        values: list[float] = []
        costs = {name: int(self.constants.get(name, 0)) for name in self.cost_names}
        for factor in self.factors:
            place = tuple(
                int(np.searchsorted(form_values(form, self.variables), form.of(states))) for form in factor.forms
            )
            for name, table in factor.costs.items():
                costs[name] += int(table[place])
            if factor.value is not None:
                values.append(float(factor.value[place]))
        return math.fsum(values) if -math.inf not in values else -math.inf, costs

    def respects_limits(self, costs: Mapping[str, int]) -> bool:
        """Whether all limits hold."""
        return all(low <= costs[name] <= high for name, (low, high) in self.limits.items())
