"""The order in which nodes are eliminated: greedy, several tries, the cheapest one kept.

Eliminating a node adds up all tables that contain it and takes the maximum over its states. A node with a link is
substituted instead: the link's other two nodes determine it, and the maximum is a look-up. Nodes with a single state
are in no table and go last.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nas.shrinking.solver.network import Network

TRIES = 24
"""Greedy orders that are compared."""
LARGEST = 20_000_000
"""Entries of the largest table that an order may need."""
CHEAP = 20_000
"""An order with at most so many entries needs no further tries."""


@dataclass(frozen=True)
class Removal:
    """One step: ``node`` goes, ``link`` (an index, or None) substitutes it, ``spare`` links become tables.

    ``native``: nodes of the added-up table, without the link's; ``out``: nodes of the result.
    """

    node: int
    link: int | None
    spare: tuple[int, ...]
    native: frozenset[int]
    out: frozenset[int]
    entries: int


@dataclass(frozen=True)
class Order:
    """All steps, and the entries of all tables and of the largest one."""

    steps: tuple[Removal, ...]
    entries: int
    largest: int


class _Graph:
    """Tables and links that are left while nodes are eliminated."""

    def __init__(self, network: Network) -> None:
        self.sizes = network.sizes
        self.free = frozenset(node for node, size in enumerate(self.sizes) if size > 1)
        self.nodes = [frozenset(link.nodes) for link in network.links]
        self.tables: list[set[frozenset[int]]] = [set() for _ in self.sizes]
        self.links: list[set[int]] = [set() for _ in self.sizes]
        for scope in network.scopes:
            table = self.free.intersection(scope)
            for node in table:
                self.tables[node].add(table)
        for number, nodes in enumerate(self.nodes):
            for node in nodes:
                self.links[node].add(number)

    def volume(self, nodes: frozenset[int]) -> int:
        return math.prod(self.sizes[node] for node in nodes)

    def step(self, node: int) -> Removal:
        """How ``node`` would be eliminated now, with its cheapest link."""
        tables = frozenset({node}).union(*self.tables[node])
        if not self.links[node]:
            return Removal(node, None, (), tables, tables - {node}, self.volume(tables))
        found = []
        for link in sorted(self.links[node]):
            spare = tuple(sorted(self.links[node] - {link}))
            native = tables.union(*(self.nodes[other] & self.free for other in spare))
            out = (native | (self.nodes[link] & self.free)) - {node}
            entries = max(self.volume(native), self.volume(out))
            found.append(Removal(node, link, spare, native, out, entries))
        return min(found, key=lambda step: step.entries)

    def apply(self, step: Removal) -> set[int]:
        """Eliminates; returns the nodes whose step may have changed."""
        changed = set(step.out)
        for table in self.tables[step.node].copy():
            for node in table:
                self.tables[node].discard(table)
        for link in self.links[step.node].copy():
            for node in self.nodes[link]:
                self.links[node].discard(link)
                changed.add(node)
        for node in step.out:
            self.tables[node].add(step.out)
        changed.discard(step.node)
        return changed


def _growth(graph: _Graph, step: Removal) -> float:
    """Entries that the step adds to those which are held anyway."""
    return graph.volume(step.out) - sum(graph.volume(table) for table in graph.tables[step.node])


SCORES: tuple[Callable[[_Graph, Removal], float], ...] = (
    lambda graph, step: step.entries,
    lambda graph, step: graph.volume(step.out),
    _growth,
    lambda graph, step: step.entries * len(step.out),
)
"""What a greedy order makes small at every step."""


def _greedy(network: Network, score: Callable[[_Graph, Removal], float], noise: random.Random | None) -> Order:
    graph = _Graph(network)
    left = {node: graph.step(node) for node in range(len(network.sizes))}

    def rank(step: Removal) -> tuple[float, float]:
        if step.node not in graph.free:
            return math.inf, step.node
        value = score(graph, step)
        return value * (noise.uniform(0.7, 1.3) if noise else 1.0), step.node

    ranks = {node: rank(step) for node, step in left.items()}
    steps = []
    while left:
        node = min(ranks, key=ranks.__getitem__)
        step = left.pop(node)
        del ranks[node]
        steps.append(step)
        for other in sorted(graph.apply(step)):
            left[other] = graph.step(other)
            ranks[other] = rank(left[other])
    return Order(tuple(steps), sum(step.entries for step in steps), max((s.entries for s in steps), default=0))


def find_order(network: Network, tries: int = TRIES, scores: Sequence[int] = (0, 1, 2, 3)) -> Order:
    """The cheapest of ``tries`` greedy orders; the same one every time."""
    noise = random.Random(0)
    found = []
    for attempt in range(max(tries, 1)):
        score = SCORES[scores[attempt % len(scores)]]
        found.append(_greedy(network, score, noise if attempt >= len(scores) else None))
        if found[-1].entries <= CHEAP:
            break
    return min(found, key=lambda order: (order.entries, order.largest))
