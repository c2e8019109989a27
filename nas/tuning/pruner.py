"""Early end of trials: asynchronous successive halving (ASHA, Li et al., MLSys 2020) in its stopping form.

A trial that reaches a rung continues only if it is among the best third of those that have reached it so far. The
decision follows from the storage alone and stores nothing itself, so that it is repeated identically after a crash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.pruners import BasePruner

if TYPE_CHECKING:
    import optuna

FACTOR = 3
"""One of ``FACTOR`` trials continues from a rung, and the epochs of a rung are ``FACTOR`` times those of the last."""

RUNGS = 2
"""Rungs before the end: at a ninth and a third of the epochs."""


def rung_epochs(epochs: int, evaluated: set[int]) -> tuple[int, ...]:
    """Evaluated epochs after which trials are compared, from a ninth of the training on."""
    targets = [epochs / FACTOR**power for power in range(RUNGS, 0, -1)]
    rungs = {min(epoch for epoch in evaluated if epoch >= target) for target in targets}
    return tuple(sorted(rungs - {epochs}))


class AshaPruner(BasePruner):
    """Prunes a trial at a rung unless it is among the best third there."""

    def __init__(self, rungs: tuple[int, ...]) -> None:
        self.rungs = rungs

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        """Whether the trial's last value is not among the best third at its rung; the first one there continues."""
        step = trial.last_step
        if step not in self.rungs:
            return False
        value = trial.intermediate_values[step]
        others = [
            other.intermediate_values[step]
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number and step in other.intermediate_values
        ]
        places = max(1, (len(others) + 1) // FACTOR)
        return sum(other > value for other in others) >= places
