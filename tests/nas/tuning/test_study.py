"""The study: its storage is its only memory, whatever dies; and the command, with real trainings."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("pycocotools")
optuna = pytest.importorskip("optuna")
from distill.request import TrainRequest
from distill.train.recipe import load_recipe
from nas.cli import main
from nas.strategies.optuna_journal import JOURNAL, open_study
from nas.tuning.pruner import SuccessiveHalving, rungs
from nas.tuning.ranges import read_ranges
from nas.tuning.study import NAME, STARTUP, TuningRequest, TuningStudy, train_until
from tests.distill.tiny import furnish
from tests.nas.process import finish, nas
from workbench.signals import watch_signals
from workbench.workers import JobResult, Workers

EPOCHS, EVALUATED = 9, {1, 3, 5, 7, 9}
RECIPE = load_recipe("small", {"epochs": EPOCHS})
TRIALS = STARTUP + 12


class Stop(Exception):
    """The driver dies here."""


class Formula(Workers):
    """Workers that know a trial's AP by a formula of its settings, in place of minutes of training; they die after ``jobs``."""

    def __init__(self, jobs: float = math.inf, count: int = 1, best: float = -3.0) -> None:
        self.count, self.jobs, self.best, self.done = count, jobs, best, list[tuple[str, int]]()
        self.queue: list[tuple[Hashable, TrainRequest, int]] = []

    @property
    def in_flight(self) -> int:
        return len(self.queue)

    def start(self, key: Hashable, function: Callable[..., Any], *arguments: Any) -> None:
        assert function is train_until
        self.queue.append((key, arguments[0], arguments[1]))

    def wait(self) -> JobResult:
        if len(self.done) >= self.jobs:
            raise Stop
        key, request, until = self.queue.pop()
        self.done.append((str(request.name), until))
        values = dict(change.split("=") for change in request.changes)
        if values["optimizer"] == "muon":
            return JobResult(key, failure="its worker died") if int(str(request.name)) % 2 else JobResult(key, {"failure": "BadInput: the loss is not finite"})
        height = 0.5 - 0.1 * (math.log10(float(values["lr"])) - self.best) ** 2
        return JobResult(key, {"ap": {str(epoch): height * epoch / EPOCHS for epoch in sorted(EVALUATED) if epoch <= until}})

    def close(self) -> None:
        self.queue.clear()


def study_in(folder: Path, workers: Workers, trials: int = TRIALS, vary: tuple[str, ...] = ("lr=log:1e-5..1e-1", "optimizer=sgd,adamw,muon")) -> list[Any]:
    """Go on with the study in ``folder``; its trials as plain data."""
    stops = rungs(EPOCHS, EVALUATED)
    wish = TuningRequest(TrainRequest("model", "data", recipe="small"), trials, vary)
    study = open_study(folder, NAME, ["maximize"], ["AP"], SuccessiveHalving(stops))
    TuningStudy(study, wish, read_ranges(vary, None, RECIPE, False), RECIPE, stops, folder / "trials", workers, lambda text: None).go()
    return plain(folder)


def plain(folder: Path) -> list[Any]:
    study = optuna.load_study(study_name=NAME, storage=open_study(folder, NAME, ["maximize"], ["AP"])._storage)
    return [(t.number, t.state.name, t.value, t.params, t.intermediate_values, t.user_attrs) for t in study.trials]


