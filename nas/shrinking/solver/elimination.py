"""Max-sum over a network by variable elimination, and max-marginals by the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nas.shrinking.solver.network import Network
from nas.shrinking.solver.order import Order, find_order
from nas.shrinking.solver.plan import MESSAGE, TABLE, Plan, Step, compile_plan


@dataclass(eq=False)
class Forward:
    """What the way forward leaves: the greatest sum, and every step's added-up table and result."""

    best: float
    tables: list[np.ndarray]
    messages: list[np.ndarray]


class MaxSum:
    """Max-sum of ``flat`` tables over one network, again and again with other tables."""

    def __init__(self, network: Network, order: Order | None = None) -> None:
        self.network = network
        self.order = order or find_order(network)
        self.plan: Plan = compile_plan(network, self.order)

    def forward(self, flat: np.ndarray, allowed: np.ndarray | None = None) -> Forward:
        """The greatest sum of tables ``flat`` ``[entries]`` over the ``allowed`` states (``bool [states]``)."""
        plan, network = self.plan, self.network
        flat = flat[plan.picked]
        done = Forward(float(flat[plan.offsets[plan.scalars]].sum()), [], [])
        closed = None if allowed is None else np.where(allowed, 0.0, -np.inf)
        for step in plan.steps:
            total: np.ndarray | None = None
            for kind, number, shape in step.inputs:
                if kind == TABLE:
                    part = flat[plan.offsets[number] : plan.offsets[number + 1]]
                else:
                    part = done.messages[number] if kind == MESSAGE else plan.constants[number]
                part = part.reshape(shape)
                total = part if total is None else total + part
            if total is None or total.shape != step.shape:
                # No table of this step has all of its nodes: they lost states since the order was found.
                total = np.broadcast_to(0.0 if total is None else total, step.shape)
            if closed is not None:
                mask = closed[network.starts[step.node] : network.starts[step.node + 1]]
                if mask.any():
                    total = total + mask.reshape(-1, *(1,) * (total.ndim - 1))
            done.tables.append(total)
            done.messages.append(_eliminate(step, total))
            if not step.out:
                done.best += float(done.messages[-1])
        return done

    def assignment(self, done: Forward) -> np.ndarray:
        """States of all nodes ``[nodes]`` that reach the greatest sum, which must be finite."""
        state = np.zeros(len(self.network.sizes), dtype=np.int64)
        for step, table in zip(reversed(self.plan.steps), reversed(done.tables), strict=True):
            if step.substitution is not None:
                first, second = step.substitution.others
                state[step.node] = step.substitution.state[state[first], state[second]]
            else:
                fixed = (slice(None), *state[list(step.native[1:])].tolist())
                state[step.node] = table[fixed].argmax()
        return state

    def marginals(self, done: Forward) -> np.ndarray:
        """The greatest sum that each state of each node can be part of: ``[states]``."""
        plan, network = self.plan, self.network
        found = np.empty(network.states)
        down: list[np.ndarray | None] = [None] * len(plan.steps)
        for position in range(len(plan.steps) - 1, -1, -1):
            step, table = plan.steps[position], done.tables[position]
            above = down[position] if step.parent >= 0 else np.asarray(done.best - done.messages[position])
            belief = table + _lift(step, above)
            down[position] = None
            axes = tuple(range(1, belief.ndim))
            found[network.starts[step.node] : network.starts[step.node + 1]] = belief.max(axis=axes)
            for kind, number, shape in step.inputs:
                if kind == MESSAGE:
                    down[number] = _outside(belief, done.messages[number], shape)
        return found


def _eliminate(step: Step, table: np.ndarray) -> np.ndarray:
    if step.substitution is None:
        return table.max(axis=0)
    result = table.ravel().take(step.substitution.index)
    result += step.substitution.penalty
    return result


def _lift(step: Step, down: np.ndarray | None) -> np.ndarray:
    """What the rest of the network adds, from the result's axes to those of the step's own table."""
    assert down is not None, "the parent step comes later in the order"
    if step.substitution is None:
        return down[None]
    lifted = np.full(int(np.prod(step.shape)), -np.inf)
    index, values = step.substitution.index[step.substitution.valid], down[step.substitution.valid]
    if step.substitution.unique:
        lifted[index] = values
    else:
        np.maximum.at(lifted, index, values)
    return lifted.reshape(step.shape)


def _outside(belief: np.ndarray, message: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The greatest sum of everything but ``message``, for each of its entries."""
    axes = tuple(axis for axis, size in enumerate(shape) if size == 1 and belief.shape[axis] > 1)
    most = belief.max(axis=axes).reshape(message.shape)
    outside = np.full(message.shape, -np.inf)
    np.subtract(most, message, out=outside, where=np.isfinite(message))
    return outside
