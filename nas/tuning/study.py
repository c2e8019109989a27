"""A study: trials that are trainings with other settings, asked of Optuna's sampler, trained rung by rung, told to its storage.

The storage on disk is the only memory. A trial is asked, its training goes up to the next rung, its values are
reported, and the pruner decides; whatever was interrupted in between is taken up where it was, by number and folder. The same
happens in one process and on Ray, where a rung of one trial is a job.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from distill.prepare import prepare
from distill.request import TrainRequest
from distill.train.recipe import load_recipe
from nas.strategies.optuna_journal import load_optuna, open_study, without_notices
from nas.tuning.ranges import SHARE, Range, changes, read_ranges
from workbench.errors import BadInput
from workbench.files import write_atomic
from workbench.run_folder import RunFiles, RunFolder
from workbench.signals import watch_signals
from workbench.tables import Result, Table
from workbench.workers import JobResult, Workers

if TYPE_CHECKING:
    import optuna

    from distill.train.recipe import TrainRecipe

PRODUCTS = RunFiles("tuning", ("best.yaml", "trials.csv", "result.json", "optuna.log*"), ("trials",))
NAME = "nas-tune"
"""Name of the study in its storage."""
STARTUP = 8
"""Trials drawn at random before the sampler models what it has seen."""
MOST_TRIALS = 100_000


@dataclass(frozen=True)
class TuningResult(Result):
    """What a study has found so far; ``trials`` has one record each, by number."""

    folder: Path
    best: dict[str, Any] | None
    trials: list[dict[str, Any]]
    ranges: tuple[Range, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the stable keys of ``--json``."""
        counts = {state: sum(t["state"] == state for t in self.trials) for state in ("complete", "pruned", "fail", "running")}
        return {
            "format": "nas-tune-1", "folder": str(self.folder), "best": self.best, "trials": self.trials, "counts": counts,
            "vary": [one.text() for one in self.ranges],
        }  # fmt: skip

    def to_table(self) -> Table:
        """The ten best trials that ran to the end."""
        complete = sorted((t for t in self.trials if t["state"] == "complete"), key=lambda t: (-t["ap"], t["number"]))
        names = [one.name for one in self.ranges]
        rows = [[t["number"] + 1, t["ap"], *(t["settings"][name] for name in names)] for t in complete[:10]]
        return Table(["trial", "AP", *names], rows)

    def __str__(self) -> str:
        """The table, what became of the trials, and files."""
        counts = self.to_dict()["counts"]
        ends = f"{counts['complete']} completed, {counts['pruned']} ended early, {counts['fail']} failed"
        lines = [str(self.to_table()), "", f"{len(self.trials)} trials: {ends}"]
        lines += [f"trial {t['number'] + 1} failed: {t['reason']}" for t in self.trials if t["state"] == "fail"]
        files = "best.yaml (a recipe), trials.csv, optuna.log (optuna-dashboard), trials/"
        return "\n".join([*lines, f"\nwritten to {self.folder}: {files}"])


@dataclass(frozen=True)
class TuningRequest:
    """What a study is asked for; ``request`` is the training that all trials have in common."""

    request: TrainRequest
    trials: int
    vary: tuple[str, ...] = ()
    ranges_file: str | None = None
    prune: bool = True


def tune(wish: TuningRequest, open_workers: Callable[[], Workers], log: Callable[[str], None] = lambda text: None) -> TuningResult:
    """Go on with the study in the request's folder, or begin it, until it has as many trials as wished for."""
    from distill.train.hooks.evaluation import evaluation_epochs

    if not 1 <= wish.trials <= MOST_TRIALS:
        raise BadInput(f"--trials {wish.trials} must be from 1 to {MOST_TRIALS}")
    load_optuna()
    from nas.tuning.pruner import SuccessiveHalving, rungs

    ready = prepare(wish.request)  # what is wrong is found before the first trial
    wish = dataclasses.replace(wish, request=ready.request)  # what is settled here holds on every worker's machine
    taught = wish.request.teaching is not None
    ranges = read_ranges(wish.vary, wish.ranges_file, ready.recipe, taught)
    stops = rungs(ready.recipe.epochs, evaluation_epochs(ready.recipe.epochs)) if wish.prune else ()
    name = wish.request.name or f"tune-{ready.name.partition('-')[2]}"
    settings = {**ready.settings, "vary": [one.text() for one in ranges], "rungs": list(stops)}
    folder = RunFolder.open(Path(wish.request.runs) / name, settings, _versions(), PRODUCTS, wish.request.fresh)
    try:
        study = open_study(folder.folder.resolve(), NAME, ["maximize"], ["AP"], SuccessiveHalving(stops))
        with open_workers() as workers, watch_signals() as asked_to_end:
            trials = TuningStudy(study, wish, ranges, ready.recipe, stops, folder.folder.resolve() / "trials", workers, log)
            trials.go(asked_to_end)
        return _write(folder.folder, study, ranges, wish.request, trials)
    finally:
        folder.close()


