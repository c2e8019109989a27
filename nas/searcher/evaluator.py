"""Evaluating candidates: score and costs of rows, and whether they keep every budget.

The additive score and all costs are vectorized over the population. A score that needs a forward pass (or is not a sum
over blocks) is computed only for rows that keep their budgets: an over-budget candidate is never built.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.budgets import Budget
from nas.costs import SpaceCosts, budget_cost, whole_limit
from nas.scores import WEIGHTS, get_score
from nas.scores.rows import SCORE_TICK
from workbench.errors import missing_package
from zoo.resolve import ResolvedModel


@dataclass(frozen=True)
class Evaluation:
    """Score and costs of N rows.

    ``score``: float ``[N]``, NaN where an over-budget row was not scored. ``costs``: integers ``[N]`` by name.
    ``over``: float ``[N]``, 0 within all budgets, else the relative excess over the worst one.
    """

    score: np.ndarray
    costs: dict[str, np.ndarray]
    over: np.ndarray

    @property
    def feasible(self) -> np.ndarray:
        """Boolean ``[N]``: within all budgets."""
        return np.asarray(self.over == 0)

    @property
    def usable(self) -> np.ndarray:
        """Indices of the rows that are feasible and have a score."""
        return np.flatnonzero(self.feasible & np.isfinite(self.score))


@dataclass(frozen=True)
class Limit:
    """One budget in integers: ``low <= cost <= high``."""

    name: str
    low: int
    high: int
    text: str


def whole_limits(space_costs: SpaceCosts, budgets: Sequence[Budget]) -> tuple[Limit, ...]:
    """Budgets as integer limits of these costs, primary one first."""
    limits = []
    for budget in budgets:
        name = budget_cost(space_costs.profiles, budget)
        low, high = whole_limit(budget, space_costs.unit(name))
        limits.append(Limit(name, low, high, str(budget)))
    return tuple(sorted(limits, key=lambda limit: space_costs.cost_names.index(limit.name)))


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread, so that sums have the same bits on machines with different numbers of cores."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise missing_package("this score", error.name, "torch") from error
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Evaluator:
    """Scores and costs of rows of one space under fixed budgets."""

    def __init__(
        self,
        space_costs: SpaceCosts,
        limits: Sequence[Limit],
        score: str,
        seed: int = 0,
        weights: tuple[float, ...] = WEIGHTS,
    ) -> None:
        self.space_costs, self.limits, self.seed, self.weights = space_costs, tuple(limits), seed, weights
        self.score = get_score(score)
        options = self.score.own(weights=weights, seed=seed)
        self.row_score = self.score.over_rows(space_costs, **options) if self.score.additive else None
        self.candidates = 0
        self.ineffective = 0
        """Candidates that the score's filter rejected."""
        self.failed: list[dict[str, Any]] = []
        """Rows that could not be scored, each with its ``reason``."""

    @property
    def additive(self) -> bool:
        """Whether the score is a sum over blocks, so that the exact search applies."""
        return self.row_score is not None

    @property
    def primary(self) -> str:
        """Name of the cost on the front's axis."""
        return self.limits[0].name

    def evaluate(self, rows: np.ndarray) -> Evaluation:
        """Evaluate rows ``[N, genes]``."""
        self.candidates += len(rows)
        costs = self.space_costs.costs(rows)
        over: np.ndarray = np.zeros(len(rows))
        for limit in self.limits:
            value = costs[limit.name]
            over = np.maximum(over, (value - limit.high) / max(1, limit.high))
            if limit.low:
                over = np.maximum(over, (limit.low - value) / limit.low)
        if self.additive and self.row_score is not None:
            score = self.row_score.total(rows) * SCORE_TICK
        else:
            score = np.full(len(rows), np.nan)
            inside = np.flatnonzero(over <= 0)
            score[inside] = self.score_rows(rows[inside])
        return Evaluation(score, costs, np.maximum(over, 0.0))

    def score_rows(self, rows: np.ndarray) -> np.ndarray:
        """Scores ``[N]`` of feasible rows, one by one; NaN where the score's filter rejects a row."""
        with one_thread() if self.score.needs_torch else nullcontext():
            return np.array([self.score_row(row) for row in rows], dtype=np.float64)

    def score_row(self, row: np.ndarray) -> float:
        """The score of one row's network; NaN where the score's filter rejects it."""
        space = self.space_costs.space
        arch = space.decode(row)
        side = arch.input_px or self.space_costs.input_px
        graph, px = ResolvedModel("", arch).score_graph(side, self.score.deployed)
        result = self.score(graph, px, **self.score.own(weights=self.weights, seed=self.seed))
        if self.score.filter is not None and self.score.filter.rejects(result, space):
            self.ineffective += 1
            return float("nan")
        return float(result.value)
