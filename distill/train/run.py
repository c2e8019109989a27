"""A training run in a folder: batches, steps and hooks. An interrupted run resumes to the same bits.

``resume.pt`` holds the loop's state; ``best.safetensors`` and ``last.safetensors`` hold the averaged weights. Processes
that share every batch (``distill.train.parallel``) all call ``train``; the first one writes the files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.data.feed.batch_order import BatchPlan
from distill.data.feed.loader import Batch, Loader, ReadOptions
from distill.train.hooks.base import Hook
from distill.train.hooks.bn_calibration import CalibrateFrozenBN
from distill.train.hooks.checkpoints import SaveState, SaveWeights
from distill.train.hooks.evaluation import Evaluate
from distill.train.hooks.journal import Journal
from distill.train.hooks.progress_line import ProgressLine
from distill.train.hooks.results_csv import ResultsCsv
from distill.train.hooks.stop import Interrupt, interruptible
from distill.train.loop import Loop
from distill.train.parallel.group import agreed, group
from distill.train.recipe import TrainRecipe
from distill.train.run_context import Request, Run, RunSettings, TrainData
from distill.train.run_state import RunProgress, check_disk, resume
from distill.train.task import Task
from workbench.errors import BadInput
from workbench.run_folder import RunFiles, RunFolder, RunFolderReader
from workbench.tables import Result, Table
from zoo.images import Preprocess
from zoo.weights.licence import notice

PRODUCTS = RunFiles(
    "training",
    (
        "resume.pt", "best.safetensors", "last.safetensors", "result.json", "data-contents.json", "results.csv",
        "val-detections.json", "report.html",
    ),
    ("events", "teacher-cache", "ray", "report"),
)  # fmt: skip


@dataclass(frozen=True)
class TrainResult(Result):
    """What a run left in its folder."""

    folder: Path
    best: Path
    last: Path
    best_epoch: int
    metrics: dict[str, Any]
    """AP and AR of the best epoch."""
    history: list[dict[str, Any]]
    """One record an epoch."""
    notes: list[str]
    seconds: float

    @property
    def ap(self) -> float:
        """AP of the best epoch on the validation data, 0 to 1."""
        return float(self.metrics["ap"] or 0.0)

    def to_table(self) -> Table:
        """AP and AR of the best epoch."""
        rows = [[name.upper().replace("_", " "), value] for name, value in self.metrics.items()]
        return Table([f"val, epoch {self.best_epoch}", "value"], rows)

    def to_dict(self) -> dict[str, Any]:
        """What ``nas train --json`` prints."""
        return {
            "folder": str(self.folder), "best": str(self.best), "last": str(self.last), "best_epoch": self.best_epoch,
            "val": self.metrics, "history": self.history, "notes": self.notes, "seconds": self.seconds,
        }  # fmt: skip

    def __str__(self) -> str:
        report = "report.html, " if (self.folder / "report.html").is_file() else ""
        files = f"{report}results.csv, best.safetensors, last.safetensors, resume.pt, TensorBoard events (nas board)"
        notes = [f"note: {note}" for note in self.notes]
        return "\n".join([str(self.to_table()), *notes, f"\nwritten to {self.folder}: {files}"])


def train(
    task: Task, data: TrainData, recipe: TrainRecipe, folder: RunFolder | RunFolderReader, settings: RunSettings, *,
    hooks: Sequence[Hook] = (), log: Callable[[str], None] = lambda text: None,
) -> TrainResult:  # fmt: skip
    """Train ``task`` by ``recipe`` in ``folder``, or resume what is there.

    Args:
        hooks: Called after the run's own hooks, in their order.
        log: Takes lines of progress.
    """
    together = group()
    with make_loader(data, task.detector.preprocess, recipe, settings) as loader, interruptible() as interrupted:
        steps_per_epoch = max(1, len(loader) // recipe.accumulate)
        loop = Loop(
            task, recipe, recipe.epochs * steps_per_epoch, steps_per_epoch, seed=settings.seed, device=settings.device,
            precision=settings.precision,
        )  # fmt: skip
        if together.writes:
            check_disk(folder.folder, loop)
        progress = resume(folder.folder, loop)
        if progress is not None:
            log(f"resuming after step {loop.step} of {loop.steps}")
        run = Run(loop, loader, data, folder, settings, progress or RunProgress(), log)
        own_hooks = [
            CalibrateFrozenBN(), ProgressLine(), Interrupt(interrupted), Evaluate(), SaveWeights(), SaveState(),
            Journal(), ResultsCsv(),
        ]  # fmt: skip
        run_epochs(run, [*own_hooks, *hooks])
        return result_of(run)


def make_loader(data: TrainData, preprocess: Preprocess, recipe: TrainRecipe, settings: RunSettings) -> Loader:
    """The loader of this process's share of every training batch."""
    together = group()
    preset = recipe.preset()
    plan = BatchPlan(recipe.batch, settings.seed, recipe.views, together.rank, together.world)
    return Loader(data.train, preprocess, preset, settings.input_px, plan, ReadOptions(settings.data_workers))