def train_until(request: TrainRequest, epoch: int, working_folder: str) -> dict[str, Any]:
    """Train a trial up to ``epoch`` (from where its folder is): AP by epoch, or the ``failure``."""
    if os.getcwd() != working_folder:
        os.chdir(working_folder)
    try:
        outcome = prepare(request).run(lambda history: bool(history) and history[-1]["epoch"] >= epoch)
    except (BadInput, RuntimeError, MemoryError, ArithmeticError) as error:
        return {"failure": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    return {"ap": {str(record["epoch"]): float(record["ap"]) for record in outcome.history if record.get("ap") is not None}}


class TuningStudy:
    """Keeps as many trials in training as there are workers."""

    def __init__(
        self, study: optuna.Study, wish: TuningRequest, ranges: Sequence[Range], recipe: TrainRecipe, stops: Sequence[int], folder: Path, workers: Workers,
        log: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.study, self.wish, self.ranges, self.recipe, self.workers, self.log = study, wish, tuple(ranges), recipe, workers, log
        self.stops, self.folder = (*stops, recipe.epochs), folder
        self._live: dict[int, optuna.Trial] = {}

    def go(self, asked_to_end: Callable[[], bool] = lambda: False) -> None:
        """First the trials that an earlier call left unfinished, then new ones."""
        from optuna.trial import Trial, TrialState

        left = [Trial(self.study, t._trial_id) for t in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))]
        while True:
            if asked_to_end():
                raise KeyboardInterrupt
            while self.workers.in_flight < self.workers.count:
                if left:
                    self._go_on(left.pop(0))
                elif len(self.study.get_trials(deepcopy=False)) < self.wish.trials:
                    self._go_on(self._ask())
                else:
                    break
            if not self.workers.in_flight:
                return
            self._take(self.workers.wait())

    def request_of(self, number: int, values: dict[str, Any]) -> TrainRequest:
        """The training of one trial."""
        request = self.wish.request
        teaching = request.teaching
        if teaching is not None and SHARE in values:
            teaching = dataclasses.replace(teaching, share=values[SHARE])
        return dataclasses.replace(
            request, changes=(*request.changes, *changes(values)), batch=None if "batch" in values else request.batch, teaching=teaching,
            name=f"{number:04d}", runs=str(self.folder), fresh=False, quiet=True,
        )  # fmt: skip

    def _ask(self) -> optuna.Trial:
        """A new trial. The sampler begins anew each time with (seed, number), so that what is asked follows from the storage alone."""
        number = len(self.study.get_trials(deepcopy=False))
        seed = int(np.random.SeedSequence([self.wish.request.seed, number]).generate_state(1)[0])
        with without_notices():
            self.study.sampler = load_optuna().samplers.TPESampler(n_startup_trials=STARTUP, constant_liar=self.workers.count > 1, seed=seed)
            return self.study.ask()

    def _go_on(self, trial: optuna.Trial) -> None:
        """Finish the trial, or start it on its way to the next rung."""
        with without_notices():
            values = {one.name: one.suggest(trial) for one in self.ranges}
        reported = self._reported(trial)
        last = max(reported, default=0)
        if last >= self.recipe.epochs:
            self._tell(trial, value=max(reported.values()))
        elif last in self.stops and trial.should_prune():
            self._tell(trial, pruned=True)
        else:
            until = next(stop for stop in self.stops if stop > last)
            self._live[trial.number] = trial
            shown = ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items())
            self.log(f"trial {trial.number + 1} of {self.wish.trials}, up to epoch {until} of {self.recipe.epochs}: {shown}{self._best_text()}")
            self.workers.start(trial.number, train_until, self.request_of(trial.number, values), until, os.getcwd())

    def _take(self, done: JobResult) -> None:
        """Report what a job brought, and go on from there."""
        trial = self._live.pop(int(str(done.key)))
        failure = done.failure or done.value.get("failure", "")
        if failure:
            self._tell(trial, failure=failure)
            return
        known = self._reported(trial)
        for epoch, ap in done.value["ap"].items():
            if int(epoch) not in known:
                trial.report(ap, int(epoch))
        self._go_on(trial)

    def _tell(self, trial: optuna.Trial, value: float | None = None, pruned: bool = False, failure: str = "") -> None:
        from optuna.trial import TrialState

        if failure:
            trial.set_user_attr("reason", failure)
            self.study.tell(trial, state=TrialState.FAIL)
            self.log(f"trial {trial.number + 1} failed: {failure}")
        elif pruned:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, value)
        # What going on needs is needed no more; its weights stay.
        (self.folder / f"{trial.number:04d}" / "resume.pt").unlink(missing_ok=True)

    def _reported(self, trial: optuna.Trial) -> dict[int, float]:
        return dict(self.study.get_trials(deepcopy=False)[trial.number].intermediate_values)

    def _best_text(self) -> str:
        values = [t.value for t in self.study.get_trials(deepcopy=False) if t.state.name == "COMPLETE" and t.value is not None]
        return f"; best AP {max(values):.3f}" if values else ""


