"""The one interface of every search strategy: ask for rows, be told how they were judged."""

from __future__ import annotations

import abc
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from nas.search.evaluate import Evaluator, Judged
from search_spaces.space import Space


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
    def tell(self, rows: np.ndarray, judged: Judged) -> None:
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
