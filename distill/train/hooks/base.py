"""The interface of a hook."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distill.train.loop import Loop, StepReport
    from distill.train.run_context import Run


class Hook:
    """Extends a training run. The run calls each method on every hook, in the order of its list; all do nothing here.

    With several processes every one of them has the same hooks; only the one whose ``run.group.writes`` is true may
    write files.
    """

    def before_training(self, run: Run) -> None:
        """Called once before the first step, unless the run is complete already."""

    def is_enough(self, run: Run) -> bool:
        """Called before every epoch. True ends the run there; another call of ``train`` resumes it."""
        return False

    def before_step(self, run: Run) -> None:
        """Called before the optimizer step number ``run.loop.step``."""

    def after_step(self, run: Run, report: StepReport) -> None:
        """Called after a step; ``run.ask`` requests a state file or an interruption."""

    def after_rollback(self, run: Run, reason: str) -> None:
        """Called instead of ``after_step`` when the step overflowed and the loop returned to an earlier state."""

    def after_epoch(self, run: Run) -> None:
        """Called after the last step of an epoch; ``run.record`` is the epoch's record in the history."""

    def save_state(self, run: Run) -> None:
        """Called when the run must be resumable from here: at a request within an epoch, and when data fail."""


class BeforeTraining(Hook):
    """Calls a function with the loop before the first step."""

    def __init__(self, function: Callable[[Loop], None]) -> None:
        self.function = function

    def before_training(self, run: Run) -> None:
        self.function(run.loop)
