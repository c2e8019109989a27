"""The contract of every sampling strategy. A newcomer adds one line to ``STRATEGY_CLASSES``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.budgets import parse_budgets
from nas.costs import SpaceCosts
from nas.devices.profile import load_device
from nas.searcher.evaluator import Evaluation, Evaluator, whole_limits
from nas.strategies.evolution import EvolutionSearch, fine_step, row_hashes
from nas.strategies.options import read_options
from nas.strategies.optuna_journal import JOURNAL, cut_torn_line
from nas.strategies.optuna_parameters import row_parameters
from nas.strategies.optuna_samplers import Nsga2Search, OptunaSearch, TpeSearch
from nas.strategies.random import RandomSearch
from nas.strategies.strategy import Strategy, StrategyContext
from search_spaces.space import Space
from search_spaces.space_file import load_space, read_space, space_names
from workbench.errors import BadInput

STRATEGY_CLASSES: dict[str, type[Strategy]] = {
    "evolution": EvolutionSearch,
    "random": RandomSearch,
    "tpe": TpeSearch,
    "nsga2": Nsga2Search,
}
STEPS = {"evolution": 1000, "random": 500, "tpe": 40, "nsga2": 160}
POPULATION = 32
FRONT = POPULATION // 4

TINY = """
name: tiny
style: res
act: relu
spp: true
channels: 64
stem: {out: 32, k: 3, focus: true}
stages:
  - {kind: k1kx, stride: 2, out: 64, btn: 64, k: 3, depth: 1..2}
  - {kind: k1kx, stride: 2, out: 64..128, btn: 64, k: 3, depth: 1}
  - {kind: k1kx, stride: 2, out: 128, btn: 64, k: 3, depth: 1}
  - {kind: k1kx, stride: 1, out: 128, btn: 64, k: 3, depth: 1}
  - {kind: k1kx, stride: 2, out: 256, btn: 64, k: 3, depth: 1..2}
rules: {out_grows: true, btn_to_out: [0.1, 1.0]}
neck: {out: [128, 256, 512], depth: 1.0, hidden_ratio: 0.75, act: relu}
head: {classes: 80, reg_max: 16, k: 3}
"""


class Slow(Evaluator):
    """An evaluator whose score is not a sum: over-budget rows stay unscored, and some scores fail."""

    fails_below = 20

    @property
    def additive(self) -> bool:
        return False

    def score_row(self, row: np.ndarray) -> float:
        return float("nan") if int(row_hashes(row[None])[0]) % 100 < self.fails_below else float(row.sum())


def evaluator(space: Space, budget: str = "3ms", kind: type[Evaluator] = Evaluator) -> Evaluator:
    rulers = SpaceCosts(space, load_device("t4"))
    return kind(rulers, whole_limits(rulers, parse_budgets([budget])), "maxent")


@pytest.fixture(scope="module")
def res() -> Space:
    return load_space("res")


@pytest.fixture(scope="module", params=sorted(STRATEGY_CLASSES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["memory", "folder"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """Every strategy accepts a folder; Optuna's keep their journal there."""
    return tmp_path if request.param == "folder" else None


def make(name: str, evaluator: Evaluator, seed: int = 0, folder: Path | None = None, **options: Any) -> Strategy:
    kind: Any = STRATEGY_CLASSES[name]
    values = {"steps": STEPS[name], "population": POPULATION, **options}
    context = StrategyContext(evaluator, seed, folder)
    strategy: Strategy = kind(context, read_options(kind.options_type, name, values))
    return strategy


