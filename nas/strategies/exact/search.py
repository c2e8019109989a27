"""Exact search: the best architecture of an additive score under budgets, with a certificate.

Two tools share one picture of the problem (``layers``): value tables that hold the whole Pareto front
when the main budget fits in a table and at most the layer count stands beside it, and label setting
with those tables as bounds for everything else. All sums are over whole numbers, so comparisons are
exact and a tie is a tie: the winner among equals has the least main cost, then the least of the other
budgeted costs in order, then the smallest genes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nas.budgets import LAYERS, format_cost
from nas.costs import SCORE_TICK, SpaceCosts
from nas.searcher.evaluator import Evaluation, Limit
from nas.strategies.exact.labels import PASSES, Found, LabelSearch
from nas.strategies.exact.layers import Layers
from nas.strategies.exact.values import Values, table_bytes
from nas.strategies.strategy import Settings, Strategy
from workbench.errors import BadInput

TABLE_TICKS = 65_536
"""Main budgets of at most so many whole units are tabled exactly."""
TABLE_BYTES = 1_500_000_000
"""Exact tables larger than this give way to label setting."""
COARSE_STEPS = 4_096
"""Steps of a table that only bounds."""
LADDER = 8
"""Points of the front where it cannot be read off a table: equally spaced budgets, each proved."""

Tick = Callable[[str, float], None]


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


@dataclass
class ExactResult:
    """Rows of the front (the best one last) and the certificate."""

    rows: np.ndarray
    certificate: Certificate


@dataclass(frozen=True)
class _ExactProblem:
    rulers: SpaceCosts
    limits: tuple[Limit, ...]
    layers: Layers
    highs: np.ndarray
    lows: np.ndarray
    second: int | None = None
    second_unit: int = 1
    sides: tuple[int, ...] = field(default_factory=tuple)

    def table_bytes(self, step: int) -> int:
        """Size of the main table when costs are counted in ``step`` whole units."""
        top = 0 if self.second is None else int(self.highs[self.second]) // self.second_unit
        return table_bytes(self.layers, 0, top, step)


def solve(
    rulers: SpaceCosts, limits: tuple[Limit, ...], tick: Tick | None = None, time_limit_s: float = math.inf
) -> ExactResult:
    """Find and prove the best row; label setting stops proving after ``time_limit_s`` and says so. Raises ``BadInput`` with the closest reachable value when nothing fits."""
    start = time.perf_counter()
    problem = _pose(rulers, limits)
    if problem.highs[0] <= TABLE_TICKS and not problem.sides and problem.table_bytes(1) <= TABLE_BYTES:
        rows, score, labels, entries, method = _by_table(problem, tick)
        bound, front = score, "complete"
    else:
        rows, score, bound, labels, entries, front = _by_labels(problem, tick, time.monotonic() + time_limit_s)
        method = "labels"
    certificate = Certificate(
        score * SCORE_TICK, bound * SCORE_TICK, bound <= score, rulers.space.size(), problem.layers.arcs,
        labels, entries, round(time.perf_counter() - start, 3), method, front,
    )  # fmt: skip
    return ExactResult(rows, certificate)


def _pose(rulers: SpaceCosts, limits: tuple[Limit, ...]) -> _ExactProblem:
    fixed = rulers.fixed
    names = tuple(limit.name for limit in limits)
    # An open end becomes the largest whole number that sums stay safe with.
    highs = np.array([min(limit.high, 2**60) - fixed[limit.name] for limit in limits], dtype=np.int64)
    lows = np.array([max(0, limit.low - fixed[limit.name]) for limit in limits], dtype=np.int64)
    layers = Layers(rulers, names, dict(zip(names, highs.tolist(), strict=True)))
    least, greatest = layers.least_total(), layers.greatest_total()
    for i, limit in enumerate(limits):
        unit = rulers.unit(limit.name)
        if highs[i] < least[i]:
            closest = format_cost(limit.name, (int(least[i]) + fixed[limit.name]) * unit)
            raise BadInput(f"budget {limit.text} cannot be met in space {rulers.space.name!r}: the least reachable is {closest}")
        if lows[i] > greatest[i]:
            closest = format_cost(limit.name, (int(greatest[i]) + fixed[limit.name]) * unit)
            raise BadInput(f"budget {limit.text} cannot be met in space {rulers.space.name!r}: the most reachable is {closest}")
    highs = np.minimum(highs, greatest)
    layers.limits = highs
    second, unit = None, 1
    if LAYERS in names[1:]:
        column = names.index(LAYERS)
        unit = layers.common_unit(column)
        if highs[column] // unit <= 64:
            second = column
    sides = tuple(i for i in range(1, len(names)) if i != second)
    return _ExactProblem(rulers, limits, layers, highs, lows, second, unit, sides)


def _by_table(problem: _ExactProblem, tick: Tick | None) -> tuple[np.ndarray, float, int, int, str]:
    """One exact table; the front is its root."""
    bounded_below = bool(problem.lows.any())
    table = Values(
        problem.layers, 0, problem.second, 1, int(problem.highs[0]), second_unit=problem.second_unit,
        prune=not bounded_below, tick=(lambda share: tick("tables", share)) if tick else None,
    )  # fmt: skip
    root = table.root.copy()
    if problem.second is not None:
        root[: -(-int(problem.lows[problem.second]) // problem.second_unit)] = -np.inf
    root[:, : max(0, int(problem.lows[0]) - table.root_low)] = -np.inf
    if not np.isfinite(root).any():
        raise _nothing(problem)
    best = root.max(axis=0)
    reached = np.maximum.accumulate(best)
    points = np.flatnonzero(np.r_[np.isfinite(best[:1]), reached[1:] > reached[:-1]])
    rows = []
    for i, column in enumerate(points.tolist()):
        units = int(np.flatnonzero(root[:, column] == best[column])[0])
        rows.append(table.trace(units, column + table.root_low, float(best[column])))
        if tick and i % 64 == 0:
            tick("front", i / len(points))
    return np.array(rows, dtype=np.int64), float(reached[-1]), table.reached, table.entries, "tables"


def _by_labels(
    problem: _ExactProblem, tick: Tick | None, deadline: float
) -> tuple[np.ndarray, float, float, int, int, str]:
    """Bounding tables, then label setting for the budget and, for the front, for a ladder of smaller ones."""
    tables = _bounding_tables(problem, tick)
    labels = 0

    def solve_under(highs: np.ndarray, share: float, passes: int) -> Found:
        nonlocal labels
        search = LabelSearch(problem.layers, tables, highs, problem.lows, deadline)
        found = search.solve((lambda stage, made: tick(f"labels {labels + made:,}", share)) if tick else None, passes)
        labels += found.labels
        return found

    top = solve_under(problem.highs, 0.5, len(PASSES))
    if top.row is None:
        raise _nothing(problem, proved=top.cut == -np.inf)
    found = [top]
    floor = max(int(problem.layers.least_total()[0]), int(problem.lows[0]))
    for rung in range(LADDER - 1, 0, -1):
        if time.monotonic() > deadline:
            break
        highs = problem.highs.copy()
        highs[0] = floor + (int(problem.highs[0]) - floor) * rung // LADDER
        highs[0] = min(highs[0], int(found[-1].costs[0]) - 1)
        if highs[0] < floor:
            break
        lower = solve_under(highs, 1.0 - 0.5 * rung / LADDER, len(PASSES) - 1)
        if lower.row is None:
            break
        found.append(lower)
    rows = np.array([f.row for f in reversed(found)], dtype=np.int64)
    proved = sum(f.bound <= f.score for f in found)
    front = f"ladder of {len(found)} budgets, {proved} of them proved"
    return rows, top.score, top.bound, labels, sum(t.entries for t in tables), front


def _bounding_tables(problem: _ExactProblem, tick: Tick | None) -> list[Values]:
    """One table a budget, one for the main budget together with each other one, and one for all of them together."""
    layers = problem.layers
    tables: list[Values] = []
    nodes = sum(len(layers.combos(stage, cin)) for stage in range(layers.depth) for cin in layers.widths[stage])

    def add(main: int, second: int | None, steps: int, weights: np.ndarray | None = None, ceiling: float = 0.0) -> None:
        ceiling = ceiling or float(problem.highs[main])
        numbers = nodes * (1 if second is None else 1 + int(problem.highs[second]) // problem.second_unit)
        affordable = TABLE_BYTES / (8 * numbers * (2 + 2 * len(problem.sides)))
        step = max(1, math.ceil(ceiling / max(64, min(steps, affordable))))
        unit = problem.second_unit if second is not None else 1
        tables.append(Values(layers, main, second, step, int(ceiling), weights, unit))
        if tick:
            tick("bounds", 0.4 * len(tables) / (2 + 2 * len(problem.sides)))

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


def _nothing(problem: _ExactProblem, proved: bool = True) -> BadInput:
    texts = " with ".join(limit.text for limit in problem.limits)
    least = problem.layers.least_total()
    closest = ", ".join(
        format_cost(limit.name, (int(low) + problem.rulers.fixed[limit.name]) * problem.rulers.unit(limit.name))
        for limit, low in zip(problem.limits, least, strict=True)
    )
    verdict = "satisfies" if proved else "was found that satisfies"
    return BadInput(f"no architecture of space {problem.rulers.space.name!r} {verdict} {texts} together; alone, the least reachable are {closest}")


class ExactSearch(Strategy):
    """Solves the whole problem on the first ``ask`` and hands the proved front over."""

    name = "exact"

    def __init__(self, settings: Settings, tick: Tick | None = None) -> None:
        super().__init__(settings)
        if not settings.evaluator.additive:
            raise BadInput(
                f"score {settings.evaluator.score_name!r} is not a sum over blocks, so it cannot be searched exactly: "
                "use --strategy evolution, or --score maxent"
            )
        self.result: ExactResult | None = None
        self._told = False
        self._tick = tick

    def ask(self) -> np.ndarray:
        """All rows of the front, cheapest first."""
        if self.result is None:
            self.result = solve(self.settings.evaluator.rulers, self.settings.evaluator.limits, self._tick, self.settings.options.get("time_limit_s", math.inf))
        return self.result.rows

    def tell(self, rows: np.ndarray, judged: Evaluation) -> None:
        """The judge must agree with the proof; anything else is a fault in this program."""
        assert self.result is not None
        best = float(np.max(judged.score))
        if not judged.feasible.all() or abs(best - self.result.certificate.score) > 1e-6:
            raise RuntimeError("the exact search and the evaluator disagree: please report this with the command")
        self._told = True

    @property
    def finished(self) -> bool:
        return self._told

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to restore: the proof takes seconds and is made again."""
