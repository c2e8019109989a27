"""RandomSearch: uniform samples of the space; the baseline for every other strategy."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from nas.searcher.evaluator import Evaluation
from nas.strategies.options import SamplingOptions
from nas.strategies.strategy import SLOW_BATCH, SamplingStrategy, StrategyContext


class RandomSearch(SamplingStrategy):
    """Learns nothing: keeps a counter and the state of its generator."""

    name: ClassVar[str] = "random"

    def __init__(self, context: StrategyContext, options: SamplingOptions) -> None:
        super().__init__(context, options)
        self.batch = 2 * options.population if context.evaluator.additive else SLOW_BATCH
        self.rng = np.random.default_rng(context.seed)
        self._rng_before_ask: dict[str, Any] | None = None

    def ask(self) -> np.ndarray:
        """Uniform samples, int64 ``[N, genes]``."""
        self._refuse_when_finished()
        if self._rng_before_ask is None:
            self._rng_before_ask = dict(self.rng.bit_generator.state)
        return self.context.space.sample(min(self.batch, self.steps - self._told), self.rng)

    def tell(self, rows: np.ndarray, evaluation: Evaluation) -> None:
        """Count the candidates."""
        self._told += len(rows)
        self._rng_before_ask = None

    def state(self) -> dict[str, Any]:
        """Counter and generator as of the last ``tell``."""
        rng = self._rng_before_ask or dict(self.rng.bit_generator.state)
        return {"strategy": self.name, "told": self._told, "rng": rng}

    def restore(self, state: dict[str, Any]) -> None:
        """Resume from ``state()``."""
        self._check_owner(state)
        self._told, self._rng_before_ask = int(state["told"]), None
        self.rng.bit_generator.state = state["rng"]
