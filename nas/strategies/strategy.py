"""The one interface of every search strategy: ask for rows, evaluate them, tell the strategy the results."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nas.searcher.evaluator import Evaluation, Evaluator
from nas.searcher.front import Front
from nas.strategies.options import SamplingOptions, StrategyOptions
from search_spaces.space import Space
from workbench.errors import BadInput
from workbench.workers import Workers

SLOW_BATCH = 32
"""Candidates an ask when every score needs a forward pass: learn from each before paying for more."""

CHECKPOINT = "checkpoint"
"""Kind of the journal record that holds a strategy's state and the front."""


@dataclass(frozen=True)
class StrategyContext:
    """What a search gives to every strategy, beside the strategy's own options.

    ``folder``: where it may keep files of its own. ``workers``: processes that it may use. ``time_limit_s``: seconds
    after which a proof is given up. ``log``: shows progress within one ``ask``.
    """

    evaluator: Evaluator
    seed: int = 0
    folder: Path | None = None
    workers: Workers | None = None
    time_limit_s: float = math.inf
    log: Callable[[str], None] = lambda text: None

    @property
    def space(self) -> Space:
        """The search space."""
        return self.evaluator.space_costs.space


@dataclass
class SearchState:
    """A search in progress: its Pareto front, candidates evaluated, and seconds spent."""

    front: Front
    candidates: int = 0
    seconds: float = 0.0


class Strategy(abc.ABC):
    """``while not finished: rows = ask(); tell(rows, evaluate(rows))``.

    A new strategy is a subclass with its options dataclass, and one line in ``STRATEGIES``.
    """

    name: ClassVar[str]
    options_type: ClassVar[type[StrategyOptions]] = StrategyOptions
    saves_every_step: ClassVar[bool] = False
    """Whether ``save`` is cheap enough to be called after every ``tell``."""

    def __init__(self, context: StrategyContext) -> None:
        self.context = context

    @abc.abstractmethod
    def ask(self) -> np.ndarray:
        """The next rows to evaluate, int64 ``[N, genes]``, all inside the space; the strategy chooses N."""

    def evaluate(self, rows: np.ndarray) -> Evaluation:
        """Evaluations of the asked rows."""
        return self.context.evaluator.evaluate(rows)

    @abc.abstractmethod
    def tell(self, rows: np.ndarray, evaluation: Evaluation) -> None:
        """Learn from evaluated rows (the asked ones, in order)."""

    @property
    @abc.abstractmethod
    def finished(self) -> bool:
        """Whether there is nothing more to ask."""

    @property
    @abc.abstractmethod
    def candidates(self) -> int:
        """Candidates evaluated so far."""

    @property
    def ineffective(self) -> int:
        """Candidates that the score's filter rejected."""
        return self.context.evaluator.ineffective

    @property
    def progress(self) -> float:
        """Share of the work done, 0 to 1."""
        return 0.0

    @property
    def certificate(self) -> dict[str, Any] | None:
        """What was proved, JSON-ready; None for strategies that prove nothing."""
        return None

    @abc.abstractmethod
    def state(self) -> dict[str, Any]:
        """Everything needed to resume after a crash, JSON-ready."""

    @abc.abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Resume from ``state()``; the same asks follow as would have without the crash."""

    def save(self, search: SearchState) -> Iterator[tuple[str, dict[str, Any]]]:
        """Journal records (kind and data) from which ``load`` restores strategy and search."""
        front, spent = search.front.to_dict(), search.seconds
        yield CHECKPOINT, {"strategy": self.state(), "front": front, "seen": search.candidates, "seconds": spent}

    def load(self, latest: Callable[[str], dict[str, Any] | None], search: SearchState) -> None:
        """Restore strategy and search from the ``latest`` journal record of each kind, where there is one."""
        record = latest(CHECKPOINT)
        if record is None:
            return
        self.restore(record["strategy"])
        search.front.add_dict(record["front"])
        search.candidates, search.seconds = int(record["seen"]), float(record["seconds"])


class SamplingStrategy(Strategy):
    """Base of strategies that evaluate ``options.steps`` candidates and then stop."""

    options_type: ClassVar[type[StrategyOptions]] = SamplingOptions

    def __init__(self, context: StrategyContext, options: SamplingOptions) -> None:
        super().__init__(context)
        self.steps = options.steps
        self._told = 0

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self._told >= self.steps

    @property
    def candidates(self) -> int:
        """Candidates told so far."""
        return self._told

    @property
    def progress(self) -> float:
        """Candidates told over steps."""
        return min(1.0, self._told / self.steps)

    def _refuse_when_finished(self) -> None:
        if self.finished:
            raise BadInput(f"{self.name} has evaluated all its {self.steps} candidates: raise steps to continue")

    def _check_owner(self, state: dict[str, Any]) -> None:
        """Refuse a state that another strategy saved."""
        saved = state.get("strategy")
        if saved != self.name:
            way_out = f"resume with --strategy {saved}"
            raise BadInput(f"this search was saved by strategy {saved!r}, not {self.name!r}: {way_out}")
