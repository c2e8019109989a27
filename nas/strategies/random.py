"""RandomSearch: uniform draws over the architectures of the space; the yardstick for every other strategy."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from nas.searcher.evaluator import Evaluation
from nas.strategies.strategy import SLOW_BATCH, SamplingStrategy, Settings


class RandomSearch(SamplingStrategy):
    """Learns nothing: only counts, and knows where its generator stands."""

    name: ClassVar[str] = "random"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.batch = 2 * settings.population if settings.evaluator.additive else SLOW_BATCH
        self.rng = np.random.default_rng(settings.seed)
        self._mark: dict[str, Any] | None = None

    def ask(self) -> np.ndarray:
        """Uniform draws, int64 ``[N, genes]``."""
        self._refuse_when_finished()
        if self._mark is None:
            self._mark = dict(self.rng.bit_generator.state)
        return self.settings.space.sample(min(self.batch, self.settings.steps - self._told), self.rng)

    def tell(self, rows: np.ndarray, judged: Evaluation) -> None:
        """Count."""
        self._told += len(rows)
        self._mark = None

    def state(self) -> dict[str, Any]:
        """Counter and generator as of the last ``tell``."""
        return {"strategy": self.name, "told": self._told, "rng": self._mark or dict(self.rng.bit_generator.state)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state()``."""
        self._check_owner(state)
        self._told, self._mark = int(state["told"]), None
        self.rng.bit_generator.state = state["rng"]
