"""Branch and bound over the states of the variables, with the Lagrangian bound.

The node with the greatest bound comes first. At every node the multipliers are adjusted, states whose max-marginal is
not above the best known value are dropped, and the variable on which the best assignments disagree is split.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from nas.shrinking.solver.dual import Bounds, DualResult, Effort, Plane, Relaxation, Trial, minimize_bound
from nas.shrinking.solver.moves import connect, improve, repair
from nas.shrinking.solver.order import find_order

TOLERANCE = 1e-9
"""Values closer than this, relative to the greater one, count as equal."""
ENUMERATED = 20_000
"""A node with at most so many assignments is searched completely."""
ROOT_TRIALS, NODE_TRIALS = 200, 8
"""Evaluations of the bound at the root and at every other node."""
REPAIRED = 0.05
"""Once something is known, assignments are repaired if they exceed the limits by no more than this share."""
PLANES = 12
"""Assignments that a node hands on to its children."""
CLOSE = 0.02
"""Multipliers are adjusted until so much of the distance between bound and best value is left to gain."""
SHRUNK = 0.7
"""A network is rebuilt once no more than this share of its states is left."""

Progress = Callable[[int, float | None, float], None]
"""Called with the nodes done, the best value (None: nothing found yet) and the bound."""


@dataclass(order=True)
class Node:
    """A part of the search space: ``allowed`` states of the relaxation's network.

    ``planes``: assignments that were met on the way here, some of them outside.
    """

    rank: float
    number: int
    relaxation: Relaxation = field(compare=False)
    allowed: np.ndarray = field(compare=False)
    multipliers: np.ndarray = field(compare=False)
    planes: list[Plane] = field(compare=False, default_factory=list)


@dataclass
class Incumbent:
    """The best assignment found within the limits, as widths; all candidates pass here."""

    widths: np.ndarray | None = None
    value: float = -math.inf

    def offer(self, relaxation: Relaxation, rows: np.ndarray) -> np.ndarray | None:
        """Takes, and returns, the best of ``rows`` where it respects the limits and is better."""
        if not len(rows):
            return None
        values, costs = relaxation.network.measure(rows)
        values = np.where(relaxation.bounds.violation(costs) == 0, values, -np.inf)
        best = int(values.argmax())
        if values[best] <= self.value:
            return None
        self.value, self.widths = float(values[best]), relaxation.network.widths(rows[best : best + 1])[0]
        return rows[best]


class BranchAndBound:
    """One search; ``run`` may end early, at the time limit or within the gap."""

    def __init__(self, root: Relaxation, gap: float, deadline: float, progress: Progress | None = None) -> None:
        self.root, self.gap, self.deadline, self.progress = root, gap, deadline, progress
        self.bounds: Bounds = root.bounds
        self.incumbent = Incumbent()
        self.least = root.network.least_value
        self.step = 1.0 - 1e-6 if root.network.whole_values else 0.0
        self.multipliers = np.zeros(len(self.bounds.low))
        self.bound = math.inf
        self.nodes = 0
        self._made = 0

    @property
    def threshold(self) -> float:
        """A bound up to here ends a node."""
        if self.incumbent.widths is None:
            return self.least
        return self.incumbent.value + self._margin

    @property
    def _margin(self) -> float:
        """Values that differ by less are equal: a numerical tolerance, or the step between whole values."""
        return max(self.step, TOLERANCE * max(1.0, abs(self.incumbent.value)))

    @property
    def closed(self) -> bool:
        """Whether the bound is within the gap of the best value."""
        return self.incumbent.widths is not None and self.bound - self.incumbent.value <= self.gap * abs(self.bound)

    def run(self, start: np.ndarray | None = None, known: Iterable[np.ndarray] = ()) -> None:
        """Searches from the multipliers ``start`` and the ``known`` assignments (widths)."""
        self.multipliers = self.multipliers if start is None else start
        widths = np.array(list(known), dtype=np.int64).reshape(-1, self.root.network.variables)
        self.incumbent.offer(self.root, self.root.network.rows(widths))
        node = self._root_node()
        heap = [node] if node is not None else []
        while heap:
            self.bound = min(self.bound, -heap[0].rank)
            if self.bound <= self.threshold:
                break
            self._report()
            if self.closed or time.monotonic() > self.deadline:
                return
            node = heapq.heappop(heap)
            for child in self._expand(node):
                heapq.heappush(heap, child)
        self.bound = self.incumbent.value

    def _report(self) -> None:
        if self.progress is not None:
            self.progress(self.nodes, None if self.incumbent.widths is None else self.incumbent.value, self.bound)

    def _node(self, bound: float, relaxation: Relaxation, allowed: np.ndarray, result: DualResult) -> Node:
        self._made += 1
        planes = _near(result)[:PLANES]
        return Node(-bound, self._made, relaxation, allowed, result.best.multipliers, planes)

    def _root_node(self) -> Node | None:
        """The root: least bound, first assignments, states dropped and the network rebuilt until little changes."""
        relaxation, allowed = self.root, np.ones(self.root.network.states, dtype=bool)
        bound = math.inf
        while True:
            result = self._minimize(Node(-bound, 0, relaxation, allowed, self.multipliers), ROOT_TRIALS)
            if result is None:
                return None
            self.multipliers = result.best.multipliers
            bound = min(bound, result.best.bound)
            self.bound = bound
            if bound > self.threshold:
                self._find_assignments(relaxation, result)
            self._report()
            allowed = self._kept(relaxation, result.best, allowed)
            if bound <= self.threshold or not _counts(relaxation, allowed).all():
                return None
            if allowed.mean() > 0.9 or self.closed or time.monotonic() > self.deadline:
                return self._node(bound, relaxation, allowed, result)
            network = relaxation.network.restrict(allowed)
            relaxation = Relaxation(network, self.bounds, find_order(network, tries=8))
            allowed = np.ones(relaxation.network.states, dtype=bool)

    def _minimize(self, node: Node, trials: int) -> DualResult | None:
        tolerance = 1e-7
        if self.incumbent.widths is not None and math.isfinite(node.rank):
            tolerance = max(tolerance * abs(self.incumbent.value), CLOSE * (-node.rank - self.threshold))
        effort = Effort(trials, self.deadline, tolerance)
        result = minimize_bound(node.relaxation, node.multipliers, node.allowed, self.threshold, effort, _inside(node))
        if result is not None:
            better = self.incumbent.offer(node.relaxation, np.array([plane.row for plane in result.planes]))
            if better is not None and self.nodes:
                network, multipliers = node.relaxation.network, result.best.multipliers
                self._offer(node.relaxation, improve(network, better, self.bounds, multipliers, self.deadline))
        return result

    def _kept(self, relaxation: Relaxation, trial: Trial, allowed: np.ndarray) -> np.ndarray:
        """``allowed`` without the states that no better assignment can use."""
        return allowed & (relaxation.marginals(trial, allowed) > self.threshold)

    def _find_assignments(self, relaxation: Relaxation, result: DualResult) -> None:
        """Local improvement from the trials nearest to the least bound, and on the ways between them."""
        near, network, multipliers = _near(result)[:6], relaxation.network, result.best.multipliers
        found = [
            connect(network, first.row, second.row, self.bounds, multipliers)
            for first, second in itertools.permutations(near[:3], 2)
        ]
        outside = [self.bounds.violation(plane.costs[:, None])[0] for plane in near]
        for place in np.argsort(outside, kind="stable"):
            if outside[place] <= REPAIRED or self.incumbent.widths is None:
                found.append(repair(network, near[place].row, self.bounds, self.deadline))
                self._offer(relaxation, found[-1])
        for row in found:
            if row is not None:
                self._offer(relaxation, improve(network, row, self.bounds, multipliers, self.deadline))

    def _offer(self, relaxation: Relaxation, row: np.ndarray | None) -> None:
        if row is not None:
            self.incumbent.offer(relaxation, row[None])

    def _expand(self, node: Node) -> list[Node]:
        """Processes one node; returns its children."""
        self.nodes += 1
        if node.allowed.mean() <= SHRUNK:
            node = _rebuilt(node)
        relaxation, allowed = node.relaxation, node.allowed
        result = self._minimize(node, NODE_TRIALS)
        if result is None:
            return []
        bound = min(-node.rank, result.best.bound)
        if bound <= self.threshold:
            return []
        allowed = self._kept(relaxation, result.best, allowed)
        counts = _counts(relaxation, allowed)
        if not counts.all():
            return []
        if math.prod(counts[: relaxation.network.variables].tolist()) <= ENUMERATED:
            self.incumbent.offer(relaxation, _all_rows(relaxation, allowed))
            return []
        low, high = self._split(relaxation, result, allowed)
        return [self._node(bound, relaxation, part, result) for part in (low, high)]

    def _split(self, relaxation: Relaxation, result: DualResult, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Two parts of ``allowed``: one variable's states up to a middle one, and above it."""
        network, multipliers = relaxation.network, result.best.multipliers
        near = _near(result)
        other = near[1] if len(near) > 1 else None
        starts = network.starts
        if other is not None:
            variables = np.flatnonzero(near[0].row != other.row)
            rows = np.repeat(near[0].row[None], len(variables), axis=0)
            rows[np.arange(len(rows)), variables] = other.row[variables]
            _, costs = network.measure(rows)
            change = np.abs(multipliers @ (costs - near[0].costs[:, None]))
            variable = int(variables[change.argmax()])
            middle = (near[0].row[variable] + other.row[variable]) // 2
            states = np.flatnonzero(allowed[starts[variable] : starts[variable + 1]])
            if states[0] <= middle < states[-1]:
                return _parts(allowed, starts, variable, int(middle))
        variable = int(_counts(relaxation, allowed)[: network.variables].argmax())
        states = np.flatnonzero(allowed[starts[variable] : starts[variable + 1]])
        return _parts(allowed, starts, variable, int(states[(len(states) - 1) // 2]))


def _inside(node: Node) -> list[Plane]:
    """The node's planes whose states are all allowed."""
    if not node.planes:
        return []
    network = node.relaxation.network
    full = network.complete(np.array([plane.row for plane in node.planes]))
    inside = (full >= 0).all(axis=1) & node.allowed[network.starts[:-1] + np.maximum(full, 0)].all(axis=1)
    return [plane for plane, kept in zip(node.planes, inside, strict=True) if kept]


def _rebuilt(node: Node) -> Node:
    """The same node with a network of its allowed states only."""
    network = node.relaxation.network
    planes = _inside(node)
    relaxation = Relaxation(network.restrict(node.allowed), node.relaxation.bounds, node.relaxation.maxsum.order)
    if planes:
        rows = relaxation.network.rows(network.widths(np.array([plane.row for plane in planes])))
        planes = [Plane(row, plane.value, plane.costs) for row, plane in zip(rows, planes, strict=True)]
    allowed = np.ones(relaxation.network.states, dtype=bool)
    return Node(node.rank, node.number, relaxation, allowed, node.multipliers, planes)


def _counts(relaxation: Relaxation, allowed: np.ndarray) -> np.ndarray:
    """Allowed states of each node: ``[nodes]``."""
    return np.add.reduceat(allowed, relaxation.network.starts[:-1], dtype=np.int64)


def _parts(allowed: np.ndarray, starts: np.ndarray, node: int, middle: int) -> tuple[np.ndarray, np.ndarray]:
    low, high = allowed.copy(), allowed.copy()
    low[starts[node] + middle + 1 : starts[node + 1]] = False
    high[starts[node] : starts[node] + middle + 1] = False
    return low, high


def _near(result: DualResult) -> list[Plane]:
    """Assignments by how close they come to the least bound with its multipliers, closest first."""
    multipliers = result.best.multipliers
    scores = np.array([plane.value - float(multipliers @ plane.costs) for plane in result.planes])
    seen: set[bytes] = set()
    near = []
    for place in np.argsort(-scores, kind="stable"):
        key = result.planes[place].row.tobytes()
        if key not in seen:
            seen.add(key)
            near.append(result.planes[place])
    return near


def _all_rows(relaxation: Relaxation, allowed: np.ndarray) -> np.ndarray:
    """Every combination of allowed states of the variables: ``[rows, variables]``."""
    starts = relaxation.network.starts
    states = [np.flatnonzero(allowed[starts[v] : starts[v + 1]]) for v in range(relaxation.network.variables)]
    number = np.arange(math.prod(len(choice) for choice in states))
    rows = np.empty((len(number), len(states)), dtype=np.int64)
    for variable, choice in enumerate(states):
        number, place = np.divmod(number, len(choice))
        rows[:, variable] = choice[place]
    return rows
