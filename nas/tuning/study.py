"""A study: Optuna's sampler proposes settings, every trial is a training, rung by rung.

The storage on disk is the only state. The sampler proposes a trial, its training runs to the next rung, its values are
reported, and the pruner decides; whatever was interrupted in between resumes by its number and folder. One process and
Ray, where one rung of one trial is a job, do the same.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.prepare import prepare
from distill.request import TrainRequest
from nas.strategies.optuna_journal import load_optuna, open_study, without_notices
from nas.tuning.ranges import SHARE, Range, read_ranges, to_changes
from nas.tuning.result import TuningResult, write_result
from workbench.errors import BadInput
from workbench.run_folder import RunFiles, RunFolder
from workbench.signals import watch_signals
from workbench.workers import JobResult, Workers
from workbench.workers.in_process import InProcess

if TYPE_CHECKING:
    import optuna

    from distill.train.recipe import TrainRecipe

PRODUCTS = RunFiles("tuning", ("best.yaml", "trials.csv", "result.json", "optuna.log*"), ("trials",))
NAME = "nas-tune"
"""Name of the study in its storage."""
STARTUP = 8
"""Random trials before the sampler models the results."""
MAX_TRIALS = 100_000


@dataclass(frozen=True)
class TuningRequest:
    """What ``nas tune`` was asked for; ``training`` is what all trials have in common."""

    training: TrainRequest
    trials: int = 20
    """Number of trials, those of earlier calls included."""
    vary: tuple[str, ...] = ()
    ranges_file: str | None = None
    prune: bool = True
    """Whether trials that fall behind end early."""


def tune(
    request: TuningRequest,
    open_workers: Callable[[], Workers] = InProcess,
    log: Callable[[str], None] = lambda text: None,
) -> TuningResult:
    """Begin or resume the study in the request's folder until it has ``request.trials`` trials."""
    from distill.train.hooks.evaluation import evaluation_epochs

    if not 1 <= request.trials <= MAX_TRIALS:
        raise BadInput(f"--trials {request.trials} must be from 1 to {MAX_TRIALS}")
    load_optuna()
    from nas.tuning.pruner import AshaPruner, rung_epochs

    run = prepare(request.training)  # errors surface before the first trial
    training, recipe = run.request, run.recipe  # with the defaults resolved, so that all machines use the same
    ranges = read_ranges(request.vary, request.ranges_file, recipe, training.teaching is not None)
    rungs = rung_epochs(recipe.epochs, evaluation_epochs(recipe.epochs)) if request.prune else ()
    name = training.name or f"tune-{run.name.partition('-')[2]}"
    settings = {**run.settings, "vary": [varied.text() for varied in ranges], "rungs": list(rungs)}
    folder = RunFolder.open(Path(training.runs) / name, settings, _versions(), PRODUCTS, training.fresh)
    try:
        root = folder.folder.resolve()
        study = open_study(root, NAME, ["maximize"], ["AP"], AshaPruner(rungs))
        resolved = dataclasses.replace(request, training=training)
        with open_workers() as workers, watch_signals() as interrupted:
            TuningStudy(study, resolved, ranges, recipe, rungs, root / "trials", workers, log).run(interrupted)
        return write_result(folder.folder, study, ranges, training, recipe)
    finally:
        folder.close()


