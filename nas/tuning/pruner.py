"""Which trials end early: asynchronous successive halving (ASHA, Li et al., MLSys 2020) in its stopping form.

A trial that reaches a rung goes on only if it belongs to the best third of those that have reached it so far. The decision follows
from what the storage holds and leaves no mark of its own, so that after a crash it is taken again, and alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.pruners import BasePruner

if TYPE_CHECKING:
    import optuna

FACTOR = 3
"""Of the trials at a rung, one in so many goes on, and the rungs lie so many times farther apart."""

RUNGS = 2
"""Rungs before the end: at a ninth and a third of the epochs."""


def rungs(epochs: int, evaluated: set[int]) -> tuple[int, ...]:
    """Epochs after which trials are compared: evaluated ones, from a ninth of the run on."""
    wanted = [epochs / FACTOR**power for power in range(RUNGS, 0, -1)]
    found = {min(e for e in evaluated if e >= at) for at in wanted}
    return tuple(sorted(found - {epochs}))


class SuccessiveHalving(BasePruner):
    """Says whether a trial that stands on a rung is to be pruned."""

    def __init__(self, at: tuple[int, ...]) -> None:
        self.at = at

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        """Whether the trial's last value is not among the best third at its rung; the first one at a rung always goes on."""
        step = trial.last_step
        if step not in self.at:
            return False
        value = trial.intermediate_values[step]
        others = [t.intermediate_values[step] for t in study.get_trials(deepcopy=False) if t.number != trial.number and step in t.intermediate_values]
        places = max(1, (len(others) + 1) // FACTOR)
        return sum(other > value for other in others) >= places
