"""EvolutionSearch: TinyNAS's mutations, fine steps and cross-over over a population of elites and a front.

Every generation is a few array operations. The population has two halves, drawn from parents and
children alike (so nothing good is ever lost):

* *elites*: the best scores among rows inside all budgets; while there are too few of those, the rows
  that miss their budgets by the least;
* *front*: the range of the primary cost is cut into as many slots as the half has places, and each slot
  keeps its best row, where no cheaper row is better. That is the front a study reports, and it keeps the
  population from collapsing onto one neighbourhood.

TinyNAS only scales channels (by 0.5 .. 2); close to a budget those moves are too coarse, so a child may
instead take *fine steps*: one gene moves to a neighbouring choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nas.searcher.evaluator import Evaluation
from nas.strategies.strategy import SHARED_OPTIONS, SLOW_BATCH, SamplingStrategy, Settings
from search_spaces.space import BTN, OUT, Space, ratio_btn
from workbench.errors import BadInput, unknown_name

OVERDRAW = 2.0
"""Children bred for every one asked: about half are no news (a move against a wall, or known already).
Breeding costs far less than judging, and one large batch less than second tries."""


@dataclass(frozen=True)
class EvolutionOptions:
    """Options of ``evolution``. ``children``: rows a generation (0: twice the population, 32 when scoring
    is slow). Shares are probabilities: a parent from the front half, a child of two parents, a child
    changed by fine steps instead of TinyNAS's mutations. ``focus``: 1 draws elites evenly, more prefers
    the best ranks."""

    children: int = 0
    front_share: float = 0.3
    cross_share: float = 0.4
    fine_share: float = 0.5
    focus: float = 2.0

    @staticmethod
    def of(options: dict[str, Any]) -> EvolutionOptions:
        """Read and check the options that belong to this strategy (``SHARED_OPTIONS`` are passed over)."""
        given = {key: value for key, value in options.items() if key not in SHARED_OPTIONS}
        for key, value in given.items():
            if key not in EvolutionOptions.__dataclass_fields__:
                raise unknown_name("option of evolution", key, EvolutionOptions.__dataclass_fields__)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
                raise BadInput(f"option {key}={value!r} must be a number of at least 0")
            if key.endswith("_share") and value > 1:
                raise BadInput(f"option {key}={value!r} is a probability: use 0 to 1")
        if int(given.get("children", 0)) != given.get("children", 0):
            raise BadInput(f"option children={given['children']!r} must be a whole number")
        return EvolutionOptions(**given)


@dataclass(frozen=True)
class Migrants:
    """Judged rows on their way from one population to another: rows ``[M, genes]``, the rest ``[M]``; ``score`` NaN where none."""

    rows: np.ndarray
    score: np.ndarray
    cost: np.ndarray
    over: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"rows": self.rows.tolist(), "score": plain_scores(self.score), "cost": self.cost.tolist(), "over": self.over.tolist()}

    @staticmethod
    def of(data: dict[str, Any], genes: int) -> Migrants:
        """What ``to_dict`` gave."""
        score = np.array([np.nan if s is None else s for s in data["score"]], dtype=np.float64)
        rows = np.array(data["rows"], dtype=np.int64).reshape(-1, genes)
        return Migrants(rows, score, np.array(data["cost"], dtype=np.int64), np.array(data["over"], dtype=np.float64))


def plain_scores(score: np.ndarray) -> list[float | None]:
    """Scores as JSON has them: None where there is none."""
    return [None if np.isnan(s) else s for s in score.tolist()]


class EvolutionSearch(SamplingStrategy):
    """Evolution over rows; see the module head. Asks one generation at a time."""

    name: ClassVar[str] = "evolution"
    least_population: ClassVar[int] = 2

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.knobs = EvolutionOptions.of(settings.options)
        # A short search needs generations more than it needs a crowd.
        self.population = max(2, min(settings.population, settings.steps // 8))
        usual = 2 * self.population if settings.evaluator.additive else min(SLOW_BATCH, self.population)
        self.children = int(self.knobs.children) or usual
        self.rng = np.random.default_rng(settings.seed)
        self._mark: dict[str, Any] | None = None
        self._keep(*_nobody(settings.space))

    def ask(self) -> np.ndarray:
        """The first population in random draws, then generations of children, int64 ``[N, genes]``."""
        self._refuse_when_finished()
        if self._mark is None:
            self._mark = dict(self.rng.bit_generator.state)
        room = min(self.children, self.settings.steps - self._told)
        missing = self.population - self._told
        if missing > 0 or not len(self.rows):
            return self.settings.space.sample(min(room, missing) if missing > 0 else room, self.rng)
        return self._breed(room)

    def tell(self, rows: np.ndarray, judged: Evaluation) -> None:
        """Parents and children compete for the places of the next population."""
        self._told += len(rows)
        self._mark = None
        cost = np.asarray(judged.costs[self.settings.evaluator.primary], dtype=np.int64)
        self._select(np.asarray(rows, dtype=np.int64), np.asarray(judged.score, dtype=np.float64), cost, np.asarray(judged.over, dtype=np.float64))

    def emigrants(self, count: int) -> Migrants:
        """At most ``count`` of the best: half from the elites, half evenly from the front."""
        front = np.arange(self._elite_count, len(self.rows))
        best = np.arange(min(count - count // 2, self._elite_count))
        some = front[np.linspace(0, len(front) - 1, min(count // 2, len(front))).astype(np.int64)] if len(front) else front
        chosen = np.concatenate([best, some])
        return Migrants(self.rows[chosen], self.score[chosen], self.cost[chosen], self.over[chosen])

    def welcome(self, settlers: Migrants) -> None:
        """Settlers from elsewhere, judged there already, compete for places; they count for no steps here."""
        self._select(settlers.rows, settlers.score, settlers.cost, settlers.over)

    def _select(self, rows: np.ndarray, score: np.ndarray, cost: np.ndarray, over: np.ndarray) -> None:
        """The next population out of the present one and ``rows``, each once."""
        rows, score = np.concatenate([self.rows, rows]), np.concatenate([self.score, score])
        cost, over = np.concatenate([self.cost, cost]), np.concatenate([self.over, over])
        _, first = np.unique(row_hashes(rows), return_index=True)
        first.sort()
        rows, score, cost, over = rows[first], score[first], cost[first], over[first]
        elites = self._elites(score, over)
        front = self._front(score, cost, over)
        front = front[~np.isin(front, elites)][: self.population - len(elites)]
        keep = np.concatenate([elites, front])
        self._keep(rows[keep], score[keep], cost[keep], over[keep], len(elites))

    def state(self) -> dict[str, Any]:
        """Population and generator as of the last ``tell``; a generation under way is asked again."""
        return {
            "strategy": self.name,
            "told": self._told,
            "rng": self._mark or dict(self.rng.bit_generator.state),
            **Migrants(self.rows, self.score, self.cost, self.over).to_dict(),
            "elites": self._elite_count,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state()``."""
        self._check_owner(state)
        held = Migrants.of(state, self.settings.space.genes)
        if not self.settings.space.contains_rows(held.rows).all():
            raise BadInput(
                f"this search was saved with rows outside space {self.settings.space.name!r}: "
                "resume with the space it began with"
            )
        self._keep(held.rows, held.score, held.cost, held.over, int(state["elites"]))
        self._told, self._mark = int(state["told"]), None
        self.rng.bit_generator.state = state["rng"]

    # Who stays ------------------------------------------------------------------------------------

    def _keep(self, rows: np.ndarray, score: np.ndarray, cost: np.ndarray, over: np.ndarray, elites: int) -> None:
        """Rows ``[P, genes]``, elites first, each half best first."""
        self.rows, self.score, self.cost, self.over, self._elite_count = rows, score, cost, over, elites
        self._hashes = np.sort(row_hashes(rows))

    def _elites(self, score: np.ndarray, over: np.ndarray) -> np.ndarray:
        """Indices of the better half: feasible and scored first, then by how little budgets are missed."""
        failed = (over == 0) & np.isnan(score)
        order = np.lexsort((np.where(np.isnan(score), 0.0, -score), over, failed))
        return np.asarray(order[~failed[order]][: (self.population + 1) // 2])

    def _front(self, score: np.ndarray, cost: np.ndarray, over: np.ndarray) -> np.ndarray:
        """Indices of the best row in each slot of the primary cost that no cheaper slot beats, best first."""
        fits = np.flatnonzero((over == 0) & ~np.isnan(score))
        if not len(fits):
            return fits
        low, high = int(cost[fits].min()), int(cost[fits].max())
        slot = (cost[fits] - low) * (self.population // 2) // (high - low + 1)
        order = np.lexsort((cost[fits], -score[fits], slot))
        best = order[np.flatnonzero(np.diff(slot[order], prepend=-1))]
        values = score[fits][best]
        earlier = np.maximum.accumulate(np.concatenate([[-np.inf], values[:-1]]))
        return np.asarray(fits[best[values > earlier]][::-1])

    # Who comes ------------------------------------------------------------------------------------

    def _breed(self, count: int) -> np.ndarray:
        """At most ``count`` children, at least one; none of them in the population or twice."""
        space, rng = self.settings.space, self.rng
        drawn = int(OVERDRAW * count)
        children = self.rows[self._parents(drawn)]
        mates = self.rows[self._parents(drawn)]
        both = rng.random(drawn) < self.knobs.cross_share
        children[both] = space.cross(children[both], mates[both], rng)
        children = self._change(children)
        fresh = children[self._news(children)][:count]
        # Only a space about as small as the population runs out of news; random draws keep the promise to go on.
        return fresh if len(fresh) else space.sample(count, rng)

    def _parents(self, count: int) -> np.ndarray:
        """Indices into the population: better ranks of the elites more often, the front evenly."""
        rng, elites, front = self.rng, self._elite_count, len(self.rows) - self._elite_count
        chosen = (elites * rng.random(count) ** self.knobs.focus).astype(np.int64)
        if front:
            other = rng.random(count) < self.knobs.front_share
            chosen[other] = elites + rng.integers(0, front, int(other.sum()))
        return chosen

    def _change(self, rows: np.ndarray) -> np.ndarray:
        """One or two changes a row: fine steps for some, TinyNAS's mutations for the others."""
        fine = self.rng.random(len(rows)) < self.knobs.fine_share
        twice = self.rng.random(len(rows)) < 0.5
        new = rows.copy()
        for group, move in ((fine, fine_step), (~fine, _mutate)):
            new[group] = move(self.settings.space, new[group], self.rng)
            again = group & twice
            new[again] = move(self.settings.space, new[again], self.rng)
        return new

    def _news(self, rows: np.ndarray) -> np.ndarray:
        """Boolean ``[N]``: rows not in the population and not earlier among themselves."""
        hashes = row_hashes(rows)
        at = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        news = self._hashes[at] != hashes
        first = np.zeros(len(rows), dtype=bool)
        first[np.unique(hashes, return_index=True)[1]] = True
        return np.asarray(news & first)


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
        stage, gene = divmod(column - 1, 4) if column else (-1, OUT)
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
    """Where a stage's width moved, its inner channels follow by their ratio, in place."""
    ratios = np.array(space.stages[stage].btns)
    out, btn = space.column(stage, OUT), space.column(stage, BTN)
    held = ratio_btn(old[at, out][:, None], ratios[None, :]) == old[at, btn][:, None]
    new[at, btn] = ratio_btn(new[at, out], ratios[held.argmax(axis=1)])


def _mutate(space: Space, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return space.mutate(rows, rng)


def row_hashes(rows: np.ndarray) -> np.ndarray:
    """One uint64 a row: a sum of genes times fixed random odd numbers, modulo 2**64."""
    draws = np.random.default_rng(2022).integers(0, 2**63, rows.shape[1], dtype=np.uint64)
    factors = draws * np.uint64(2) + np.uint64(1)
    return np.asarray((rows.astype(np.uint64) * factors).sum(axis=1, dtype=np.uint64))


def _nobody(space: Space) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    return np.zeros((0, space.genes), dtype=np.int64), np.zeros(0), np.zeros(0, dtype=np.int64), np.zeros(0), 0
