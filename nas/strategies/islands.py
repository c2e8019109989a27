"""Evolution on islands: separate populations that send their best rows around a ring, round after round.

A round of one island is a job: a pure function of the island's state and of what its neighbour sent two rounds before.
Which worker runs it, when, and how often it was started changes nothing, so the same seed and the same number of
islands give the same answer in one process, on any number of workers, and after any of them died. Islands need not wait
for one another at every round: they may be ``LAG`` and ``AHEAD`` rounds apart.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from nas.searcher.evaluator import Evaluation, Evaluator
from nas.searcher.front import Front
from nas.strategies.evolution import EvolutionOptions, EvolutionSearch, Migrants, row_hashes
from nas.strategies.options import StrategyOptions
from nas.strategies.strategy import SLOW_BATCH, SearchState, Strategy, StrategyContext
from workbench.errors import BadInput
from workbench.workers.in_process import InProcess

GENERATIONS = 16
"""Least generations of an island a round; with cheap scores they take about 0.4 s, starting them on Ray about 5 ms."""

ROUNDS = 32
"""About the most rounds an island makes, so that the journal of a search of 10⁹ candidates stays small."""

MIGRANTS = 16
"""Rows that an island sends after every round."""

LAG = 1
"""Rows sent after round r arrive before round r + 1 + LAG."""

AHEAD = 1
"""Rounds that an island may be ahead of the one it sends to."""

KEPT = LAG + AHEAD + 2
"""Rounds whose migrants are kept: the slowest reader may still need the oldest."""

MOST_ISLANDS = 10_000


@dataclass(frozen=True)
class IslandPlan:
    """What all islands have in common, and how many islands share the steps of the search."""

    evaluator: Evaluator
    seed: int
    options: EvolutionOptions
    count: int

    def island_options(self, island: int) -> EvolutionOptions:
        """The options of one island."""
        steps = self.options.steps // self.count + (island < self.options.steps % self.count)
        return replace(self.options, steps=steps)

    def search(self, island: int) -> EvolutionSearch:
        """The evolution of one island, at its start; the first has the search's own seed."""
        seed = self.seed
        if island:
            seed = int(np.random.SeedSequence([seed, island]).generate_state(1, np.uint64)[0])
        return EvolutionSearch(StrategyContext(self.evaluator, seed), self.island_options(island))

    def round_candidates(self, island: int) -> int:
        """Candidates that an island evaluates before it sends again."""
        batch = 2 * self.options.population if self.evaluator.additive else SLOW_BATCH
        return max(GENERATIONS * batch, -(-self.island_options(island).steps // ROUNDS))


def evolve(
    plan: IslandPlan, island: int, state: dict[str, Any] | None, migrants: dict[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """One round of one island, from its state before (None at the start) and the rows its neighbour sent.

    Returns the state after it, and the new rows of the island's front. The state keeps population and front packed as
    text (``memory``), which the main process only passes on.
    """
    search, evaluator = plan.search(island), plan.evaluator
    genes = evaluator.space_costs.space.genes
    front = Front(genes)
    ineffective_before, told = evaluator.ineffective, 0
    if state is None:
        state = {"round": 0, "told": 0, "ineffective": 0, "sent": {}}
    else:
        memory = unpack(state["memory"])
        search.restore(memory["strategy"])
        front.add_dict(memory["front"])
    known = row_hashes(front.rows)
    if migrants is not None:
        search.immigrate(Migrants.of(migrants, genes))
    while not search.finished and told < plan.round_candidates(island):
        rows = search.ask()
        evaluation = evaluator.evaluate(rows)
        search.tell(rows, evaluation)
        usable = evaluation.usable
        front.add(rows[usable], evaluation.score[usable], evaluation.costs[evaluator.primary][usable])
        told += len(rows)
    number = int(state["round"])
    sent = {name: rows for name, rows in state["sent"].items() if int(name) > number - KEPT}
    sent[str(number)] = search.emigrants(MIGRANTS).to_dict()
    after = {
        "round": number + 1,
        "told": state["told"] + told,
        "finished": search.finished,
        "ineffective": state["ineffective"] + evaluator.ineffective - ineffective_before,
        "sent": sent,
        "memory": pack({"strategy": search.state(), "front": front.to_dict()}),
    }
    new = ~np.isin(row_hashes(front.rows), known)
    return after, {"rows": front.rows[new], "score": front.score[new], "cost": front.cost[new]}


def pack(data: dict[str, Any]) -> str:
    """JSON data as a short text: a journal has one for every round."""
    return base64.b64encode(zlib.compress(json.dumps(data, allow_nan=False).encode())).decode()


def unpack(text: str) -> dict[str, Any]:
    """The inverse of ``pack``."""
    try:
        data: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(text, validate=True)))
    except (ValueError, zlib.error) as error:
        raise BadInput(f"an island's state in the journal cannot be read ({error}): start over with --fresh") from error
    return data


class IslandSearch(Strategy):
    """Runs the rounds of ``count`` islands on the workers of the context, and keeps their states.

    An ``ask`` waits for one round of any island and returns the new rows of that island's front, which its worker has
    evaluated.
    """

    name: ClassVar[str] = "evolution"
    options_type: ClassVar[type[StrategyOptions]] = EvolutionOptions
    saves_every_step: ClassVar[bool] = True

    def __init__(self, context: StrategyContext, options: EvolutionOptions, count: int) -> None:
        super().__init__(context)
        if not 1 <= count <= MOST_ISLANDS:
            raise BadInput(f"--islands {count} must be from 1 to {MOST_ISLANDS}")
        if options.steps < count:
            raise BadInput(
                f"--steps {options.steps} leave nothing for some of {count} islands: raise --steps, or lower --islands"
            )
        self.plan = IslandPlan(context.evaluator, context.seed, options, count)
        self.workers = context.workers or InProcess()
        self.states: list[dict[str, Any] | None] = [None] * count
        self._unsaved: set[int] = set()
        self._running: set[int] = set()
        self._shared: Any = None
        self._arrived: dict[str, Any] = {}

    @property
    def finished(self) -> bool:
        """Whether all islands have evaluated all their candidates."""
        return all(map(self._over, range(self.plan.count)))

    @property
    def candidates(self) -> int:
        """Candidates evaluated on all islands."""
        return sum(int(state["told"]) for state in self.states if state is not None)

    @property
    def ineffective(self) -> int:
        """Candidates that the score's filter rejected."""
        return sum(int(state["ineffective"]) for state in self.states if state is not None)

    @property
    def progress(self) -> float:
        """Share of the candidates evaluated."""
        return min(1.0, self.candidates / self.plan.options.steps)

    def ask(self) -> np.ndarray:
        """Rows ``[N, genes]`` that are new on the front of the island whose round ended first; N may be 0."""
        self._start()
        done = self.workers.wait()
        island = int(str(done.key))
        self._running.discard(island)
        if done.failure:
            raise BadInput(
                f"island {island} could not be evolved ({done.failure}): repair that, and the same command resumes "
                "from its last round"
            )
        self.states[island], self._arrived = done.value
        self._unsaved.add(island)
        # The next round starts before this one is written to the journal.
        self._start()
        return np.asarray(self._arrived["rows"])

    def evaluate(self, rows: np.ndarray) -> Evaluation:
        """The evaluations that the island's worker made; every row of its front keeps all budgets."""
        cost = {self.context.evaluator.primary: self._arrived["cost"]}
        return Evaluation(self._arrived["score"], cost, np.zeros(len(rows)))

    def tell(self, rows: np.ndarray, evaluation: Evaluation) -> None:
        """Nothing to learn: the island's own evolution has seen its rows."""

    def state(self) -> dict[str, Any]:
        """The states of all islands after their last rounds."""
        return {"islands": self.states}

    def restore(self, state: dict[str, Any]) -> None:
        """Resume every island from its last round."""
        self.states = list(state["islands"])

    def save(self, search: SearchState) -> Iterator[tuple[str, dict[str, Any]]]:
        """One record for each island whose state has changed; a record of all of them would be large."""
        for island in sorted(self._unsaved):
            yield f"island-{island}", {"seconds": search.seconds, "state": self.states[island]}
        self._unsaved.clear()

    def load(self, latest: Callable[[str], dict[str, Any] | None], search: SearchState) -> None:
        """Restore every island from the latest record of it."""
        records = [latest(f"island-{island}") for island in range(self.plan.count)]
        self.restore({"islands": [None if record is None else record["state"] for record in records]})
        for record in records:
            if record is not None:
                search.front.add_dict(unpack(record["state"]["memory"])["front"])
                search.seconds = max(search.seconds, float(record["seconds"]))
        search.candidates = self.candidates

    def _start(self) -> None:
        """Start every round that may start, the earliest first, as long as a worker is free."""
        ready = [island for island in range(self.plan.count) if self._ready(island)]
        for island in sorted(ready, key=self._round)[: max(0, self.workers.count - self.workers.in_flight)]:
            if self._shared is None:
                self._shared = self.workers.share(self.plan)
            self._running.add(island)
            self.workers.start(island, evolve, self._shared, island, self.states[island], self._migrants(island))

    def _ready(self, island: int) -> bool:
        if island in self._running or self._over(island):
            return False
        source, target = (island - 1) % self.plan.count, (island + 1) % self.plan.count
        number = self._round(island)
        sent = self._over(source) or self._round(source) >= number - LAG
        return sent and (self._over(target) or self._round(target) >= number - AHEAD)

    def _migrants(self, island: int) -> dict[str, Any] | None:
        """Rows that the neighbour sent for the coming round."""
        source = self.states[(island - 1) % self.plan.count]
        if self.plan.count == 1 or source is None:
            return None
        migrants: dict[str, Any] | None = source["sent"].get(str(self._round(island) - 1 - LAG))
        return migrants

    def _round(self, island: int) -> int:
        state = self.states[island]
        return 0 if state is None else int(state["round"])

    def _over(self, island: int) -> bool:
        state = self.states[island]
        return state is not None and bool(state["finished"])