def drive(
    strategy: Strategy, until: Callable[[int], bool] = lambda batch: False
) -> tuple[list[np.ndarray], list[Evaluation]]:
    """Ask, judge, tell until finished or ``until(batches)``; every batch must be whole, inside and not empty."""
    space = strategy.context.space
    asked: list[np.ndarray] = []
    answers: list[Evaluation] = []
    while not strategy.finished and not until(len(asked)):
        rows = strategy.ask()
        assert len(rows) > 0, "an empty batch before the search is finished"
        assert rows.dtype == np.int64 and rows.shape == (len(rows), space.genes)
        assert space.contains_rows(rows).all()
        answers.append(strategy.evaluate(rows))
        strategy.tell(rows, answers[-1])
        asked.append(rows)
        assert 0.0 < strategy.progress <= 1.0
    return asked, answers


def same(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


class TestContract:
    """What every strategy promises."""

    def test_has_its_name(self, name: str) -> None:
        assert STRATEGY_CLASSES[name].name == name

    def test_finishes_after_its_steps_and_finds_feasible_candidates(self, name: str, res: Space) -> None:
        strategy = make(name, evaluator(res))
        asked, answers = drive(strategy)
        assert sum(map(len, asked)) == STEPS[name]
        assert strategy.progress == 1.0
        assert sum(int(a.feasible.sum()) for a in answers) > 0
        with pytest.raises(BadInput, match="steps"):
            strategy.ask()

    def test_same_seed_same_rows_another_seed_others(self, name: str, res: Space) -> None:
        first, _ = drive(make(name, evaluator(res), seed=3))
        again, _ = drive(make(name, evaluator(res), seed=3))
        other, _ = drive(make(name, evaluator(res), seed=4), until=lambda batches: batches == 1)
        assert same(first, again)
        assert not same(first[:1], other)

    @pytest.mark.parametrize("kind", [Evaluator, Slow])
    def test_restored_midway_goes_on_as_if_nothing_happened(
        self, name: str, res: Space, folder: Path | None, kind: type[Evaluator]
    ) -> None:
        strategy = make(name, evaluator(res, kind=kind), 1, folder)
        before, _ = drive(strategy, until=lambda batches: batches == 3)
        saved = json.dumps(strategy.state(), allow_nan=False)
        rest, _ = drive(strategy)
        resumed = make(name, evaluator(res, kind=kind), 1, folder)
        resumed.restore(json.loads(saved))
        assert resumed.progress == pytest.approx(sum(map(len, before)) / STEPS[name])
        again, _ = drive(resumed)
        assert rest and same(rest, again)

    def test_saved_while_a_batch_is_out_asks_it_again(self, name: str, res: Space, folder: Path | None) -> None:
        strategy = make(name, evaluator(res), 1, folder)
        drive(strategy, until=lambda batches: batches == 2)
        out = strategy.ask()
        resumed = make(name, evaluator(res), 1, folder)
        resumed.restore(json.loads(json.dumps(strategy.state(), allow_nan=False)))
        assert np.array_equal(resumed.ask(), out)

    def test_nan_scores_are_candidates_without_a_score(self, name: str, res: Space) -> None:
        asked, answers = drive(make(name, evaluator(res, kind=Slow)))
        score = np.concatenate([a.score for a in answers])
        assert np.isnan(score).any() and not np.isnan(score).all()
        assert sum(map(len, asked)) == STEPS[name]
        assert max(map(len, asked)) <= 32, "slow scores want small batches"

    def test_an_impossible_budget_still_ends(self, name: str, res: Space) -> None:
        asked, answers = drive(make(name, evaluator(res, budget="0.1ms")))
        assert sum(map(len, asked)) == STEPS[name]
        assert not any(a.feasible.any() for a in answers)

    def test_a_space_smaller_than_a_population(self, name: str) -> None:
        asked, _ = drive(make(name, evaluator(read_space(TINY))))
        assert sum(map(len, asked)) == STEPS[name]
        assert len(np.unique(np.concatenate(asked), axis=0)) == 8 == read_space(TINY).size()

    def test_refuses_a_state_of_another_strategy(self, name: str, res: Space) -> None:
        with pytest.raises(BadInput, match="saved by strategy 'annealing'"):
            make(name, evaluator(res)).restore({"strategy": "annealing"})

    def test_no_steps_is_a_mistake(self, name: str, res: Space) -> None:
        with pytest.raises(BadInput, match="steps 0"):
            make(name, evaluator(res), steps=0)


class TestEvolution:
    """Beyond the contract."""

    def test_beats_random_search_by_far(self, res: Space) -> None:
        best = {}
        for which in ("evolution", "random"):
            _, answers = drive(make(which, evaluator(res), steps=3000))
            best[which] = max(float(a.score[a.feasible].max(initial=-np.inf)) for a in answers)
        assert best["evolution"] > 1.02 * best["random"]

    def test_never_loses_its_best_and_keeps_a_front(self, res: Space) -> None:
        strategy = make("evolution", evaluator(res))
        assert isinstance(strategy, EvolutionSearch)
        _, answers = drive(strategy)
        assert strategy.score[0] == max(float(a.score[a.feasible].max(initial=-np.inf)) for a in answers)
        assert len(np.unique(row_hashes(strategy.rows))) == len(strategy.rows) <= POPULATION
        front = strategy._front(strategy.score, strategy.cost, strategy.over)
        assert len(front) > FRONT
        assert (np.diff(strategy.score[front]) < 0).all() and (np.diff(strategy.cost[front]) < 0).all()

    def test_constraints_come_first_then_smaller_misses(self, res: Space) -> None:
        strategy = make("evolution", evaluator(res))
        assert isinstance(strategy, EvolutionSearch)
        score, over = np.array([9.0, 1.0, np.nan, 2.0, np.nan]), np.array([0.3, 0.0, 0.0, 0.0, 0.1])
        assert strategy._elites(score, over).tolist() == [3, 1, 4, 0]

    @pytest.mark.parametrize("which", space_names())
    def test_fine_steps_stay_inside_and_move_one_gene(self, which: str) -> None:
        space = load_space(which)
        rng = np.random.default_rng(0)
        rows = space.sample(400, rng)
        moved = fine_step(space, rows, rng)
        assert space.contains_rows(moved).all()
        changed = (moved != rows).sum(axis=1)
        by_ratio = any(stage.by_ratio for stage in space.stages)
        assert 0 < changed.max() <= (2 if by_ratio else 1)
        assert (changed > 0).mean() > 0.3

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"childs": 3}, "did you mean children"),
            ({"fine_share": 1.5}, "use 0 to 1"),
            ({"children": 2.5}, "whole number"),
            ({"focus": "high"}, "must be a number"),
        ],
    )
    def test_options_are_checked(self, res: Space, options: dict[str, Any], text: str) -> None:
        with pytest.raises(BadInput, match=text):
            make("evolution", evaluator(res), **options)


