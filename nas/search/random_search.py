"""RandomSearch: uniform draws over the architectures of the space; the yardstick for every other strategy."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from nas.search.evaluate import Judged
from nas.search.evolution import SLOW_CHILDREN, check_owner
from nas.search.strategy import Settings, Strategy
from search_spaces.errors import BadInput


class RandomSearch(Strategy):
    """Learns nothing: only counts, and knows where its generator stands."""

    name: ClassVar[str] = "random"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        if settings.steps < 1 or settings.population < 1:
            raise BadInput(f"steps {settings.steps} and population {settings.population} must be at least 1")
        self.batch = 2 * settings.population if settings.evaluator.additive else SLOW_CHILDREN
        self.rng = np.random.default_rng(settings.seed)
        self._told = 0
        self._mark: dict[str, Any] | None = None

    def ask(self) -> np.ndarray:
        """Uniform draws, int64 ``[N, genes]``."""
        if self.finished:
            raise BadInput(f"random has looked at all its {self.settings.steps} candidates: raise steps to go on")
        if self._mark is None:
            self._mark = dict(self.rng.bit_generator.state)
        return self.settings.space.sample(min(self.batch, self.settings.steps - self._told), self.rng)

    def tell(self, rows: np.ndarray, judged: Judged) -> None:
        """Count."""
        self._told += len(rows)
        self._mark = None

    @property
    def finished(self) -> bool:
        """All steps looked at."""
        return self._told >= self.settings.steps

    @property
    def progress(self) -> float:
        """Candidates told over candidates asked for in the settings."""
        return min(1.0, self._told / self.settings.steps)

    def state(self) -> dict[str, Any]:
        """Counter and generator as of the last ``tell``."""
        return {"strategy": self.name, "told": self._told, "rng": self._mark or dict(self.rng.bit_generator.state)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state()``."""
        check_owner(self, state)
        self._told, self._mark = int(state["told"]), None
        self.rng.bit_generator.state = state["rng"]