def _write(folder: Path, study: optuna.Study, ranges: tuple[Range, ...], request: TrainRequest, trials: TuningStudy) -> TuningResult:
    """Leave the best recipe, a table and the result."""
    records = [
        {
            "number": t.number, "state": t.state.name.lower(), "ap": t.value if t.state.name == "COMPLETE" else None, "settings": dict(t.params),
            "ap_by_epoch": {str(step): value for step, value in sorted(t.intermediate_values.items())}, "reason": t.user_attrs.get("reason", ""),
        }
        for t in study.get_trials(deepcopy=False)
    ]  # fmt: skip
    complete = [record for record in records if record["state"] == "complete"]
    if not complete:
        reasons = {record["reason"] for record in records if record["reason"]}
        raise BadInput(f"none of {len(records)} trials was completed: {next(iter(sorted(reasons)), 'all were pruned')}")
    best = max(complete, key=lambda record: (record["ap"], -record["number"]))
    varied = {name: value for name, value in best["settings"].items() if name != SHARE}
    data = dataclasses.replace(trials.recipe, **varied).to_dict() | {
        "precision": load_recipe(str(request.recipe)).precision,
        "source": f"nas tune, trial {best['number']} of {folder.name}: AP {best['ap']:.4f}",
    }  # fmt: skip
    write_atomic(folder / "best.yaml", yaml.safe_dump({key: value for key, value in data.items() if key != "name"}, sort_keys=False))
    write_atomic(folder / "trials.csv", _csv(records, ranges))
    found = TuningResult(folder, best, records, ranges)
    write_atomic(folder / "result.json", json.dumps(found.to_dict(), indent=1, allow_nan=False))
    return found


def _csv(records: list[dict[str, Any]], ranges: Sequence[Range]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [one.name for one in ranges]
    writer.writerow(["number", "state", "ap", *names, "epochs", "last_ap", "reason"])
    for record in records:
        steps = record["ap_by_epoch"]
        last = max(steps, key=int, default="")
        writer.writerow([record["number"], record["state"], record["ap"], *(record["settings"].get(n) for n in names), last, steps.get(last), record["reason"]])
    return out.getvalue()


def _versions() -> dict[str, str]:
    import torch

    import workbench

    return {"nas": workbench.__version__, "torch": str(torch.__version__), "optuna": str(load_optuna().__version__)}
