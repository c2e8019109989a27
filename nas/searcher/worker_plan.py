"""How a search is split: one population or islands, scores here or on workers, this process or Ray."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from workbench.errors import BadInput
from workbench.workers import Workers, check_workers, open_workers


@dataclass(frozen=True)
class WorkerPlan:
    """``islands``: 0 for one population. ``spreads``: whether workers compute the scores of that population."""

    islands: int
    spreads: bool
    open: Callable[[], Workers]
    notes: tuple[str, ...] = ()

    @staticmethod
    def of(strategy: str, additive: bool, workers: int | None, address: str | None, islands: int | None) -> WorkerPlan:
        """The requested plan, or the usual one for ``workers``."""
        check_workers(workers, address)
        if islands is not None and strategy != "evolution":
            raise BadInput(f"--islands {islands} are populations of --strategy evolution; {strategy} has none")
        if islands is not None and islands < 1:
            raise BadInput(f"--islands {islands} must be at least 1")
        if workers is None:
            return WorkerPlan(islands or 0, False, lambda: open_workers(None, None))
        if strategy == "exact":
            note = "the exact search runs in this process, where it takes seconds: --workers was not needed"
            return WorkerPlan(0, False, lambda: open_workers(None, None), (note,))
        if strategy != "evolution" and additive:
            raise BadInput(
                f"--strategy {strategy} is one sequence and its score takes microseconds: leave out --workers, "
                "or use --strategy evolution"
            )
        if islands is None and additive:
            islands = workers
        return WorkerPlan(islands or 0, islands is None, lambda: open_workers(workers, address))
