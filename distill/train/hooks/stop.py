"""Hooks that end a run early."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from distill.train.hooks.base import Hook
from distill.train.run_context import Request

if TYPE_CHECKING:
    from distill.train.loop import StepReport
    from distill.train.run_context import Run


class Interrupt(Hook):
    """Interrupts the run after the step in which ``asked`` becomes true; the state is saved first."""

    def __init__(self, asked: Callable[[], bool]) -> None:
        self.asked = asked

    def after_step(self, run: Run, report: StepReport) -> None:
        if self.asked():
            run.ask(Request.STOP)


class StopWhen(Hook):
    """Ends the run before an epoch once ``enough`` is true of the records of the epochs so far."""

    def __init__(self, enough: Callable[[list[dict[str, Any]]], bool]) -> None:
        self.enough = enough

    def is_enough(self, run: Run) -> bool:
        return self.enough(run.progress.history)


class EarlyStop(Hook):
    """Ends the run once AP has not risen for ``patience`` epochs."""

    def __init__(self, patience: int) -> None:
        self.patience = patience

    def is_enough(self, run: Run) -> bool:
        best, history = run.progress.best_epoch, run.progress.history
        evaluated = [record["epoch"] for record in history if record.get("ap") is not None]
        if not best or not evaluated or evaluated[-1] - best < self.patience:
            return False
        note = f"ended after epoch {history[-1]['epoch']} of {run.recipe.epochs}: AP has not risen since epoch {best}"
        if note not in run.progress.notes:
            run.progress.notes.append(note)
            run.log(note)
        return True


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Yield a callable that is true once Ctrl-C or SIGTERM has come; a second signal raises ``KeyboardInterrupt``."""
    received: list[int] = []

    def handle(number: int, frame: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    try:
        previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        previous = {}  # not the main thread: the caller has its own handlers
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
