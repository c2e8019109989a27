"""EvolutionSearch: TinyNAS's mutations, fine steps and cross-over over a population of elites and a front.

Every generation is a few array operations. The population has two halves, selected from parents and children alike, so
the best rows are never lost:

* *elites*: the best scores among rows inside all budgets; while there are too few of those, the rows that miss their
  budgets by the least;
* *front*: the range of the primary cost is cut into as many bins as the half has places, and each bin keeps its best
  row, where no cheaper row is better. The front keeps the population from collapsing onto one neighbourhood.

TinyNAS only scales channels (by 0.5 .. 2); close to a budget those moves are too coarse, so a child may instead take
*fine steps*: one gene moves to a neighbouring choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nas.searcher.evaluator import Evaluation
from nas.strategies.options import SamplingOptions, StrategyOptions
from nas.strategies.strategy import SLOW_BATCH, SamplingStrategy, StrategyContext
from search_spaces.space import BTN, OUT, Space, ratio_btn
from workbench.errors import BadInput

OVERSAMPLE = 2.0
"""Children bred for every one asked: about half are duplicates (a move out of range, or known already). Breeding costs
far less than evaluating, and one large batch less than second tries."""


@dataclass(frozen=True)
class EvolutionOptions(SamplingOptions):
    """Options of ``evolution``.

    Args:
        children: Rows a generation; 0 means twice the population, or 32 when every score needs a forward pass.
        front_share: Probability that a parent comes from the front half.
        cross_share: Probability that a child has two parents.
        fine_share: Probability that a child is changed by fine steps instead of TinyNAS's mutations.
        focus: Exponent of the rank selection: 1 selects elites uniformly, more prefers the best ranks.
    """

    children: int = 0
    front_share: float = 0.3
    cross_share: float = 0.4
    fine_share: float = 0.5
    focus: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.population < 2:
            raise BadInput(f"steps {self.steps} must be at least 1 and population {self.population} at least 2")
        for name in ("front_share", "cross_share", "fine_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"option {name}={getattr(self, name)!r} is a probability: use 0 to 1")


@dataclass(frozen=True)
class Migrants:
    """Evaluated rows that move from one population to another: rows ``[M, genes]``, the rest ``[M]``.

    ``score`` is NaN where there is none.
    """

    rows: np.ndarray
    score: np.ndarray
    cost: np.ndarray
    over: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "rows": self.rows.tolist(),
            "score": plain_scores(self.score),
            "cost": self.cost.tolist(),
            "over": self.over.tolist(),
        }

    @staticmethod
    def of(data: dict[str, Any], genes: int) -> Migrants:
        """Read the output of ``to_dict``."""
        score = np.array([np.nan if s is None else s for s in data["score"]], dtype=np.float64)
        rows = np.array(data["rows"], dtype=np.int64).reshape(-1, genes)
        cost, over = np.array(data["cost"], dtype=np.int64), np.array(data["over"], dtype=np.float64)
        return Migrants(rows, score, cost, over)


def plain_scores(score: np.ndarray) -> list[float | None]:
    """Scores as JSON has them: None where there is none."""
    return [None if np.isnan(s) else s for s in score.tolist()]


class EvolutionSearch(SamplingStrategy):
    """Evolution over rows; see the module docstring. Asks one generation at a time."""

    name: ClassVar[str] = "evolution"
    options_type: ClassVar[type[StrategyOptions]] = EvolutionOptions

    def __init__(self, context: StrategyContext, options: EvolutionOptions) -> None:
        super().__init__(context, options)
        self.options = options
        # A short search needs generations more than a large population.
        self.population = max(2, min(options.population, options.steps // 8))
        usual = 2 * self.population if context.evaluator.additive else min(SLOW_BATCH, self.population)
        self.children = options.children or usual
        self.rng = np.random.default_rng(context.seed)
        self._rng_before_ask: dict[str, Any] | None = None
        genes = context.space.genes
        empty = Migrants(np.zeros((0, genes), dtype=np.int64), np.zeros(0), np.zeros(0, dtype=np.int64), np.zeros(0))
        self._set_population(empty, 0)

    def ask(self) -> np.ndarray:
        """The first population sampled at random, then generations of children, int64 ``[N, genes]``."""
        self._refuse_when_finished()
        if self._rng_before_ask is None:
            self._rng_before_ask = dict(self.rng.bit_generator.state)
        room = min(self.children, self.steps - self._told)
        missing = self.population - self._told
        if missing > 0 or not len(self.rows):
            return self.context.space.sample(min(room, missing) if missing > 0 else room, self.rng)
        return self._breed(room)

    def tell(self, rows: np.ndarray, evaluation: Evaluation) -> None:
        """Parents and children compete for the places of the next population."""
        self._told += len(rows)
        self._rng_before_ask = None
        cost = np.asarray(evaluation.costs[self.context.evaluator.primary], dtype=np.int64)
        score, over = np.asarray(evaluation.score, dtype=np.float64), np.asarray(evaluation.over, dtype=np.float64)
        self._select(Migrants(np.asarray(rows, dtype=np.int64), score, cost, over))

    def emigrants(self, count: int) -> Migrants:
        """At most ``count`` of the best: half from the elites, half evenly from the front."""
        front = np.arange(self._elite_count, len(self.rows))
        best = np.arange(min(count - count // 2, self._elite_count))
        spaced = np.linspace(0, len(front) - 1, min(count // 2, len(front))).astype(np.int64)
        chosen = np.concatenate([best, front[spaced] if len(front) else front])
        return Migrants(self.rows[chosen], self.score[chosen], self.cost[chosen], self.over[chosen])

    def immigrate(self, migrants: Migrants) -> None:
        """Let evaluated rows from another population compete for places; they do not count as steps."""
        self._select(migrants)

    def _select(self, new: Migrants) -> None:
        """The next population out of the present one and ``new`` rows, without duplicates."""
        rows, score = np.concatenate([self.rows, new.rows]), np.concatenate([self.score, new.score])
        cost, over = np.concatenate([self.cost, new.cost]), np.concatenate([self.over, new.over])
        _, first = np.unique(row_hashes(rows), return_index=True)
        first.sort()
        rows, score, cost, over = rows[first], score[first], cost[first], over[first]
        elites = self._elites(score, over)
        front = self._front(score, cost, over)
        front = front[~np.isin(front, elites)][: self.population - len(elites)]
        keep = np.concatenate([elites, front])
        self._set_population(Migrants(rows[keep], score[keep], cost[keep], over[keep]), len(elites))

    def state(self) -> dict[str, Any]:
        """Population and generator as of the last ``tell``; a generation in progress is asked again."""
        return {
            "strategy": self.name,
            "told": self._told,
            "rng": self._rng_before_ask or dict(self.rng.bit_generator.state),
            **Migrants(self.rows, self.score, self.cost, self.over).to_dict(),
            "elites": self._elite_count,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Resume from ``state()``."""
        self._check_owner(state)
        space = self.context.space
        population = Migrants.of(state, space.genes)
        if not space.contains_rows(population.rows).all():
            raise BadInput(
                f"this search was saved with rows outside space {space.name!r}: resume with the space it began with"
            )
        self._set_population(population, int(state["elites"]))
        self._told, self._rng_before_ask = int(state["told"]), None
        self.rng.bit_generator.state = state["rng"]

    # Selection ------------------------------------------------------------------------------------

    def _set_population(self, population: Migrants, elites: int) -> None:
        """Rows ``[P, genes]``, elites first, each half best first."""
        self.rows, self.score = population.rows, population.score
        self.cost, self.over, self._elite_count = population.cost, population.over, elites
        self._hashes = np.sort(row_hashes(population.rows))

    def _elites(self, score: np.ndarray, over: np.ndarray) -> np.ndarray:
        """Indices of the better half: feasible and scored first, then by how little budgets are missed."""
        failed = (over == 0) & np.isnan(score)
        order = np.lexsort((np.where(np.isnan(score), 0.0, -score), over, failed))
        return np.asarray(order[~failed[order]][: (self.population + 1) // 2])

    def _front(self, score: np.ndarray, cost: np.ndarray, over: np.ndarray) -> np.ndarray:
        """Indices of the best row in each bin of the primary cost that no cheaper bin beats, best first."""
        fits = np.flatnonzero((over == 0) & ~np.isnan(score))
        if not len(fits):
            return fits
        low, high = int(cost[fits].min()), int(cost[fits].max())
        bin_index = (cost[fits] - low) * (self.population // 2) // (high - low + 1)
        order = np.lexsort((cost[fits], -score[fits], bin_index))
        best = order[np.flatnonzero(np.diff(bin_index[order], prepend=-1))]
        values = score[fits][best]
        earlier = np.maximum.accumulate(np.concatenate([[-np.inf], values[:-1]]))
        return np.asarray(fits[best[values > earlier]][::-1])

    # Variation ------------------------------------------------------------------------------------

    def _breed(self, count: int) -> np.ndarray:
        """At most ``count`` children, at least one; none of them in the population or twice."""
        space, rng = self.context.space, self.rng
        bred = int(OVERSAMPLE * count)
        children = self.rows[self._parents(bred)]
        mates = self.rows[self._parents(bred)]
        both = rng.random(bred) < self.options.cross_share
        children[both] = space.cross(children[both], mates[both], rng)
        children = self._change(children)
        fresh = children[self._is_new(children)][:count]
        # Only a space about as small as the population runs out of new rows; random samples continue the search.
        return fresh if len(fresh) else space.sample(count, rng)

    def _parents(self, count: int) -> np.ndarray:
        """Indices into the population: better ranks of the elites more often, the front evenly."""
        rng, elites, front = self.rng, self._elite_count, len(self.rows) - self._elite_count
        chosen = (elites * rng.random(count) ** self.options.focus).astype(np.int64)
        if front:
            other = rng.random(count) < self.options.front_share
            chosen[other] = elites + rng.integers(0, front, int(other.sum()))
        return chosen

    def _change(self, rows: np.ndarray) -> np.ndarray:
        """One or two changes a row: fine steps for some, TinyNAS's mutations for the others."""
        fine = self.rng.random(len(rows)) < self.options.fine_share
        twice = self.rng.random(len(rows)) < 0.5
        new = rows.copy()
        for group, move in ((fine, fine_step), (~fine, _mutate)):
            new[group] = move(self.context.space, new[group], self.rng)
            again = group & twice
            new[again] = move(self.context.space, new[again], self.rng)
        return new

    def _is_new(self, rows: np.ndarray) -> np.ndarray:
        """Boolean ``[N]``: rows not in the population and not earlier among themselves."""
        hashes = row_hashes(rows)
        at = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        new = self._hashes[at] != hashes
        first = np.zeros(len(rows), dtype=bool)
        first[np.unique(hashes, return_index=True)[1]] = True
        return np.asarray(new & first)


def fine_step(space: Space, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One gene a row moves by 1 to 3 places among its choices; a row that would leave the space stays."""
    new = np.array(rows, dtype=np.int64)
    movable = [(column, choices) for column, (_, choices) in enumerate(space.gene_choices()) if len(choices) > 1]
    if not movable:
        return new
    which = rng.integers(0, len(movable), len(new))
    step = rng.integers(1, 4, len(new)) * rng.choice((-1, 1), len(new))
    for place, (column, choices) in enumerate(movable):
        at = np.flatnonzero(which == place)
        stage, gene = divmod(column - 1, 4) if 0 < column <= 4 * len(space.stages) else (-1, OUT)
        if stage >= 0 and gene == BTN and space.stages[stage].by_ratio:
            ratios = np.array(choices)[rng.integers(0, len(choices), len(at))]
            new[at, column] = ratio_btn(new[at, space.column(stage, OUT)], ratios)
            continue
        grid = np.array(choices, dtype=np.int64)
        new[at, column] = grid[np.clip(np.searchsorted(grid, new[at, column]) + step[at], 0, len(grid) - 1)]
        if stage >= 0 and gene == OUT and space.stages[stage].by_ratio:
            _keep_ratio(space, stage, new, rows, at)
    good = space.contains_rows(new)
    new[~good] = rows[~good]
    return new


def _keep_ratio(space: Space, stage: int, new: np.ndarray, old: np.ndarray, at: np.ndarray) -> None:
    """Keep the ratio of inner channels to width where a stage's width moved, in place."""
    ratios = np.array(space.stages[stage].btns)
    out, btn = space.column(stage, OUT), space.column(stage, BTN)
    matches = ratio_btn(old[at, out][:, None], ratios[None, :]) == old[at, btn][:, None]
    new[at, btn] = ratio_btn(new[at, out], ratios[matches.argmax(axis=1)])


def _mutate(space: Space, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return space.mutate(rows, rng)


def row_hashes(rows: np.ndarray) -> np.ndarray:
    """One uint64 a row: a sum of genes times fixed random odd numbers, modulo 2**64."""
    random = np.random.default_rng(2022).integers(0, 2**63, rows.shape[1], dtype=np.uint64)
    factors = random * np.uint64(2) + np.uint64(1)
    return np.asarray((rows.astype(np.uint64) * factors).sum(axis=1, dtype=np.uint64))