def run_epochs(run: Run, hooks: Sequence[Hook]) -> None:
    """Train epoch by epoch until all steps are done or a hook has enough."""
    if not run.is_complete:
        for hook in hooks:
            hook.before_training(run)
    while not run.is_complete and not any([hook.is_enough(run) for hook in hooks]):
        run_epoch(run, hooks)


def run_epoch(run: Run, hooks: Sequence[Hook]) -> None:
    """Feed the rest of the epoch the loop is in. An overflow ends it: the loop may be in an earlier epoch now."""
    run.begin_epoch()
    for batches in step_batches(run, hooks):
        for hook in hooks:
            hook.before_step(run)
        report = run.loop.advance(batches)
        if report.rolled_back:
            for hook in hooks:
                hook.after_rollback(run, report.rolled_back)
            return
        run.epoch.add(report)
        for hook in hooks:
            hook.after_step(run, report)
        if run.loop.step % run.loop.steps_per_epoch == 0:
            break
        request = run.take_request()
        if request:
            save_state(run, hooks)
        if request == Request.STOP:
            raise KeyboardInterrupt
    run.finish_epoch()
    request = run.take_request()
    for hook in hooks:
        hook.after_epoch(run)
    if request == Request.STOP:
        raise KeyboardInterrupt


def step_batches(run: Run, hooks: Sequence[Hook]) -> Iterator[list[Batch]]:
    """The accumulated batches of each step left in the epoch. When the data fail, the state is saved first."""
    epoch, done = divmod(run.loop.step, run.loop.steps_per_epoch)
    batches: list[Batch] = []
    try:
        start = done * run.recipe.accumulate
        for batch in agreed(run.loader.epoch(epoch, start, run.loop.phase.closing)):
            batches.append(batch)
            if len(batches) == run.recipe.accumulate:
                yield batches
                batches = []
    except BadInput:
        save_state(run, hooks)
        raise


def save_state(run: Run, hooks: Sequence[Hook]) -> None:
    """Let the hooks write what resuming from here needs."""
    for hook in hooks:
        hook.save_state(run)


def result_of(run: Run) -> TrainResult:
    """What the run's folder holds now."""
    root, progress = run.folder.folder, run.progress
    best = next((record for record in progress.history if record["epoch"] == progress.best_epoch), {})
    metrics = {name: value for name, value in best.items() if name.startswith(("ap", "ar"))}
    licence = notice(run.settings.provenance, run.loop.task.detector.info.lineage)
    return TrainResult(
        root, root / "best.safetensors", root / "last.safetensors", progress.best_epoch, metrics, progress.history,
        [*progress.notes, *([licence] if licence else [])], progress.seconds,
    )  # fmt: skip
