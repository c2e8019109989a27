"""Random problems that are small enough to try every assignment."""

from __future__ import annotations

import itertools
import math

import numpy as np

from nas.shrinking.solver.problem import Factor, LinearForm, Problem, Variable, form_values

COSTS = ("latency", "flops", "parameters")


def small_problem(seed: int) -> Problem:
    """4 to 8 variables of 2 to 5 states, one to three limits, ranges, concatenations, forbidden combinations."""
    random = np.random.default_rng(seed)
    variables = []
    for number in range(int(random.integers(4, 9 if seed % 3 else 7))):
        most = 5 if number < 5 else 3
        states = random.choice(16, size=int(random.integers(2, most + 1)), replace=False)
        variables.append(Variable(f"v{number}", tuple(sorted(int(state) for state in states))))
    factors = [_value_factor(random, variables, number) for number in range(len(variables))]
    factors += [_cost_factor(random, variables) for _ in range(int(random.integers(3, 9)))]
    constants = {name: int(random.integers(0, 20)) for name in COSTS[: int(random.integers(0, 4))]}
    free = Problem(tuple(variables), tuple(factors), {}, constants)
    # Most limits are set around an assignment that exists, so that they hold for it.
    known = free.measure([int(random.choice(variable.states)) for variable in variables])[1]
    most = free.measure([variable.states[-1] for variable in variables])[1]
    limits = {}
    for name in COSTS[: int(random.integers(1, 4))]:
        around = known[name] if random.random() < 0.85 else int(most[name] * random.uniform(0.1, 0.9))
        spread = int(most[name] * random.uniform(0.0, 0.15))
        kind = int(random.integers(0, 4))
        low = -math.inf if kind < 2 else around - spread
        limits[name] = (low, math.inf if kind == 3 else around + spread)
    return Problem(tuple(variables), tuple(factors), limits, constants)


def _value_factor(random: np.random.Generator, variables: list[Variable], number: int) -> Factor:
    count = len(variables[number].states)
    value = np.sort(random.uniform(0, 5, size=count)) if random.random() < 0.7 else random.normal(size=count)
    return Factor((LinearForm(((number, 1),)),), value=np.round(value, int(random.integers(0, 6))))


def _cost_factor(random: np.random.Generator, variables: list[Variable]) -> Factor:
    forms = []
    for _ in range(int(random.integers(1, 3))):
        length = int(random.choice([0, 1, 1, 1, 2, 3, 4]))
        chosen = random.choice(len(variables), size=length, replace=False)
        terms = tuple((int(variable), int(random.choice([1, 1, 2]))) for variable in chosen)
        forms.append(LinearForm(terms, int(random.integers(0, 3))))
    grids = np.meshgrid(*(form_values(form, variables) for form in forms), indexing="ij")
    costs = {}
    for name in COSTS:
        smooth = np.prod([grid + 1 for grid in grids], axis=0)
        costs[name] = (-(-smooth // 8) * int(random.integers(1, 9)) + random.integers(0, 9)).astype(np.int64)
    if random.random() < 0.4:
        value = random.normal(size=grids[0].shape)
        value[random.random(value.shape) < 0.1] = -np.inf
        return Factor(tuple(forms), costs, value)
    return Factor(tuple(forms), costs)


def brute_force(problem: Problem) -> float:
    """The greatest value within the limits over all assignments; -inf where there is none."""
    states = [variable.states for variable in problem.variables]
    rows = np.array(list(itertools.product(*states)), dtype=np.int64)
    value = np.zeros(len(rows))
    costs = {name: np.full(len(rows), problem.constants.get(name, 0)) for name in problem.cost_names}
    for factor in problem.factors:
        place = []
        for form in factor.forms:
            total = np.full(len(rows), form.constant)
            for variable, times in form.terms:
                total = total + times * rows[:, variable]
            place.append(np.searchsorted(form_values(form, problem.variables), total))
        for name, table in factor.costs.items():
            costs[name] = costs[name] + table[tuple(place)]
        if factor.value is not None:
            value = value + factor.value[tuple(place)]
    for name, (low, high) in problem.limits.items():
        value = np.where((costs[name] >= low) & (costs[name] <= high), value, -np.inf)
    return float(value.max())
