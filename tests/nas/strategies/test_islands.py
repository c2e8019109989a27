"""Islands: the answer depends on seed and number of islands, and on nothing else."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.budgets import parse_budgets
from nas.costs import SpaceCosts
from nas.devices.profile import load_device
from nas.searcher.evaluator import Evaluator, whole_limits
from nas.searcher.front import Front
from nas.searcher.parallel_evaluator import ParallelEvaluator, score_rows
from nas.searcher.worker_plan import WorkerPlan
from nas.strategies.evolution import EvolutionOptions, EvolutionSearch, Migrants
from nas.strategies.islands import KEPT, MIGRANTS, IslandPlan, IslandSearch, evolve, pack, unpack
from nas.strategies.strategy import SearchState, StrategyContext
from search_spaces.space_file import load_space
from workbench.errors import BadInput
from workbench.workers import JobResult, Workers, check_workers
from workbench.workers.base import environment_versions
from workbench.workers.base import run_job as call_job
from workbench.workers.in_process import InProcess

STEPS, POPULATION = 480, 8


@pytest.fixture(autouse=True)
def _short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two generations a round: many rounds in little time."""
    monkeypatch.setattr("nas.strategies.islands.GENERATIONS", 2)


class Disorder(Workers):
    """Runs jobs in random order, some of them twice, as a cluster with dying nodes would."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.random, self.done = count, random.Random(seed), 0
        self.jobs: dict[Hashable, tuple[Callable[..., Any], str]] = {}
        self.most = 0

    @property
    def in_flight(self) -> int:
        return len(self.jobs)

    def start(self, key: Hashable, function: Callable[..., Any], *arguments: Any) -> None:
        plan, *rest = arguments
        self.jobs[key] = (lambda *later: function(plan, *later), json.dumps(rest))
        self.most = max(self.most, len(self.jobs))

    def wait(self) -> JobResult:
        key = self.random.choice(sorted(self.jobs, key=str))
        function, text = self.jobs.pop(key)
        if self.random.random() < 0.3:
            function(*json.loads(text))
        self.done += 1
        return JobResult(key, function(*json.loads(text)))

    def close(self) -> None:
        self.jobs.clear()


def evaluator(score: str = "maxent") -> Evaluator:
    costs = SpaceCosts(load_space("res"), load_device("t4"))
    return Evaluator(costs, whole_limits(costs, parse_budgets(["3ms"])), score)


def make(count: int, workers: Workers | None = None, steps: int = STEPS, seed: int = 0) -> IslandSearch:
    return IslandSearch(StrategyContext(evaluator(), seed, workers=workers), EvolutionOptions(steps, POPULATION), count)


def plain_evolution() -> EvolutionSearch:
    return EvolutionSearch(StrategyContext(evaluator()), EvolutionOptions(STEPS, POPULATION))


def empty_front() -> Front:
    return Front(load_space("res").genes)


def step(strategy: IslandSearch | EvolutionSearch, front: Front) -> None:
    """One batch, as the driver does it."""
    rows = strategy.ask()
    evaluation = strategy.evaluate(rows)
    strategy.tell(rows, evaluation)
    usable = evaluation.usable
    front.add(rows[usable], evaluation.score[usable], evaluation.costs["latency_ms"][usable])


def whole(strategy: IslandSearch | EvolutionSearch, front: Front | None = None) -> Front:
    front = front or empty_front()
    while not strategy.finished:
        step(strategy, front)
    return front


def same(a: Front, b: Front) -> bool:
    return (
        a.rows.tolist() == b.rows.tolist()
        and a.score.tolist() == b.score.tolist()
        and a.cost.tolist() == b.cost.tolist()
    )


def test_one_island_is_the_plain_evolution() -> None:
    islands = make(1)
    assert same(whole(islands), whole(plain_evolution()))
    assert islands.candidates == STEPS and islands.progress == 1.0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_order_workers_and_repeated_jobs_change_nothing(seed: int) -> None:
    ordered, pool = make(4), Disorder(1 + seed, seed)
    disordered = make(4, pool)
    assert same(whole(ordered), whole(disordered))
    assert ordered.state() == disordered.state()
    assert ordered.candidates == STEPS and pool.most == 1 + seed


def test_islands_far_apart_still_find_what_was_sent() -> None:
    """An island reads what its neighbour sent two rounds before, or nothing once that one is over."""
    for seed in range(3):
        islands = make(3, Disorder(4, seed), seed=seed)
        front = empty_front()
        while not islands.finished:
            step(islands, front)
            rounds = [0 if state is None else state["round"] for state in islands.states]
            live = [i for i, state in enumerate(islands.states) if state is None or not state["finished"]]
            for i in live:
                source = islands.states[i - 1]
                if (
                    rounds[i] >= 2
                    and source is not None
                    and not source["finished"]
                    and source["round"] >= rounds[i] - 1
                ):
                    assert islands._migrants(i) is not None
        assert all(state is not None and len(state["sent"]) <= KEPT for state in islands.states)


def test_another_seed_or_number_of_islands_gives_other_populations() -> None:
    first = make(2)
    whole(first)
    for other in (make(2, seed=1), make(3)):
        whole(other)
        assert first.states[0] != other.states[0]


@pytest.mark.parametrize("stop", [1, 5])
def test_loaded_it_goes_on_and_repeats_only_what_was_in_flight(stop: int) -> None:
    through = Disorder(3, 0)
    expected = whole(make(3, through))
    first, search = make(3, Disorder(3, 1)), SearchState(empty_front())
    journal: dict[str, Any] = {}
    for second in range(stop):
        step(first, search.front)
        search.seconds = float(second)
        records = dict(first.save(search))
        assert len(records) == 1, "only the island whose round ended is written"
        journal |= json.loads(json.dumps(records))
    assert not dict(first.save(search))
    pool = Disorder(2, 2)
    resumed, loaded = make(3, pool), SearchState(empty_front())
    resumed.load(journal.get, loaded)
    assert resumed.candidates == loaded.candidates == first.candidates and loaded.seconds == stop - 1
    assert same(loaded.front, search.front)
    assert same(whole(resumed, loaded.front), expected)
    assert pool.done == through.done - stop


def test_restored_from_one_state_it_ends_the_same() -> None:
    expected, first, front = whole(make(3)), make(3), empty_front()
    for _ in range(4):
        step(first, front)
    resumed = make(3)
    resumed.restore(json.loads(json.dumps(first.state())))
    assert same(whole(resumed, front), expected)


def test_migrants_take_their_places() -> None:
    plan = IslandPlan(evaluator(), 0, EvolutionOptions(STEPS, POPULATION), 2)
    genes = load_space("res").genes
    best = plan.search(0)
    whole(best)
    sent = best.emigrants(MIGRANTS)
    assert 0 < len(sent.rows) <= MIGRANTS and sent.score[0] == best.score[0]
    state, _ = evolve(plan, 1, None, None)
    apart, _ = evolve(plan, 1, state, None)
    together, _ = evolve(plan, 1, state, sent.to_dict())
    population = Migrants.of(unpack(together["memory"])["strategy"], genes)
    alone = Migrants.of(unpack(apart["memory"])["strategy"], genes)
    assert population.score[0] >= sent.score[0] > alone.score[0]
    assert together["told"] == apart["told"], "migrants count for no steps"
    assert same_dict(Migrants.of(sent.to_dict(), genes), sent)


def same_dict(a: Migrants, b: Migrants) -> bool:
    return a.to_dict() == b.to_dict()


def test_memory_survives_packing_and_damage_is_named() -> None:
    data = {"rows": [[1, 2]], "score": [None, 0.1 + 0.2]}
    assert unpack(pack(data)) == data
    with pytest.raises(BadInput, match="--fresh"):
        unpack(pack(data)[:-5])


class Broken(Workers):
    """Fails every job that holds a marked row; the others are done at once."""

    count = 2

    def __init__(self, marked: list[list[int]]) -> None:
        self.marked, self.inner, self.most = marked, InProcess(), 0

    @property
    def in_flight(self) -> int:
        return self.inner.in_flight

    def start(self, key: Hashable, function: Callable[..., Any], *arguments: Any) -> None:
        bad = any(row in self.marked for row in arguments[1].tolist())
        self.inner.start(key, (lambda *_: None) if bad else function, *arguments)
        self.most = max(self.most, self.in_flight)

    def wait(self) -> JobResult:
        done = self.inner.wait()
        return JobResult(done.key, failure="its worker died") if done.value is None else done

    def close(self) -> None:
        self.inner.close()


def test_spread_scores_are_those_of_one_process_and_a_failure_is_a_reason() -> None:
    plain = evaluator("deepmad")
    rows = load_space("res").sample(200, np.random.default_rng(0))
    expected = plain.evaluate(rows)
    inside = rows[expected.over == 0]
    marked = inside[[3, 20]].tolist()
    pool = Broken(marked)
    spread = ParallelEvaluator(plain, pool)
    evaluation = spread.evaluate(rows)
    lost = np.array([row in marked for row in rows.tolist()])
    assert np.array_equal(evaluation.score[~lost], expected.score[~lost], equal_nan=True)
    assert np.isnan(evaluation.score[lost]).all() and not np.isnan(expected.score[lost]).all()
    assert sorted(f["row"] for f in spread.failed) == sorted(marked) and {f["reason"] for f in spread.failed} == {
        "its worker died"
    }
    assert pool.most <= 2 * pool.count, "work in flight is bounded"
    assert score_rows(plain, inside)[1] == spread.ineffective + sum(np.isnan(expected.score[lost]))


def test_an_island_that_cannot_be_evolved_ends_the_search_with_the_reason() -> None:
    class Dead(InProcess):
        def wait(self) -> JobResult:
            return JobResult(super().wait().key, failure="node lost")

    with pytest.raises(BadInput, match=r"node lost.*resumes from its last round"):
        make(2, Dead()).ask()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"strategy": "exact", "islands": 2}, "exact has none"),
        ({"strategy": "evolution", "islands": 0}, "at least 1"),
        ({"strategy": "evolution", "workers": 0}, "--workers 0"),
        ({"strategy": "evolution", "address": "auto"}, "add --workers N"),
        ({"strategy": "evolution", "workers": 2, "address": "http://host:1"}, "must be auto or HOST:PORT"),
        ({"strategy": "evolution", "workers": 2, "address": "host"}, "must be auto or HOST:PORT"),
        ({"strategy": "tpe", "workers": 2}, "leave out --workers"),
    ],
)
def test_what_cannot_be_split_is_refused(asked: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"additive": True, "workers": None, "address": None, "islands": None, **asked}
    with pytest.raises(BadInput, match=words):
        WorkerPlan.of(**given)


def test_the_usual_shape() -> None:
    def shape(strategy: str, additive: bool, workers: int | None, islands: int | None = None) -> tuple[int, bool, int]:
        made = WorkerPlan.of(strategy, additive, workers, None, islands)
        return made.islands, made.spreads, len(made.notes)

    assert shape("evolution", True, None) == (0, False, 0)
    assert shape("evolution", True, 8) == (8, False, 0)
    assert shape("evolution", True, 8, 3) == (3, False, 0)
    assert shape("evolution", False, 8) == (0, True, 0)
    assert shape("tpe", False, 8) == (0, True, 0)
    assert shape("exact", True, 8) == (0, False, 1)
    with WorkerPlan.of("exact", True, 8, None, None).open() as workers:
        assert isinstance(workers, InProcess), "the exact search starts no Ray"
    check_workers(2, "10.0.0.5:6379")


def test_fewer_steps_than_islands_are_refused() -> None:
    with pytest.raises(BadInput, match="lower --islands"):
        make(4, steps=3)


def test_another_version_on_a_node_is_refused() -> None:
    assert call_job(environment_versions(), max, 1, 2) == 2
    with pytest.raises(BadInput, match=r"instead of 0\.0"):
        call_job({**environment_versions(), "numpy": "0.0"}, max, 1, 2)


def test_islands_in_one_process_import_no_guest(tmp_path: Path) -> None:
    code = (
        "import sys; from nas.cli import main; "
        "command = 'search --budget 3ms --device t4 --grid 32 --strategy evolution --islands 2 --steps 64'; "
        "code = main([*command.split(), '--quiet', '--no-pictures']); "
        "guests = {'torch', 'ray', 'optuna'} & set(sys.modules); assert not guests, guests; sys.exit(code)"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
