"""A problem as a network of nodes, tables and links.

Every variable is a node. A linear form over several variables becomes a chain of *partial sums*: nodes whose state
follows from two others, ``total = a + b``. Forms that begin alike share them. Such a link is an index map and not a
table, so that a concatenation of many branches stays cheap. Tables over the same nodes are added up once, and a table
over a subset of another's nodes is added to that one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from nas.shrinking.solver.problem import Factor, LinearForm, Problem

Scope = tuple[int, ...]
"""Nodes of a table, ascending; one axis each."""

CHUNK = 2_000_000
"""Table look-ups in one vectorized step of ``Network.measure``."""


@dataclass(frozen=True)
class Link:
    """``value[total] = times[0] * value[parts[0]] + times[1] * value[parts[1]]``, all three being nodes."""

    parts: tuple[int, int]
    times: tuple[int, int]
    total: int

    @property
    def nodes(self) -> tuple[int, int, int]:
        """The three nodes; any two determine the third."""
        return (*self.parts, self.total)


@dataclass(eq=False)
class Network:
    """Nodes ``values[node]`` (the whole numbers that its states stand for), links, and tables over nodes.

    ``flat_values`` and ``flat_costs`` ``[costs, entries]`` hold all tables one after the other in C order; table ``t``
    begins at ``offsets[t]``. The first ``variables`` nodes are the problem's variables, in order.
    """

    variables: int
    values: list[np.ndarray]
    links: list[Link]
    scopes: list[Scope]
    flat_values: np.ndarray
    flat_costs: np.ndarray
    constants: np.ndarray
    offsets: np.ndarray = field(init=False)
    sizes: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.sizes = [len(values) for values in self.values]
        lengths = [math.prod(self.sizes[node] for node in scope) for scope in self.scopes]
        self.offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
        arity = max((len(scope) for scope in self.scopes), default=0)
        self._nodes = np.zeros((arity, len(self.scopes)), dtype=np.int64)
        self._strides = np.zeros((arity, len(self.scopes)), dtype=np.int64)
        for number, scope in enumerate(self.scopes):
            stride = 1
            for axis in range(len(scope) - 1, -1, -1):
                self._nodes[axis, number], self._strides[axis, number] = scope[axis], stride
                stride *= self.sizes[scope[axis]]
        self._totals = [self.link_map(link, link.total) for link in self.links]
        self.starts = np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)

    @property
    def states(self) -> int:
        """States of all nodes together."""
        return int(self.starts[-1])

    @property
    def whole_values(self) -> bool:
        """Whether all values are whole numbers."""
        finite = self.flat_values[np.isfinite(self.flat_values)]
        return bool((finite == np.round(finite)).all())

    @property
    def least_value(self) -> float:
        """Below the value of any assignment that is not forbidden."""
        finite = np.where(np.isneginf(self.flat_values), np.inf, self.flat_values)
        least = np.minimum.reduceat(finite, self.offsets[:-1]) if len(self.scopes) else np.zeros(1)
        return float(least[np.isfinite(least)].sum()) - 1.0

    def link_map(self, link: Link, node: int) -> np.ndarray:
        """State of ``node`` for each pair of states of the link's other two nodes, in the order of ``link.nodes``.

        -1 where no state fits. ``int64 [first, second]``.
        """
        a, b = (times * self.values[part] for part, times in zip(link.parts, link.times, strict=True))
        total = self.values[link.total]
        if node == link.total:
            wanted, known = np.add.outer(a, b), total
        elif node == link.parts[0]:
            wanted, known = total[None, :] - b[:, None], a
        else:
            wanted, known = total[None, :] - a[:, None], b
        place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        return np.where(known[place] == wanted, place, -1)

    def complete(self, rows: np.ndarray) -> np.ndarray:
        """States of all nodes ``[rows, nodes]`` for states of the variables ``[rows, variables]``; -1: no such sum."""
        full = np.zeros((len(rows), len(self.sizes)), dtype=np.int64)
        full[:, : self.variables] = rows
        for link, total in zip(self.links, self._totals, strict=True):
            a, b = full[:, link.parts[0]], full[:, link.parts[1]]
            full[:, link.total] = np.where((a < 0) | (b < 0), -1, total[a, b])
        return full

    def measure(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values ``[rows]`` (-inf: forbidden) and costs ``int64 [costs, rows]`` of states of the variables."""
        values = np.empty(len(rows))
        costs = np.empty((len(self.flat_costs), len(rows)), dtype=np.int64)
        step = max(1, CHUNK // max(1, len(self.scopes)))
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            full = self.complete(rows[part])
            valid = (full >= 0).all(axis=1)
            index = np.broadcast_to(self.offsets[:-1], (len(full), len(self.scopes))).copy()
            for nodes, strides in zip(self._nodes, self._strides, strict=True):
                index += full[:, nodes] * strides
            index[~valid] = 0
            values[part] = np.where(valid, self.flat_values[index].sum(axis=1), -np.inf)
            for cost, table in enumerate(self.flat_costs):
                costs[cost, part] = table[index].sum(axis=1) + self.constants[cost]
        return values, costs

    @cached_property
    def _touched(self) -> list[np.ndarray]:
        """Tables whose entry depends on each variable, directly or through links."""
        depends: list[set[int]] = [{node} if node < self.variables else set() for node in range(len(self.sizes))]
        for link in self.links:
            depends[link.total] = depends[link.parts[0]] | depends[link.parts[1]]
        touched: list[list[int]] = [[] for _ in range(self.variables)]
        for number, scope in enumerate(self.scopes):
            for variable in sorted(set().union(*(depends[node] for node in scope))):
                touched[variable].append(number)
        return [np.array(tables, dtype=np.int64) for tables in touched]

    def measure_changes(self, row: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All rows that differ from ``row`` ``[variables]`` in one variable, which must not be a forbidden one.

        Returns the rows ``[rows, variables]``, what the value gains ``[rows]`` (-inf: forbidden), and the extra costs
        ``int64 [costs, rows]``. Only tables that change are looked up.
        """
        variable = np.repeat(np.arange(self.variables), self.sizes[: self.variables])
        state = np.concatenate([np.arange(size) for size in self.sizes[: self.variables]])
        changed = state != row[variable]
        variable, state = variable[changed], state[changed]
        rows = np.repeat(row[None], len(variable), axis=0)
        rows[np.arange(len(rows)), variable] = state
        full = self.complete(rows)
        valid = (full >= 0).all(axis=1)
        lengths = np.array([len(self._touched[v]) for v in variable], dtype=np.int64)
        tables = np.concatenate([self._touched[v] for v in variable] or [np.empty(0, dtype=np.int64)])
        owner = np.repeat(np.arange(len(rows)), lengths)
        old, new = self.complete(row[None])[0], np.maximum(full, 0)
        before, after = self.offsets[tables], self.offsets[tables]
        for nodes, strides in zip(self._nodes, self._strides, strict=True):
            before = before + old[nodes[tables]] * strides[tables]
            after = after + new[owner, nodes[tables]] * strides[tables]
        gains = np.bincount(owner, self.flat_values[after] - self.flat_values[before], minlength=len(rows))
        extra = np.zeros((len(self.flat_costs), len(rows)), dtype=np.int64)
        starts = np.cumsum(lengths) - lengths
        filled = lengths > 0
        for cost, table in enumerate(self.flat_costs):
            extra[cost, filled] = np.add.reduceat(table[after] - table[before], starts[filled])
        return rows, np.where(valid, gains, -np.inf), extra

    def widths(self, rows: np.ndarray) -> np.ndarray:
        """The numbers that states of the variables ``[rows, variables]`` stand for."""
        return np.stack([self.values[node][rows[:, node]] for node in range(self.variables)], axis=1)

    def rows(self, widths: np.ndarray) -> np.ndarray:
        """States of the variables for ``widths`` ``[rows, variables]``, without the rows that this network lacks."""
        rows = np.empty(widths.shape, dtype=np.int64)
        known = np.ones(len(widths), dtype=bool)
        for node in range(self.variables):
            place = np.minimum(np.searchsorted(self.values[node], widths[:, node]), self.sizes[node] - 1)
            known &= self.values[node][place] == widths[:, node]
            rows[:, node] = place
        return rows[known]

    def restrict(self, allowed: np.ndarray) -> Network:
        """The network without the states that ``allowed`` (``bool [states]``, node by node) leaves out."""
        kept = [np.flatnonzero(allowed[self.starts[n] : self.starts[n + 1]]) for n in range(len(self.sizes))]
        picked = []
        for number, scope in enumerate(self.scopes):
            index = np.full((1,) * len(scope), self.offsets[number], dtype=np.int64)
            for axis, node in enumerate(scope):
                shape = [1] * len(scope)
                shape[axis] = -1
                index = index + (kept[node] * self._strides[axis, number]).reshape(shape)
            picked.append(index.ravel())
        entries = np.concatenate(picked) if picked else np.empty(0, dtype=np.int64)
        values = [values[states] for values, states in zip(self.values, kept, strict=True)]
        return Network(
            self.variables,
            values,
            self.links,
            self.scopes,
            self.flat_values[entries],
            self.flat_costs[:, entries],
            self.constants,
        )


class _Builder:
    """Nodes, links and tables while a problem is read."""

    def __init__(self, problem: Problem, costs: Sequence[str]) -> None:
        self.problem, self.costs = problem, costs
        self.values = [np.asarray(variable.states, dtype=np.int64) for variable in problem.variables]
        self.links: list[Link] = []
        self.sums: dict[tuple[tuple[int, int], ...], int] = {}
        self.tables: dict[Scope, tuple[np.ndarray, np.ndarray]] = {}

    def node(self, form: LinearForm) -> int | None:
        """The node whose states are the form's values in ascending order; None for a constant form."""
        if not form.terms:
            return None
        if len(form.terms) == 1:
            return form.terms[0][0]
        (node, times), *rest = form.terms
        for length, (variable, multiplicity) in enumerate(rest, start=2):
            prefix = form.terms[:length]
            if prefix not in self.sums:
                total = np.unique(np.add.outer(times * self.values[node], multiplicity * self.values[variable]))
                self.sums[prefix] = len(self.values)
                self.links.append(Link((node, variable), (times, multiplicity), len(self.values)))
                self.values.append(total)
            node, times = self.sums[prefix], 1
        return node

    def add(self, factor: Factor) -> None:
        """Adds the factor's tables to those over the same nodes."""
        nodes = [self.node(form) for form in factor.forms]
        scope = tuple(sorted({node for node in nodes if node is not None}))
        letters = [scope.index(node) if node is not None else len(scope) + axis for axis, node in enumerate(nodes)]
        shape = tuple(len(self.values[node]) for node in scope)
        value, costs = self.tables.get(scope, (np.zeros(shape), np.zeros((len(self.costs), *shape), dtype=np.int64)))
        if factor.value is not None:
            value = value + _on_scope(factor.value, letters, shape)
        for number, name in enumerate(self.costs):
            if name in factor.costs:
                costs[number] += _on_scope(factor.costs[name], letters, shape)
        self.tables[scope] = value, costs


def _on_scope(table: np.ndarray, letters: Sequence[int], shape: tuple[int, ...]) -> np.ndarray:
    """``table`` with one axis per node: axes of the same node become their diagonal, constant ones vanish."""
    grid = np.indices(shape, sparse=True) if shape else ()
    return np.asarray(table[tuple(grid[letter] if letter < len(shape) else 0 for letter in letters)]).reshape(shape)


def _absorb(tables: dict[Scope, tuple[np.ndarray, np.ndarray]]) -> dict[Scope, tuple[np.ndarray, np.ndarray]]:
    """Adds every table to the smallest one whose nodes include its own."""
    kept = dict(tables)
    for scope in sorted(tables, key=lambda scope: (len(scope), scope)):
        nodes = set(scope)
        hosts = [host for host in kept if len(host) > len(scope) and nodes.issubset(host)]
        if hosts:
            host = min(hosts, key=lambda host: (kept[host][0].size, host))
            value, costs = kept.pop(scope)
            shape = tuple(kept[host][0].shape[host.index(node)] if node in nodes else 1 for node in host)
            larger_value, larger_costs = kept[host]
            kept[host] = larger_value + value.reshape(shape), larger_costs + costs.reshape(len(costs), *shape)
    return kept


def build_network(problem: Problem, costs: Sequence[str]) -> Network:
    """The network of ``problem`` with the named ``costs``, in that order."""
    builder = _Builder(problem, costs)
    for factor in problem.factors:
        builder.add(factor)
    tables = _absorb(builder.tables)
    scopes = sorted(tables)
    flat_values = [tables[scope][0].ravel() for scope in scopes]
    flat_costs = [tables[scope][1].reshape(len(costs), tables[scope][0].size) for scope in scopes]
    return Network(
        len(problem.variables),
        builder.values,
        builder.links,
        scopes,
        np.concatenate(flat_values) if scopes else np.empty(0),
        np.concatenate(flat_costs, axis=1) if scopes else np.empty((len(costs), 0), dtype=np.int64),
        np.array([problem.constants.get(name, 0) for name in costs], dtype=np.int64),
    )
