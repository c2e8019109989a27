"""The one interface of every search strategy: ask for rows, be told how they were judged."""

from __future__ import annotations

import abc
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from nas.searcher.evaluator import Evaluation, Evaluator
from search_spaces.space import Space
from workbench.errors import BadInput

SHARED_OPTIONS = ("folder", "time_limit_s")
"""Options that a run gives to every strategy; a strategy may have no use for them."""

SLOW_BATCH = 32
"""Candidates an ask when every score needs a forward pass: learn from each before paying for more."""


@dataclass(frozen=True)
class Settings:
    """What every strategy is given. ``steps``: candidates to look at (sampling strategies only)."""

    space: Space
    evaluator: Evaluator
    seed: int = 0
    steps: int = 200_000
    population: int = 512
    options: dict[str, Any] = field(default_factory=dict)


class Strategy(abc.ABC):
    """``while not finished: rows = ask(); tell(rows, evaluator.judge(rows))``."""

    name: ClassVar[str]

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abc.abstractmethod
    def ask(self) -> np.ndarray:
        """The next rows to judge, int64 ``[N, genes]``, all inside the space; N is the strategy's own."""

    @abc.abstractmethod
    def tell(self, rows: np.ndarray, judged: Evaluation) -> None:
        """Learn from judged rows (the ones asked for, in order)."""

    @property
    @abc.abstractmethod
    def finished(self) -> bool:
        """Nothing more to ask."""

    @abc.abstractmethod
    def state(self) -> dict[str, Any]:
        """Everything needed to go on after a crash, as JSON-ready data."""

    @abc.abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state()``; the same asks follow as would have without the crash."""

    @property
    def progress(self) -> float:
        """Share of the work done, 0 to 1."""
        return 0.0


class SamplingStrategy(Strategy):
    """What strategies share that look at ``settings.steps`` candidates and then stop."""

    least_population: ClassVar[int] = 1

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        if settings.steps < 1 or settings.population < self.least_population:
            raise BadInput(
                f"steps {settings.steps} must be at least 1 and population {settings.population} at least {self.least_population}"
            )
        self._told = 0

    @property
    def finished(self) -> bool:
        """All steps looked at."""
        return self._told >= self.settings.steps

    @property
    def progress(self) -> float:
        """Candidates told over candidates asked for in the settings."""
        return min(1.0, self._told / self.settings.steps)

    def _refuse_when_finished(self) -> None:
        if self.finished:
            raise BadInput(f"{self.name} has looked at all its {self.settings.steps} candidates: raise steps to go on")

    def _check_owner(self, state: dict[str, Any]) -> None:
        """Refuse a state that another strategy saved."""
        saved = state.get("strategy")
        if saved != self.name:
            raise BadInput(f"this search was saved by strategy {saved!r}, not {self.name!r}: resume with --strategy {saved}")