def train_until(request: TrainRequest, epoch: int, working_folder: str) -> dict[str, Any]:
    """Train a trial up to ``epoch``, resuming from its folder: AP by epoch, or the ``failure``."""
    if os.getcwd() != working_folder:
        os.chdir(working_folder)
    try:
        outcome = prepare(request).run(lambda history: bool(history) and history[-1]["epoch"] >= epoch)
    except (BadInput, RuntimeError, MemoryError, ArithmeticError) as error:
        return {"failure": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    aps = {str(record["epoch"]): float(record["ap"]) for record in outcome.history if record.get("ap") is not None}
    return {"ap": aps}


class TuningStudy:
    """Keeps as many trials in training as there are workers."""

    def __init__(
        self,
        study: optuna.Study,
        request: TuningRequest,
        ranges: Sequence[Range],
        recipe: TrainRecipe,
        rungs: Sequence[int],
        folder: Path,
        workers: Workers,
        log: Callable[[str], None],
    ) -> None:
        self.study, self.request, self.ranges, self.recipe = study, request, tuple(ranges), recipe
        self.stops = (*rungs, recipe.epochs)
        """Epochs to which trials are trained in turn."""
        self.folder, self.workers, self.log = folder, workers, log
        self._training: dict[int, optuna.Trial] = {}

    def run(self, interrupted: Callable[[], bool] = lambda: False) -> None:
        """First the trials that an earlier call left unfinished, then new ones."""
        from optuna.trial import Trial, TrialState

        unfinished = [
            Trial(self.study, trial._trial_id)
            for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        ]
        while True:
            if interrupted():
                raise KeyboardInterrupt
            while self.workers.in_flight < self.workers.count:
                if unfinished:
                    self._advance(unfinished.pop(0))
                elif len(self.study.get_trials(deepcopy=False)) < self.request.trials:
                    self._advance(self._ask())
                else:
                    break
            if not self.workers.in_flight:
                return
            self._report(self.workers.wait())

    def trial_request(self, number: int, values: dict[str, Any]) -> TrainRequest:
        """The training of one trial with these settings."""
        training = self.request.training
        teaching = training.teaching
        if teaching is not None and SHARE in values:
            teaching = dataclasses.replace(teaching, share=values[SHARE])
        return dataclasses.replace(
            training,
            changes=(*training.changes, *to_changes(values)),
            batch=None if "batch" in values else training.batch,
            teaching=teaching,
            name=f"{number:04d}",
            runs=str(self.folder),
            fresh=False,
            quiet=True,
        )

    def _ask(self) -> optuna.Trial:
        """A new trial. The sampler is seeded with (seed, number) each time, so that the storage alone determines it."""
        number = len(self.study.get_trials(deepcopy=False))
        seed = int(np.random.SeedSequence([self.request.training.seed, number]).generate_state(1)[0])
        with without_notices():
            self.study.sampler = load_optuna().samplers.TPESampler(
                n_startup_trials=STARTUP, constant_liar=self.workers.count > 1, seed=seed
            )
            return self.study.ask()

    def _advance(self, trial: optuna.Trial) -> None:
        """Finish the trial, or start its training to the next rung."""
        with without_notices():
            values = {varied.name: varied.suggest(trial) for varied in self.ranges}
        reported = self._reported(trial)
        last = max(reported, default=0)
        if last >= self.recipe.epochs:
            self._tell(trial, value=max(reported.values()))
        elif last in self.stops and trial.should_prune():
            self._tell(trial, pruned=True)
        else:
            until = next(stop for stop in self.stops if stop > last)
            self._training[trial.number] = trial
            self.log(self._progress_text(trial.number, until, values))
            request = self.trial_request(trial.number, values)
            self.workers.start(trial.number, train_until, request, until, os.getcwd())

    def _report(self, done: JobResult) -> None:
        """Report the APs of a job, and advance its trial."""
        trial = self._training.pop(int(str(done.key)))
        failure = done.failure or done.value.get("failure", "")
        if failure:
            self._tell(trial, failure=failure)
            return
        reported = self._reported(trial)
        for epoch, ap in done.value["ap"].items():
            if int(epoch) not in reported:
                trial.report(ap, int(epoch))
        self._advance(trial)

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
        # The state to resume from is no longer needed; the weights stay.
        (self.folder / f"{trial.number:04d}" / "resume.pt").unlink(missing_ok=True)

    def _reported(self, trial: optuna.Trial) -> dict[int, float]:
        return dict(self.study.get_trials(deepcopy=False)[trial.number].intermediate_values)

    def _progress_text(self, number: int, until: int, values: dict[str, Any]) -> str:
        settings = ", ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
        )
        epochs = f"up to epoch {until} of {self.recipe.epochs}"
        return f"trial {number + 1} of {self.request.trials}, {epochs}: {settings}{self._best_text()}"

    def _best_text(self) -> str:
        trials = self.study.get_trials(deepcopy=False)
        values = [trial.value for trial in trials if trial.state.name == "COMPLETE" and trial.value is not None]
        return f"; best AP {max(values):.3f}" if values else ""


def _versions() -> dict[str, str]:
    import torch

    import workbench

    return {"nas": workbench.__version__, "torch": str(torch.__version__), "optuna": str(load_optuna().__version__)}
