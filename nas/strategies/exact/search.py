"""Exact search: the best architecture of an additive score under budgets, with a certificate.

Two methods share one layered graph (``layers``): value tables that hold the whole Pareto front when the main budget
fits in a table and at most the layer count stands beside it, and label setting with those tables as bounds for
everything else. All sums are over integers, so comparisons are exact: the winner among equals has the least main cost,
then the least of the other budgeted costs in order, then the smallest genes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nas.budgets import LAYERS, format_cost
from nas.scores import additive_scores
from nas.scores.rows import SCORE_TICK, RowScore
from nas.scores.variant_rows import VariantRows
from nas.searcher.evaluator import Evaluation, Limit
from nas.strategies.exact.labels import PASSES, LabelResult, LabelSearch
from nas.strategies.exact.layers import Layers
from nas.strategies.exact.values import Axes, Values, table_bytes
from nas.strategies.options import StrategyOptions
from nas.strategies.strategy import Strategy, StrategyContext
from workbench.errors import BadInput

TABLE_TICKS = 65_536
"""Main budgets of at most this many integer units are tabled exactly."""
TABLE_BYTES = 1_500_000_000
"""Exact tables larger than this give way to label setting."""
COARSE_STEPS = 4_096
"""Steps of a table that only bounds."""
LADDER = 8
"""Points of the front where it cannot be read off a table: equally spaced budgets, each proved."""

Progress = Callable[[str, float], None]
"""Called with what is being computed and the share of it that is done."""


@dataclass(frozen=True)
class Certificate:
    """What was proved and how: ``bound`` is a score that nothing in the space can exceed under the budgets."""

    score: float
    bound: float
    proved: bool
    options: int
    arcs: int
    labels: int
    table_entries: int
    seconds: float
    method: str
    front: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True)
class ExactResult:
    """Rows of the front ``[n, genes]`` (the best one last) and the certificate."""

    rows: np.ndarray
    certificate: Certificate


@dataclass(frozen=True)
class ExactProblem:
    """The layered graph with the limits as arrays ``[resources]``, fixed costs subtracted.

    ``second``: column of a resource that is small enough to be kept exactly in tables, counted in ``second_unit``.
    ``sides``: columns of the other resources beside the main one.
    """

    limits: tuple[Limit, ...]
    layers: Layers
    highs: np.ndarray
    lows: np.ndarray
    second: int | None = None
    second_unit: int = 1
    sides: tuple[int, ...] = ()

    def table_bytes(self, step: int) -> int:
        """Size of the main table when costs are counted in ``step`` integer units."""
        top = 0 if self.second is None else int(self.highs[self.second]) // self.second_unit
        return table_bytes(self.layers, 0, top, step)


@dataclass(frozen=True)
class Solution:
    """Rows of the front ``[n, genes]``, best score and its bound in ticks, and how they were found."""

    rows: np.ndarray
    score: float
    bound: float
    labels: int
    table_entries: int
    method: str
    front: str


@dataclass(frozen=True)
class KnownFront:
    """A front that is known already, by ascending main cost: ``costs`` (without fixed ones) and ``scores`` in ticks."""

    costs: np.ndarray
    scores: np.ndarray

    def scores_at(self, costs: np.ndarray) -> np.ndarray:
        """The best known score ``[n]`` at no more than each cost, -inf below the least."""
        reached = np.r_[-np.inf, np.maximum.accumulate(self.scores)]
        return np.asarray(reached[np.searchsorted(self.costs, costs, side="right")])

    @staticmethod
    def of(row_score: RowScore, rows: np.ndarray, limit: Limit) -> KnownFront:
        """The front of rows."""
        costs = row_score.costs.costs(rows)[limit.name] - row_score.costs.fixed[limit.name]
        order = np.argsort(costs, kind="stable")
        return KnownFront(costs[order], row_score.total(rows)[order].astype(np.float64))


def solve(
    row_score: RowScore,
    limits: tuple[Limit, ...],
    progress: Progress = lambda what, share: None,
    time_limit_s: float = math.inf,
    known: KnownFront | None = None,
) -> ExactResult:
    """Find the best row and prove it; label setting stops proving after ``time_limit_s`` and says so.

    Points of the front that a ``known`` one beats are left out where the front is read off a table; the best is proved
    all the same.

    Raises ``BadInput`` with the closest reachable value when nothing satisfies the limits.
    """
    if isinstance(row_score, VariantRows):
        return _solve_variants(row_score, limits, progress, time_limit_s)
    start = time.perf_counter()
    problem = _pose(row_score, limits)
    if problem.highs[0] <= TABLE_TICKS and not problem.sides and problem.table_bytes(1) <= TABLE_BYTES:
        solution = _by_table(problem, progress, known)
    else:
        solution = _by_labels(problem, progress, time.monotonic() + time_limit_s)
    certificate = Certificate(
        score=solution.score * SCORE_TICK,
        bound=solution.bound * SCORE_TICK,
        proved=solution.bound <= solution.score,
        options=row_score.costs.space.size(),
        arcs=problem.layers.arcs,
        labels=solution.labels,
        table_entries=solution.table_entries,
        seconds=round(time.perf_counter() - start, 3),
        method=solution.method,
        front=solution.front,
    )
    return ExactResult(solution.rows, certificate)


def _solve_variants(
    row_score: VariantRows, limits: tuple[Limit, ...], progress: Progress, time_limit_s: float
) -> ExactResult:
    """Solve every variant of a space alone; the best of all is proved where each one is.

    A variant that cannot meet the limits is left out; where none can, the first one's refusal is raised.
    """
    start, space = time.perf_counter(), row_score.union
    found: list[ExactResult] = []
    rows: list[np.ndarray] = []
    refusal: BadInput | None = None
    for place, (variant, part) in enumerate(zip(space.variants, row_score.parts, strict=True)):

        def of_variant(what: str, share: float, at: int = place) -> None:
            progress(f"variant {at + 1} of {len(space.variants)}  {what}", (at + share) / len(space.variants))

        left = max(0.0, time_limit_s - (time.perf_counter() - start))
        known = KnownFront.of(row_score, np.concatenate(rows), limits[0]) if rows else None
        try:
            result = solve(part, limits, of_variant, left, known)
        except BadInput as error:
            refusal = refusal or error
            continue
        found.append(result)
        rows.append(space.embed(variant, result.rows))
    if not found:
        assert refusal is not None
        raise refusal
    certificates = [result.certificate for result in found]
    score, bound = max(c.score for c in certificates), max(c.bound for c in certificates)
    total = {name: sum(getattr(c, name) for c in certificates) for name in ("arcs", "labels", "table_entries")}
    methods, fronts = ("; ".join(dict.fromkeys(getattr(c, name) for c in certificates)) for name in ("method", "front"))
    certificate = Certificate(
        score=score, bound=bound, proved=bound <= score, options=space.size(), **total,
        seconds=round(time.perf_counter() - start, 3), method=methods, front=fronts,
    )  # fmt: skip
    # The best row last, ties as within a variant: by budgeted costs in order, then by genes.
    bests = np.concatenate([own[-1:] for own in rows])
    costs, scores = row_score.costs.costs(bests), row_score.total(bests)
    order = np.lexsort((*bests.T[::-1], *(costs[limit.name] for limit in reversed(limits)), -scores))
    best = bests[order[0]]
    every = np.concatenate(rows)
    return ExactResult(np.concatenate([every[(every != best).any(axis=1)], best[None]]), certificate)


def _pose(row_score: RowScore, limits: tuple[Limit, ...]) -> ExactProblem:
    """The problem as a layered graph; refuses a budget that cannot be met alone."""
    space_costs = row_score.costs
    fixed, space = space_costs.fixed, space_costs.space
    names = tuple(limit.name for limit in limits)
    # An open end becomes the largest integer that keeps sums safe.
    highs = np.array([min(limit.high, 2**60) - fixed[limit.name] for limit in limits], dtype=np.int64)
    lows = np.array([max(0, limit.low - fixed[limit.name]) for limit in limits], dtype=np.int64)
    layers = Layers(row_score, names, dict(zip(names, highs.tolist(), strict=True)), thin=not lows.any())
    least, greatest = layers.least_total(), layers.greatest_total()
    for i, limit in enumerate(limits):
        reach = None
        if highs[i] < least[i]:
            reach = "least", least[i]
        elif lows[i] > greatest[i]:
            reach = "most", greatest[i]
        if reach is not None:
            closest = format_cost(limit.name, (int(reach[1]) + fixed[limit.name]) * space_costs.unit(limit.name))
            raise BadInput(
                f"budget {limit.text} cannot be met in space {space.name!r}: the {reach[0]} reachable is {closest}"
            )
    highs = np.minimum(highs, greatest)
    layers.limits = highs
    second, unit = None, 1
    if LAYERS in names[1:]:
        column = names.index(LAYERS)
        unit = layers.common_unit(column)
        if highs[column] // unit <= 64:
            second = column
    sides = tuple(i for i in range(1, len(names)) if i != second)
    return ExactProblem(limits, layers, highs, lows, second, unit, sides)


def _by_table(problem: ExactProblem, progress: Progress, known: KnownFront | None = None) -> Solution:
    """One exact table; the front is read off its root."""
    bounded_below = bool(problem.lows.any())
    axes = Axes(0, int(problem.highs[0]), 1, problem.second, problem.second_unit)
    table = Values(problem.layers, axes, prune=not bounded_below, progress=lambda share: progress("tables", share))
    root = table.root.copy()
    if problem.second is not None:
        root[: -(-int(problem.lows[problem.second]) // problem.second_unit)] = -np.inf
    root[:, : max(0, int(problem.lows[0]) - table.root_low)] = -np.inf
    if not np.isfinite(root).any():
        raise _nothing_found(problem)
    best = root.max(axis=0)
    reached = np.maximum.accumulate(best)
    points = np.flatnonzero(np.r_[np.isfinite(best[:1]), reached[1:] > reached[:-1]])
    if known is not None:
        points = points[best[points] > known.scores_at(points + table.root_low)]
    rows = []
    for i, column in enumerate(points.tolist()):
        units = int(np.flatnonzero(root[:, column] == best[column])[0])
        rows.append(table.trace(units, column + table.root_low, float(best[column])))
        if i % 64 == 0:
            progress("front", i / len(points))
    score = float(reached[-1])
    genes = problem.layers.space.genes
    found = np.array(rows, dtype=np.int64).reshape(-1, genes)
    return Solution(found, score, score, table.reached, table.entries, "tables", front="complete")


def _by_labels(problem: ExactProblem, progress: Progress, deadline: float) -> Solution:
    """Bounding tables, then label setting for the budget and, for the front, for a ladder of smaller ones."""
    tables = _bounding_tables(problem, progress)
    labels = 0

    def solve_under(highs: np.ndarray, share: float, passes: int) -> LabelResult:
        nonlocal labels
        search = LabelSearch(problem.layers, tables, highs, problem.lows, deadline)
        result = search.solve(lambda stage, made: progress(f"labels {labels + made:,}", share), passes)
        labels += result.labels
        return result

    top = solve_under(problem.highs, 0.5, len(PASSES))
    if top.row is None:
        raise _nothing_found(problem, proved=top.cut == -np.inf)
    results = [top]
    floor = max(int(problem.layers.least_total()[0]), int(problem.lows[0]))
    for rung in range(LADDER - 1, 0, -1):
        if time.monotonic() > deadline:
            break
        highs = problem.highs.copy()
        highs[0] = floor + (int(problem.highs[0]) - floor) * rung // LADDER
        highs[0] = min(highs[0], int(results[-1].costs[0]) - 1)
        if highs[0] < floor:
            break
        lower = solve_under(highs, 1.0 - 0.5 * rung / LADDER, len(PASSES) - 1)
        if lower.row is None:
            break
        results.append(lower)
    rows = np.array([result.row for result in reversed(results)], dtype=np.int64)
    proved = sum(result.bound <= result.score for result in results)
    front = f"ladder of {len(results)} budgets, {proved} of them proved"
    return Solution(rows, top.score, top.bound, labels, sum(table.entries for table in tables), "labels", front)


def _bounding_tables(problem: ExactProblem, progress: Progress) -> list[Values]:
    """One table a budget, one for the main budget together with each other one, and one for all of them together."""
    layers = problem.layers
    tables: list[Values] = []
    stages = range(layers.depth + layers.open_tail)
    nodes = sum(len(layers.combos(stage, cin)) for stage in stages for cin in layers.widths[stage])
    count = 2 + 2 * len(problem.sides)

    def add(main: int, second: int | None, steps: int, weights: np.ndarray | None = None, ceiling: float = 0.0) -> None:
        ceiling = ceiling or float(problem.highs[main])
        rows = nodes * (1 if second is None else 1 + int(problem.highs[second]) // problem.second_unit)
        affordable = TABLE_BYTES / (8 * rows * count)
        step = max(1, math.ceil(ceiling / max(64, min(steps, affordable))))
        unit = problem.second_unit if second is not None else 1
        tables.append(Values(layers, Axes(main, int(ceiling), step, second, unit, weights)))
        progress("bounds", 0.4 * len(tables) / count)

    add(0, problem.second, COARSE_STEPS)
    side_steps = COARSE_STEPS // (2 if problem.second is None else 4)
    groups: list[tuple[int, ...]] = [(0, side) for side in problem.sides]
    if len(problem.sides) > 1:
        groups.append((0, *problem.sides))
    for side in problem.sides:
        add(side, problem.second, side_steps)
    for group in groups:
        # Scaled so that each budget counts ``scale``: whatever keeps them all keeps their sum.
        scale = 2 * side_steps / len(group)
        weights = np.zeros(len(problem.highs))
        for column in group:
            weights[column] = scale / max(1, problem.highs[column])
        add(0, problem.second, 2 * side_steps, weights, 2.0 * side_steps + 2)
    return tables


def _nothing_found(problem: ExactProblem, proved: bool = True) -> BadInput:
    space_costs = problem.layers.space_costs
    texts = " with ".join(limit.text for limit in problem.limits)
    closest = ", ".join(
        format_cost(limit.name, (int(low) + space_costs.fixed[limit.name]) * space_costs.unit(limit.name))
        for limit, low in zip(problem.limits, problem.layers.least_total(), strict=True)
    )
    verdict = "satisfies" if proved else "was found that satisfies"
    return BadInput(
        f"no architecture of space {space_costs.space.name!r} {verdict} {texts} together; "
        f"alone, the least reachable are {closest}"
    )


class ExactSearch(Strategy):
    """Solves the whole problem on the first ``ask`` and returns the proved front."""

    name: ClassVar[str] = "exact"

    def __init__(self, context: StrategyContext, options: StrategyOptions) -> None:
        super().__init__(context)
        if context.evaluator.row_score is None:
            additive = " or ".join(score.name for score in additive_scores())
            raise BadInput(
                f"score {context.evaluator.score.name!r} is not a sum over blocks, so it cannot be searched exactly: "
                f"use --strategy evolution, or --score {additive}"
            )
        self.row_score = context.evaluator.row_score
        self.result: ExactResult | None = None
        self._told = 0

    def ask(self) -> np.ndarray:
        """All rows of the front, cheapest first."""
        if self.result is None:
            began = time.monotonic()

            def progress(what: str, share: float) -> None:
                self.context.log(f"exact  {what}  {share:4.0%}  {time.monotonic() - began:.0f} s")

            limits, time_limit_s = self.context.evaluator.limits, self.context.time_limit_s
            self.result = solve(self.row_score, limits, progress, time_limit_s)
        return self.result.rows

    def tell(self, rows: np.ndarray, evaluation: Evaluation) -> None:
        """Check that the evaluation agrees with the proof; a difference is a defect of this program."""
        assert self.result is not None
        best = float(np.max(evaluation.score))
        if not evaluation.feasible.all() or abs(best - self.result.certificate.score) > 1e-6:
            raise RuntimeError("the exact search and the evaluator disagree: please report this with the command")
        self._told = len(rows)

    @property
    def finished(self) -> bool:
        return self._told > 0

    @property
    def candidates(self) -> int:
        return self._told

    @property
    def certificate(self) -> dict[str, Any] | None:
        """The proof, once it is made."""
        return None if self.result is None else self.result.certificate.to_dict()

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to restore: the proof takes seconds and is made again."""
