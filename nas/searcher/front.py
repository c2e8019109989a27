"""The Pareto front of the candidates that a search has evaluated: highest score, lowest primary cost."""

from __future__ import annotations

from typing import Any

import numpy as np


class Front:
    """Non-dominated rows, in ascending order of ``cost`` (integers) and ``score``."""

    def __init__(self, genes: int) -> None:
        self.rows = np.zeros((0, genes), dtype=np.int64)
        self.score = np.zeros(0)
        self.cost = np.zeros(0, dtype=np.int64)

    def add(self, rows: np.ndarray, score: np.ndarray, cost: np.ndarray) -> None:
        """Merge feasible, scored rows."""
        if not len(rows):
            return
        rows = np.concatenate([self.rows, rows])
        score, cost = np.concatenate([self.score, score]), np.concatenate([self.cost, cost])
        order = np.lexsort((*rows.T[::-1], -score, cost))
        reached = np.maximum.accumulate(score[order])
        keep = order[np.r_[True, reached[1:] > reached[:-1]]]
        self.rows, self.score, self.cost = rows[keep], score[keep], cost[keep]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"rows": self.rows.tolist(), "score": self.score.tolist(), "cost": self.cost.tolist()}

    def add_dict(self, data: dict[str, Any]) -> None:
        """Merge the output of ``to_dict``."""
        rows = np.array(data["rows"], dtype=np.int64).reshape(-1, self.rows.shape[1])
        self.add(rows, np.array(data["score"], dtype=float), np.array(data["cost"], dtype=np.int64))

    @property
    def best(self) -> int:
        """Index of the best score (the last point)."""
        return len(self.rows) - 1

    def hypervolume(self, limit: float) -> float:
        """Area under the front up to cost ``limit`` (score x cost units)."""
        inside = self.cost <= limit
        edges = np.r_[self.cost[inside], limit]
        return float(np.sum(self.score[inside] * np.diff(edges)))