def finished(folder: Path) -> list[Any]:
    return [t for t in plain(folder) if t[1] in ("COMPLETE", "PRUNED", "FAIL")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """A study that nobody disturbed."""
    return study_in(tmp_path_factory.mktemp("whole"), Formula())


def test_trials_end_in_every_way_and_failures_have_a_reason_and_no_number(whole: list[Any]) -> None:
    assert len(whole) == TRIALS
    states = [state for _, state, *_ in whole]
    assert {"COMPLETE", "PRUNED", "FAIL"} == set(states)
    for _, state, value, params, steps, attrs in whole:
        if state == "FAIL":
            assert params["optimizer"] == "muon" and value is None and not steps and attrs["reason"]
        if state == "COMPLETE":
            assert max(steps) == EPOCHS and value == max(steps.values())
        if state == "PRUNED":
            assert max(steps) in rungs(EPOCHS, EVALUATED)
    assert {t[5].get("reason") for t in whole} >= {"its worker died", "BadInput: the loss is not finite"}


def test_the_sampler_goes_by_what_it_was_told(whole: list[Any], tmp_path: Path) -> None:
    """Another truth leads to other settings, once the random start is over."""
    other = study_in(tmp_path, Formula(best=-1.5))
    assert [t[3] for t in other[:STARTUP]] == [t[3] for t in whole[:STARTUP]]
    assert [t[3] for t in other[STARTUP:]] != [t[3] for t in whole[STARTUP:]]


@pytest.mark.parametrize("every", [1, 3, 7])
def test_a_driver_that_dies_again_and_again_gives_the_same_study(every: int, whole: list[Any], tmp_path: Path) -> None:
    done: list[tuple[str, int]] = []
    count = 0
    while True:
        workers = Formula(every)
        try:
            found = study_in(tmp_path, workers)
            break
        except Stop:
            assert len(finished(tmp_path)) >= count, "the number of finished trials never falls"
            count = len(finished(tmp_path))
        finally:
            done += workers.done
    assert [(t[0], t[1], t[2], t[3]) for t in found] == [(t[0], t[1], t[2], t[3]) for t in whole], "the sampler has seen all of them"
    assert len(done) == len(set(done)), "no rung is trained twice"


def test_more_trials_go_on_where_fewer_ended(whole: list[Any], tmp_path: Path) -> None:
    for trials in (3, STARTUP + 1, TRIALS):
        found = study_in(tmp_path, Formula(), trials)
        assert len(found) == trials
    assert [t[:4] for t in found] == [t[:4] for t in whole]


def test_several_at_once_end_too(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        study_in(tmp_path, Formula(5, count=3))
    running = [t[0] for t in plain(tmp_path) if t[1] == "RUNNING"]
    assert 0 < len(running) <= 3
    before = finished(tmp_path)
    found = study_in(tmp_path, Formula(count=3))
    assert len(found) == TRIALS and all(t[1] != "RUNNING" for t in found)
    assert [t for t in found if t[0] in {b[0] for b in before}] == before


def test_the_rungs_are_evaluated_epochs() -> None:
    assert rungs(9, EVALUATED) == (1, 3)
    assert rungs(100, set(range(5, 101, 5))) == (15, 35)
    assert rungs(1, {1}) == ()
    assert rungs(2, {1, 2}) == (1,)


def test_a_signal_that_somebody_else_took_is_heard() -> None:
    with watch_signals() as asked:
        assert not asked()
        before = signal.signal(signal.SIGINT, lambda number, frame: None)
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.signal(signal.SIGINT, before)
        assert asked() and asked()


def test_one_third_goes_on() -> None:
    study = optuna.create_study(direction="maximize", pruner=SuccessiveHalving((1,)))
    kept = []
    for value in (0.1, 0.2, 0.3, 0.15, 0.25, 0.4, 0.3):
        trial = study.ask()
        trial.report(value, 1)
        assert trial.should_prune() == trial.should_prune(), "asking leaves no mark"
        kept.append(not trial.should_prune())
    assert kept == [True, True, True, False, False, True, True]


# The command -------------------------------------------------------------------------------------

TUNE = ["tune", "small", "--model", "tiny.yaml", "--data", "data", "--input", "64", "--batch", "4", "--epochs", "3", "--data-workers", "0", "--name", "t", "--json"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tune")
    furnish(folder, 12)
    return folder


def test_killed_while_it_trains_and_started_again(home: Path, tmp_path: Path) -> None:
    args = [*TUNE, "--trials", "3", "--runs", str(tmp_path)]
    process = nas(*args, cwd=home)
    second = tmp_path / "t" / "trials" / "0001" / "resume.pt"
    deadline = time.monotonic() + 200
    while not second.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    before = finished(tmp_path / "t")
    assert len(before) == 1 and second.exists() and not (tmp_path / "t" / "best.yaml").exists()
    found = finish(nas(*args, cwd=home))
    assert finished(tmp_path / "t")[:1] == before and len(found["trials"]) == 3 and found["counts"]["running"] == 0
    recipe = load_recipe(str(tmp_path / "t" / "best.yaml"))
    assert recipe.lr == found["best"]["settings"]["lr"] and recipe.epochs == 3 and f"trial {found['best']['number']} " in recipe.source
    assert (tmp_path / "t" / JOURNAL).exists() and (tmp_path / "t" / "trials.csv").read_text().count("\n") == 4
    assert not list((tmp_path / "t" / "trials").glob("*/resume.pt")), "finished trials keep their weights alone"
    assert len(list((tmp_path / "t" / "trials").glob("*/best.safetensors"))) == 3


@pytest.mark.slow
def test_ctrl_c_and_again_is_the_undisturbed_study(home: Path, tmp_path: Path) -> None:
    args = [*TUNE, "--trials", "3", "--runs"]
    expected = finish(nas(*args, str(tmp_path / "whole"), cwd=home))
    process = nas(*args, str(tmp_path / "cut"), cwd=home)
    second = tmp_path / "cut" / "t" / "trials" / "0001" / "resume.pt"
    while not second.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130 and "resumes from here" in err and "Traceback" not in err
    found = finish(nas(*args, str(tmp_path / "cut"), cwd=home))
    assert found["trials"] == expected["trials"] and found["best"] == expected["best"]


@pytest.mark.slow
def test_trials_on_ray_with_a_teacher(home: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    done = nas("train", "tiny.yaml", "--data", "data", "--input", "64", "--batch", "4", "--epochs", "1", "--data-workers", "0", "--name", "teacher", "--quiet", cwd=home)
    assert done.wait(timeout=200) == 0
    teacher = "runs/teacher/best.safetensors"
    args = [*TUNE, "--trials", "3", "--runs", str(tmp_path), "--workers", "2", "--teacher", teacher, "--vary", "share=0.1..0.5", "--vary", "lr=log:1e-4..1e-2"]
    found = finish(nas(*args, cwd=home))
    assert found["counts"]["complete"] + found["counts"]["pruned"] == 3
    settings = json.loads(json.dumps([t["settings"] for t in found["trials"]]))
    assert all(0.1 <= one["share"] <= 0.5 for one in settings) and len({one["lr"] for one in settings}) == 3


def test_other_ranges_want_another_name(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(home)
    short = [*TUNE[:-1], "--epochs", "1", "--quiet", "--runs", str(tmp_path), "--trials", "1"]
    assert main([*short, "--vary", "lr=log:1e-4..1e-2"]) == 0
    out = capsys.readouterr().out
    assert "1 trials: 1 completed" in out and "best.yaml" in out
    assert main([*short, "--vary", "lr=log:1e-4..1e-3"]) == 2
    assert "was made with vary=" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--trials", "0"], "--trials 0 must be from 1"),
        (["--vary", "lrr=1..2"], "did you mean lr"),
        (["--address", "auto"], "add --workers N"),
        (["--cpus", "2"], "add --workers N"),
        (["--teacher-weights", "x.safetensors"], "add --teacher"),
        (["--model", "nowhere.yaml"], "no such file"),
        (["--epochs", "0"], "epochs 0"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(words: list[str], says: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(home)
    assert main([*TUNE, "--runs", str(tmp_path / "runs"), *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("nas: ") and says in err and err.count("\n") == 1
    assert not (tmp_path / "runs").exists()