class TestOptuna:
    """Beyond the contract."""

    @pytest.mark.parametrize("which", space_names())
    def test_every_trial_lies_in_the_space_and_shares_reach_both_ends(self, which: str) -> None:
        space = load_space(which)
        parameters = row_parameters(space)
        names = parameters.distributions()
        rng = np.random.default_rng(0)
        rows = [parameters.row({n: v for n, v in _draw(names, rng)}) for _ in range(300)]
        assert space.contains_rows(np.stack(rows)).all()
        low = parameters.row({n: 0.0 for n in names if n.endswith("share")})
        high = parameters.row({n: 1.0 for n in names if n.endswith("share")})
        assert space.contains_rows(np.stack([low, high])).all()
        last = space.column(len(space.stages) - 1, 0)
        assert (low[last], high[last]) == (space.stages[-1].outs[0], space.stages[-1].outs[-1])

    @pytest.mark.parametrize("which", ["tpe", "nsga2"])
    def test_journal_opens_in_optuna_with_costs_and_constraints(self, which: str, res: Space, tmp_path: Path) -> None:
        strategy = make(which, evaluator(res, kind=Slow), folder=tmp_path)
        _, answers = drive(strategy)
        study = _load(tmp_path, which)
        assert [t.user_attrs["candidate"] for t in study.trials] == list(range(STEPS[which]))
        assert {t.state.name for t in study.trials} == {"COMPLETE", "PRUNED", "FAIL"}
        over = np.concatenate([a.over for a in answers])
        for trial, miss in zip(study.trials, over, strict=True):
            assert trial.constraints == {"over": miss}
            assert {"genes", "latency_ms", "flops", "params"} <= set(trial.user_attrs)
            assert (trial.state.name == "PRUNED") == (miss > 0)
            assert ("reason" in trial.user_attrs) == (trial.state.name != "COMPLETE")
        assert study.metric_names == (["score"] if which == "tpe" else ["score", "latency_ms"])

    @pytest.mark.parametrize("which", ["tpe", "nsga2"])
    def test_a_kill_after_the_state_was_saved_writes_nothing_twice(
        self, which: str, res: Space, tmp_path: Path
    ) -> None:
        strategy = make(which, evaluator(res), folder=tmp_path, batch=4)
        drive(strategy, until=lambda batches: batches == 2)
        saved = strategy.state()
        drive(strategy, until=lambda batches: batches == 2)
        journal = tmp_path / JOURNAL
        journal.write_bytes(journal.read_bytes() + b'{"op_code": 4, "worker')
        resumed = make(which, evaluator(res), folder=tmp_path, batch=4)
        resumed.restore(saved)
        drive(resumed)
        assert [t.user_attrs["candidate"] for t in _load(tmp_path, which).trials] == list(range(STEPS[which]))

    def test_another_search_in_the_same_folder_is_refused(self, res: Space, tmp_path: Path) -> None:
        drive(make("tpe", evaluator(res), 0, tmp_path), until=lambda batches: batches == 2)
        with pytest.raises(BadInput, match="another tpe search"):
            drive(make("tpe", evaluator(res), 1, tmp_path), until=lambda batches: batches == 2)

    def test_a_lost_journal_is_named(self, res: Space, tmp_path: Path) -> None:
        strategy = make("tpe", evaluator(res), 0, tmp_path)
        drive(strategy, until=lambda batches: batches == 2)
        (tmp_path / JOURNAL).unlink()
        with pytest.raises(BadInput, match="lacks trial 0 of 8"):
            make("tpe", evaluator(res), 0, tmp_path).restore(strategy.state())
        with pytest.raises(BadInput, match="in the folder it was started in"):
            make("tpe", evaluator(res), 0).restore(strategy.state())

    def test_torn_line_is_cut_and_whole_lines_stay(self, tmp_path: Path) -> None:
        path = tmp_path / JOURNAL
        assert cut_torn_line(path) == 0
        path.write_bytes(b"{}\n{}\n{torn")
        assert cut_torn_line(path) == 5
        assert path.read_bytes() == b"{}\n{}\n"

    def test_tells_must_match_asks(self, res: Space) -> None:
        strategy = make("tpe", evaluator(res))
        assert isinstance(strategy, OptunaSearch)
        rows = strategy.ask()
        judged = strategy.evaluate(rows[:2])
        with pytest.raises(BadInput, match="told 2 rows"):
            strategy.tell(rows[:2], judged)


def _draw(names: dict[str, Any], rng: np.random.Generator) -> list[tuple[str, Any]]:
    drawn: list[tuple[str, Any]] = []
    for name, d in names.items():
        if name.endswith("share"):
            drawn.append((name, rng.random()))
        elif hasattr(d, "choices"):
            drawn.append((name, d.choices[rng.integers(0, len(d.choices))]))
        else:
            drawn.append((name, int(rng.integers(0, (d.high - d.low) // d.step + 1)) * d.step + d.low))
    return drawn


def _load(folder: Path, which: str) -> Any:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    return optuna.load_study(study_name=f"nas-{which}", storage=storage)
