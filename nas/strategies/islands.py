"""Evolution on islands: populations of their own that send their best around a ring, round after round.

A round of one island is a job: a pure function of the island's state and of what its neighbour sent two rounds before.
Who does it, when, and how often it was begun changes nothing, so the same seed and the same number of islands give the
same answer in one process, on any number of workers, and after any of them died. Islands need not wait
for one another at every round: they may be ``LAG`` and ``AHEAD`` rounds apart.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.searcher.front import Front
from nas.strategies.evolution import EvolutionSearch, Migrants, row_hashes
from nas.strategies.strategy import SLOW_BATCH, Settings
from workbench.errors import BadInput
from workbench.workers import Workers

GENERATIONS = 16
"""An island evolves at least so many generations a round; with cheap scores that takes about 0.4 s, starting it on Ray about 5 ms."""

ROUNDS = 32
"""An island makes at most about so many rounds: a search of 10⁹ candidates then does not drown its journal."""

SETTLERS = 16
"""Rows that an island sends on after every round."""

LAG = 1
"""What was sent after round r arrives before round r + 1 + LAG."""

AHEAD = 1
"""Rounds that an island may be ahead of the one it sends to."""

KEPT = LAG + AHEAD + 2
"""Rounds whose settlers are kept: the slowest reader may still need the oldest."""

MOST_ISLANDS = 10_000


@dataclass(frozen=True)
class Plan:
    """What all islands have in common: the settings of the whole search, and how many islands share its steps."""

    settings: Settings
    count: int

    def own(self, island: int) -> Settings:
        """The settings of one island. The first has the search's own seed: one island alone is the plain evolution."""
        steps = self.settings.steps // self.count + (island < self.settings.steps % self.count)
        seed = self.settings.seed
        if island:
            seed = int(np.random.SeedSequence([seed, island]).generate_state(1, np.uint64)[0])
        return dataclasses.replace(self.settings, seed=seed, steps=steps)

    def round_candidates(self, island: int) -> int:
        """Candidates that an island looks at before it sends again."""
        batch = 2 * self.settings.population if self.settings.evaluator.additive else SLOW_BATCH
        return max(GENERATIONS * batch, -(-self.own(island).steps // ROUNDS))


def evolve(plan: Plan, island: int, state: dict[str, Any] | None, settlers: dict[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """One round of one island, from its state before (None at the start) and what its neighbour sent.

    Returns the state after it, and what is new on the island's front. The state keeps population and front packed as text
    (``memory``), which the driver only hands on: it has many islands to serve.
    """
    own = plan.own(island)
    search, front, evaluator = EvolutionSearch(own), Front(own.space.genes), own.evaluator
    refused, told = evaluator.ineffective, 0
    if state is None:
        state = {"round": 0, "told": 0, "ineffective": 0, "sent": {}}
    else:
        memory = unpack(state["memory"])
        search.restore(memory["strategy"])
        front.add_dict(memory["front"])
    known = row_hashes(front.rows)
    if settlers is not None:
        search.welcome(Migrants.of(settlers, own.space.genes))
    while not search.finished and told < plan.round_candidates(island):
        rows = search.ask()
        judged = evaluator.judge(rows)
        search.tell(rows, judged)
        good = np.flatnonzero(judged.feasible & np.isfinite(judged.score))
        front.add(rows[good], judged.score[good], judged.costs[evaluator.primary][good])
        told += len(rows)
    number = int(state["round"])
    sent = {name: rows for name, rows in state["sent"].items() if int(name) > number - KEPT}
    sent[str(number)] = search.emigrants(SETTLERS).to_dict()
    after = {
        "round": number + 1, "told": state["told"] + told, "finished": search.finished, "ineffective": state["ineffective"] + evaluator.ineffective - refused,
        "sent": sent, "memory": pack({"strategy": search.state(), "front": front.to_dict()}),
    }  # fmt: skip
    new = ~np.isin(row_hashes(front.rows), known)
    return after, {"rows": front.rows[new], "score": front.score[new], "cost": front.cost[new]}


def pack(data: dict[str, Any]) -> str:
    """JSON data as a short text: a journal has one for every round."""
    return base64.b64encode(zlib.compress(json.dumps(data, allow_nan=False).encode())).decode()


def unpack(text: str) -> dict[str, Any]:
    """What ``pack`` packed."""
    try:
        found: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(text, validate=True)))
    except (ValueError, zlib.error) as error:
        raise BadInput(f"an island's memory in the journal cannot be read ({error}): start over with --fresh") from error
    return found


class IslandSearch:
    """Keeps ``count`` islands going on ``workers``; the driver's side, and the only one that remembers."""

    name = "evolution"

    def __init__(self, settings: Settings, count: int, workers: Workers) -> None:
        if not 1 <= count <= MOST_ISLANDS:
            raise BadInput(f"--islands {count} must be from 1 to {MOST_ISLANDS}")
        if settings.steps < count:
            raise BadInput(f"--steps {settings.steps} leave nothing for some of {count} islands: raise --steps, or lower --islands")
        self.plan, self.workers = Plan(settings, count), workers
        EvolutionSearch(self.plan.own(0))  # refuses wrong settings here rather than on a worker
        self.states: list[dict[str, Any] | None] = [None] * count
        self._running: set[int] = set()
        self._shared: Any = None

    @property
    def finished(self) -> bool:
        """All islands have looked at all their candidates."""
        return all(map(self._over, range(self.plan.count)))

    @property
    def told(self) -> int:
        """Candidates looked at."""
        return sum(int(state["told"]) for state in self.states if state is not None)

    @property
    def ineffective(self) -> int:
        """Candidates that DeepMAD's effectiveness rule refused."""
        return sum(int(state["ineffective"]) for state in self.states if state is not None)

    @property
    def progress(self) -> float:
        """Share of the candidates looked at."""
        return min(1.0, self.told / self.plan.settings.steps)

    def step(self, front: Front) -> tuple[int, int]:
        """Wait for one round of any island and add what it found to ``front``; the island, and how many candidates it looked at."""
        self._start()
        done = self.workers.wait()
        island = int(str(done.key))
        self._running.discard(island)
        if done.failure:
            raise BadInput(f"island {island} could not be evolved ({done.failure}): mend that, and the same command goes on from its last round")
        before = self._told(island)
        self.states[island], news = done.value
        # The next round begins before this one is written down.
        self._start()
        front.add_dict(news)
        return island, self._told(island) - before

    def restore(self, island: int, state: dict[str, Any], front: Front) -> None:
        """Take up an island where it was, and add what it has found to ``front``."""
        self.states[island] = state
        front.add_dict(unpack(state["memory"])["front"])

    def _start(self) -> None:
        """Begin every round that may begin, the earliest first, as long as a worker is free."""
        ready = [island for island in range(self.plan.count) if self._ready(island)]
        for island in sorted(ready, key=self._round)[: max(0, self.workers.count - self.workers.in_flight)]:
            if self._shared is None:
                self._shared = self.workers.share(self.plan)
            self._running.add(island)
            self.workers.start(island, evolve, self._shared, island, self.states[island], self._arrived(island))

    def _ready(self, island: int) -> bool:
        if island in self._running or self._over(island):
            return False
        source, target, number = (island - 1) % self.plan.count, (island + 1) % self.plan.count, self._round(island)
        sent = self._over(source) or self._round(source) >= number - LAG
        return sent and (self._over(target) or self._round(target) >= number - AHEAD)

    def _arrived(self, island: int) -> dict[str, Any] | None:
        """What the neighbour sent for the coming round."""
        source = self.states[(island - 1) % self.plan.count]
        if self.plan.count == 1 or source is None:
            return None
        found: dict[str, Any] | None = source["sent"].get(str(self._round(island) - 1 - LAG))
        return found

    def _round(self, island: int) -> int:
        state = self.states[island]
        return 0 if state is None else int(state["round"])

    def _told(self, island: int) -> int:
        state = self.states[island]
        return 0 if state is None else int(state["told"])

    def _over(self, island: int) -> bool:
        state = self.states[island]
        return state is not None and bool(state["finished"])
