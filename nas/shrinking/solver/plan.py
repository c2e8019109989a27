"""An elimination order compiled for one network: shapes and index maps of every step.

Axes of all tables follow the order, the node that goes first leading. Tables of one step then add up by broadcasting
and the maximum runs over the leading axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nas.shrinking.solver.network import Link, Network
from nas.shrinking.solver.order import LARGEST, Order, Removal
from workbench.errors import BadInput

TABLE, MESSAGE, CONSTANT = range(3)
"""Where an input of a step comes from: the network, an earlier step, a link that became a table."""


@dataclass(frozen=True, eq=False)
class Substitution:
    """How a link replaces the step's node.

    ``state`` ``[first, second]`` gives the node's state for the states of ``others`` (-1: none fits). ``index`` picks,
    for every entry of the result, its entry of the added-up table; ``penalty`` is -inf where no state fits and
    broadcasts to the result. ``unique``: no entry is picked twice.
    """

    others: tuple[int, int]
    state: np.ndarray
    index: np.ndarray
    penalty: np.ndarray
    unique: bool

    @cached_property
    def valid(self) -> np.ndarray:
        """Where a state fits: ``bool``, shaped like the result."""
        return np.broadcast_to(self.penalty == 0, self.index.shape)


@dataclass(eq=False)
class Step:
    """Eliminates ``node``: adds up ``inputs`` (kind, number, shape) to ``shape``, whose axes are the nodes ``native``.

    The result has the axes ``out`` and goes to the step ``parent`` (-1: it is a number).
    """

    node: int
    native: tuple[int, ...]
    shape: tuple[int, ...]
    out: tuple[int, ...]
    out_shape: tuple[int, ...]
    inputs: list[tuple[int, int, tuple[int, ...]]]
    substitution: Substitution | None
    parent: int = -1


@dataclass(eq=False)
class Plan:
    """Steps in order.

    ``picked`` brings the network's flat tables into the order; table ``t`` begins at ``offsets[t]``. ``constants`` are
    links that became tables, ``scalars`` tables of a single entry.
    """

    network: Network
    steps: list[Step]
    picked: np.ndarray
    offsets: np.ndarray
    constants: list[np.ndarray]
    scalars: list[int]


def compile_plan(network: Network, order: Order) -> Plan:
    """The plan of ``order``, which may have been found for the same network with more states."""
    place = {step.node: position for position, step in enumerate(order.steps)}
    waiting: list[list[tuple[int, int, tuple[int, ...]]]] = [[] for _ in order.steps]
    picked, scalars = [], []
    for number, scope in enumerate(network.scopes):
        axes = sorted(range(len(scope)), key=lambda axis, scope=scope: place[scope[axis]])  # type: ignore[misc]
        nodes = tuple(scope[axis] for axis in axes if network.sizes[scope[axis]] > 1)
        begin, end = network.offsets[number], network.offsets[number + 1]
        shape = tuple(network.sizes[node] for node in scope)
        picked.append(np.arange(begin, end).reshape(shape).transpose(axes).ravel())
        if nodes:
            waiting[place[nodes[0]]].append((TABLE, number, nodes))
        else:
            scalars.append(number)
    plan = Plan(network, [], np.concatenate(picked) if picked else np.empty(0, int), network.offsets, [], scalars)
    for position, step in enumerate(order.steps):
        for link in step.spare:
            nodes = tuple(sorted(network.links[link].nodes, key=place.__getitem__))
            free = tuple(node for node in nodes if network.sizes[node] > 1)
            waiting[position].append((CONSTANT, len(plan.constants), free))
            plan.constants.append(_dense(network, network.links[link], nodes))
        compiled = _compile_step(network, step, waiting[position], place)
        if compiled.out:
            compiled.parent = place[compiled.out[0]]
            waiting[compiled.parent].append((MESSAGE, position, compiled.out))
        plan.steps.append(compiled)
    return plan


def _compile_step(
    network: Network, step: Removal, waiting: list[tuple[int, int, tuple[int, ...]]], place: dict[int, int]
) -> Step:
    native = tuple(sorted(step.native, key=place.__getitem__))
    out = tuple(sorted(step.out, key=place.__getitem__))
    shape = tuple(network.sizes[node] for node in native)
    out_shape = tuple(network.sizes[node] for node in out)
    if max(math.prod(shape), math.prod(out_shape)) > LARGEST:
        raise BadInput(
            f"the variables are too entangled: a table of {math.prod(shape):,} entries, at most {LARGEST:,}; "
            "give the variables fewer states"
        )
    inputs = []
    for kind, number, nodes in waiting:
        inputs.append((kind, number, tuple(network.sizes[node] if node in nodes else 1 for node in native)))
    inputs.sort(key=lambda item: math.prod(item[2]))
    substitution = None
    if step.link is not None:
        substitution = _substitute(network, network.links[step.link], native, out)
    return Step(native[0], native, shape, out, out_shape, inputs, substitution)


def _substitute(network: Network, link: Link, native: tuple[int, ...], out: tuple[int, ...]) -> Substitution:
    node = native[0]
    first, second = (other for other in link.nodes if other != node)
    state = network.link_map(link, node)

    def spread(table: np.ndarray) -> np.ndarray:
        """``table`` ``[first, second]`` with the axes of ``out``."""
        if first in out and second in out and out.index(first) > out.index(second):
            table = table.T
        return table.reshape([network.sizes[other] if other in (first, second) else 1 for other in out])

    index = np.zeros([1] * len(out), dtype=np.int32)
    stride = 1
    for other in reversed(native[1:]):
        axis = [1] * len(out)
        axis[out.index(other)] = -1
        index = index + (np.arange(network.sizes[other], dtype=np.int32) * stride).reshape(axis)
        stride *= network.sizes[other]
    index = index + spread(np.maximum(state, 0).astype(np.int32)) * stride
    penalty = np.where(spread(state) < 0, -np.inf, 0.0)
    unique = any(other in native or network.sizes[other] == 1 for other in (first, second))
    return Substitution((first, second), state, np.asarray(index), penalty, unique)


def _dense(network: Network, link: Link, nodes: tuple[int, ...]) -> np.ndarray:
    """The link as a table over ``nodes``: 0 where its sum holds, -inf elsewhere."""
    total = network.link_map(link, link.total)
    table = np.full([network.sizes[node] for node in link.nodes], -np.inf)
    first, second = np.nonzero(total >= 0)
    table[first, second, total[first, second]] = 0.0
    return table.transpose([link.nodes.index(node) for node in nodes])
