"""An evaluator whose expensive scores are computed by workers, a few rows a job; costs and cheap scores stay here.

A score depends on its row alone, so the results equal those of one process. Rows of a job whose every attempt failed
are tried one by one; a row that still fails has no score but a reason.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nas.searcher.evaluator import Evaluator
from workbench.workers import Workers

JOBS_A_WORKER = 2
"""Jobs in flight for each worker: one that runs and one that waits; more would only fill memory."""

MOST_ROWS = 64
"""Most rows a job, so that a dead worker costs little."""


def score_rows(evaluator: Evaluator, rows: np.ndarray) -> tuple[np.ndarray, int]:
    """Scores ``[N]`` of rows, and how many of them the score's filter rejected."""
    before = evaluator.ineffective
    return evaluator.score_rows(rows), evaluator.ineffective - before


class ParallelEvaluator(Evaluator):
    """``Evaluator`` on ``workers``. ``failed`` collects the rows that no worker could score."""

    def __init__(self, evaluator: Evaluator, workers: Workers) -> None:
        super().__init__(
            evaluator.space_costs, evaluator.limits, evaluator.score.name, evaluator.seed, evaluator.weights
        )
        self.workers = workers
        self._evaluator = evaluator
        self._shared: Any = None

    def score_rows(self, rows: np.ndarray) -> np.ndarray:
        """Scores ``[N]``, in the order of the rows; NaN where there is none."""
        scores = np.full(len(rows), np.nan)
        size = int(np.clip(-(-len(rows) // (JOBS_A_WORKER * self.workers.count)), 1, MOST_ROWS))
        waiting = [(first, min(first + size, len(rows))) for first in range(0, len(rows), size)][::-1]
        while waiting or self.workers.in_flight:
            while waiting and self.workers.in_flight < JOBS_A_WORKER * self.workers.count:
                first, last = waiting.pop()
                self._start(first, last, rows)
            done = self.workers.wait()
            first, last = done.key  # type: ignore[misc]
            if not done.failure:
                scores[first:last], rejected = done.value
                self.ineffective += rejected
            elif last - first > 1:
                waiting += [(at, at + 1) for at in range(first, last)][::-1]
            else:
                self.failed.append({"row": rows[first].tolist(), "reason": done.failure})
        return scores

    def _start(self, first: int, last: int, rows: np.ndarray) -> None:
        if self._shared is None:
            self._shared = self.workers.share(self._evaluator)
        self.workers.start((first, last), score_rows, self._shared, rows[first:last])
