"""Judging candidates: score and costs of rows, and whether they keep every budget.

The additive score and all costs are vectorised over the population. A score that needs a forward
pass (or is not a sum over blocks) is computed only for rows that keep their budgets: an over-budget
candidate is refused with a reason and never built.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.budgets import LATENCY, Budget
from nas.costs import SCORE_TICK, SpaceCosts
from workbench.errors import BadInput, missing_package
from zoo.resolve import ResolvedModel


@dataclass(frozen=True)
class Evaluation:
    """``score`` float ``[N]`` (NaN where an over-budget row was not scored), ``costs`` whole numbers ``[N]``,
    ``over`` float ``[N]``: 0 inside all budgets, else by how much the worst one is missed, relative."""

    score: np.ndarray
    costs: dict[str, np.ndarray]
    over: np.ndarray

    @property
    def feasible(self) -> np.ndarray:
        """Boolean ``[N]``."""
        return np.asarray(self.over == 0)


@dataclass(frozen=True)
class Limit:
    """One budget in whole numbers: ``low <= cost <= high``."""

    name: str
    low: int
    high: int
    text: str


def whole_limits(rulers: SpaceCosts, budgets: Sequence[Budget]) -> tuple[Limit, ...]:
    """Budgets as whole-number limits of these rulers, primary first."""
    limits = []
    for budget in budgets:
        name = _cost_name(rulers, budget)
        unit = rulers.unit(name)
        # A budget of 3 ms means at most 3.0000 ms: round towards the inside, with room for binary fractions.
        high, low = int(np.floor(budget.high / unit + 1e-6)), int(np.ceil(budget.low / unit - 1e-6))
        limits.append(Limit(name, max(0, low), high, str(budget)))
    return tuple(sorted(limits, key=lambda limit: rulers.cost_names.index(limit.name)))


def _cost_name(rulers: SpaceCosts, budget: Budget) -> str:
    """The cost that a budget bounds; a latency budget must say which device where there are several."""
    if budget.quantity != LATENCY:
        if budget.device is not None:
            raise BadInput(f"budget {budget}: only a latency belongs to a device; leave out {budget.device}:")
        return budget.quantity
    devices = {profile.name: name for name, profile in rulers.profiles.items()}
    if not devices:
        raise BadInput(f"budget {budget} needs a device: add --device t4 (see `nas devices`)")
    if budget.device is None:
        if len(devices) > 1:
            raise BadInput(f"budget {budget} names no device, and there are {len(devices)}: write {next(iter(devices))}:{budget}")
        return LATENCY
    if budget.device not in devices:
        raise BadInput(f"budget {budget} is for device {budget.device!r}, but the search has --device {' --device '.join(devices)}")
    return devices[budget.device]


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread inside: sums over several threads end in other bits, and a worker's machine may have fewer."""
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
    """Scores, costs and judges rows of one space under fixed budgets."""

    def __init__(self, rulers: SpaceCosts, limits: Sequence[Limit], score: str = "maxent", seed: int = 0) -> None:
        from nas.scores import get_score

        self.limits, self.seed = tuple(limits), seed
        self.score_name = score
        self._score = get_score(score)
        self.rulers = rulers.scoring(score) if self._score.additive else rulers
        self.candidates = 0
        self.ineffective = 0
        """Candidates that DeepMAD's effectiveness rule refused."""
        self.failed: list[dict[str, Any]] = []
        """Rows that could not be scored, each with its ``reason``."""

    @property
    def additive(self) -> bool:
        """Whether the score is a sum over blocks, so that exact search applies."""
        return bool(self._score.additive)

    @property
    def primary(self) -> str:
        """The cost that the front is drawn against."""
        return self.limits[0].name

    def judge(self, rows: np.ndarray) -> Evaluation:
        """Evaluate rows ``[N, genes]``."""
        self.candidates += len(rows)
        costs = self.rulers.costs(rows)
        over: np.ndarray = np.zeros(len(rows))
        for limit in self.limits:
            value = costs[limit.name]
            over = np.maximum(over, (value - limit.high) / max(1, limit.high))
            if limit.low:
                over = np.maximum(over, (limit.low - value) / limit.low)
        if self.additive:
            score = self.rulers.score(rows) * SCORE_TICK
        else:
            score = np.full(len(rows), np.nan)
            inside = np.flatnonzero(over <= 0)
            score[inside] = self.score_some(rows[inside])
        return Evaluation(score, costs, np.maximum(over, 0.0))

    def score_some(self, rows: np.ndarray) -> np.ndarray:
        """Scores ``[N]`` of rows that are worth it; NaN where one is refused."""
        with one_thread() if self._score.needs_torch else nullcontext():
            return np.array([self.score_one(row) for row in rows], dtype=np.float64)

    def score_one(self, row: np.ndarray) -> float:
        """The named score of one row, through its skeleton graph; NaN where DeepMAD's depth-to-width rule refuses it."""
        graph, px = ResolvedModel("", self.rulers.space.decode(row)).score_graph(self.rulers.input_px)
        result = self._score(graph, px, weights=self.rulers.weights, seed=self.seed)
        if result.notes.get("effectiveness", 0.0) > self._effectiveness_max():
            self.ineffective += 1
            return float("nan")
        return float(result.value)

    def _effectiveness_max(self) -> float:
        """DeepMAD's rule: a network deeper than this for its width is not worth its score (TinyNAS's own limits)."""
        return 0.5 if self.rulers.space.style == "mob" else 0.3
