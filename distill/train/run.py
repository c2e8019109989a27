"""A training run: data, loop, evaluation, checkpoints and curves in one folder that can be gone on with.

``resume.pt`` holds the loop's whole state; ``best.safetensors`` and ``last.safetensors`` hold the averaged weights,
ready to use. Killed at any moment, the same command goes on from the last state and ends with the same bits. Of processes that
share every batch (``distill.train.parallel``) the first one writes, and all of them take up what it reads.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from distill.data.dataset import DataSet
from distill.data.feed.loader import Batch, Loader
from distill.train.bn_calibration import calibrate_bn
from distill.train.evaluate import EvaluationResult, detect, evaluate_detections
from distill.train.loop import Loop, Report
from distill.train.parallel.group import agreed, group
from distill.train.recipe import TrainRecipe
from distill.train.task import Task
from workbench.errors import BadInput
from workbench.files import replacing
from workbench.run_folder import RunFiles, RunFolder, RunFolderReader
from workbench.tables import Result, Table
from zoo.weights.checkpoint import save

if TYPE_CHECKING:
    from workbench.events import EventWriter
    from zoo.detector import Detector

PRODUCTS = RunFiles("training", ("resume.pt", "best.safetensors", "last.safetensors", "result.json"), ("events", "teacher-cache", "ray"))
STATE_FORMAT = "nas-training-1"
SAVE_S = 120.0
"""The state is written after every epoch, and within an epoch when so many seconds have passed since the last time."""
STOP, SAVE = 2, 1
"""What a process may wish after a step; what any of them wishes most is done by all."""
EVALUATIONS = 20
"""The average is evaluated about so often over a run, evenly, and after each of the last epochs that count."""
DISK_MARGIN = 1.2


@dataclass(frozen=True)
class TrainResult(Result):
    """What a run left. ``history`` has one record an epoch."""

    folder: Path
    best: Path
    last: Path
    best_epoch: int
    verdict: dict[str, Any]
    """Of the best epoch."""
    history: list[dict[str, Any]]
    notes: list[str]
    seconds: float

    @property
    def ap(self) -> float:
        """AP of the best epoch on the validation data, 0 to 1."""
        return float(self.verdict["ap"] or 0.0)

    def to_table(self) -> Table:
        """AP and AR of the best epoch."""
        rows = [[name.upper().replace("_", " "), value] for name, value in self.verdict.items()]
        return Table([f"val, epoch {self.best_epoch}", "value"], rows)

    def to_dict(self) -> dict[str, Any]:
        """What ``nas train --json`` prints."""
        return {
            "folder": str(self.folder), "best": str(self.best), "last": str(self.last), "best_epoch": self.best_epoch,
            "val": self.verdict, "history": self.history, "notes": self.notes, "seconds": self.seconds,
        }  # fmt: skip

    def __str__(self) -> str:
        """The table, notes and files."""
        files = "best.safetensors, last.safetensors, resume.pt, TensorBoard events (nas board)"
        notes = [f"note: {note}" for note in self.notes]
        return "\n".join([str(self.to_table()), *notes, f"\nwritten to {self.folder}: {files}"])


@dataclass
class RunProgress:
    """What is kept beside the loop's state."""

    history: list[dict[str, Any]]
    best_ap: float
    best_epoch: int
    notes: list[str]
    seconds: float


def evaluation_epochs(epochs: int) -> set[int]:
    """Numbers of the epochs (from 1) after which the average is evaluated."""
    every = max(1, round(epochs / EVALUATIONS))
    return {epoch for epoch in range(1, epochs + 1) if epoch % every == 0 or epoch == epochs}


def train(
    task: Task, data: DataSet, val: DataSet, recipe: TrainRecipe, folder: RunFolder | RunFolderReader, *,
    input_px: int, seed: int = 0, device: str = "cpu", precision: str = "fp32", workers: int | None = None,
    provenance: dict[str, Any] | None = None, board: EventWriter | None = None, log: Callable[[str], None] = lambda text: None,
    ready: Callable[[Loop], None] = lambda loop: None, enough: Callable[[list[dict[str, Any]]], bool] = lambda history: False,
    asked_to_stop: Callable[[], bool] = lambda: False,
) -> TrainResult:  # fmt: skip
    """Train ``task`` by ``recipe`` in ``folder``, or go on with what is there. The detector's class map is the data's.

    ``ready`` is called before the first step, if there is one to do: to say what lies ahead.
    ``enough`` is asked before every epoch with the records of those before; its yes ends the call there. The run stands as if
    interrupted between two epochs, and another call goes on to the same bits as without the stop. ``asked_to_stop`` ends it as Ctrl-C does.

    Processes that share every batch all call this; ``recipe.batch`` images are those of all of them.
    """
    together = group()
    with Loader(
        data, task.detector.preprocess, recipe.augmentation, input_px, recipe.batch, seed, workers=workers, multi_scale=recipe.multi_scale, views=recipe.views,
        rank=together.rank, world=together.world,
    ) as loader, interruptible() as interrupted:  # fmt: skip
        steps_per_epoch = max(1, len(loader) // recipe.accumulate)
        loop = Loop(task, recipe, recipe.epochs * steps_per_epoch, steps_per_epoch, seed=seed, device=device, precision=precision)
        if together.writes:
            check_disk(folder.folder, loop)
        progress = RunProgress([], -1.0, 0, [], 0.0)
        state_file = folder.folder / "resume.pt"
        if together.first(state_file.exists()):
            progress = _resume(state_file, loop)
            log(f"going on after step {loop.step} of {loop.steps}")
        if loop.step < loop.steps:
            ready(loop)
        run = _Run(loop, loader, data, val, recipe, folder, progress, input_px, workers, provenance or {}, board, log)
        run.until_done(lambda: interrupted() or asked_to_stop(), enough)
        return run.outcome()


class _Run:
    """One run while it goes on."""

    def __init__(
        self, loop: Loop, loader: Loader, data: DataSet, val: DataSet, recipe: TrainRecipe, folder: RunFolder | RunFolderReader, progress: RunProgress,
        input_px: int, data_workers: int | None, provenance: dict[str, Any], board: EventWriter | None, log: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.loop, self.loader, self.data, self.val, self.recipe, self.folder, self.progress = loop, loader, data, val, recipe, folder, progress
        self.input_px, self.data_workers, self.provenance, self.board, self.log = input_px, data_workers, provenance, board, log
        self.began = self.saved_at = time.monotonic()
        self.before_s = progress.seconds
        self.evaluated_at = evaluation_epochs(recipe.epochs)
        self.together = group()

    def until_done(self, stop: Callable[[], bool], enough: Callable[[list[dict[str, Any]]], bool]) -> None:
        """Epoch after epoch; an overflow sends the loop back, and its epoch is fed again from there."""
        while self.loop.step < self.loop.steps and not enough(self.progress.history):
            epoch, done = divmod(self.loop.step, self.loop.steps_per_epoch)
            if not self._epoch(epoch, done, stop):
                continue
            self._finish_epoch(epoch + 1)

    def _epoch(self, epoch: int, done: int, stop: Callable[[], bool]) -> bool:
        """Feed the rest of an epoch; False when the loop went back."""
        sums: dict[str, float] = {}
        count, began, rate = 0, time.monotonic(), 0.0
        group: list[Any] = []
        closing = self.loop.phase.closing
        for batch in self._batches(epoch, done, closing):
            group.append(batch)
            if len(group) < self.recipe.accumulate:
                continue
            if self.loop.step == self.loop.bn_frozen_from:
                self._fix_norms()
            report = self.loop.advance(group)
            group = []
            if report.rolled_back:
                self._note(report.rolled_back)
                return False
            count += 1
            rate = report.rate
            for name, value in report.losses.items():
                sums[name] = sums.get(name, 0.0) + value
            self._tell(epoch, report, count, began)
            if self.loop.step % self.loop.steps_per_epoch == 0:
                break
            wish = self.together.most(STOP if stop() else SAVE if time.monotonic() - self.saved_at > SAVE_S else 0)
            if wish:
                self.save_state()
            if wish == STOP:
                raise KeyboardInterrupt
        passed = time.monotonic() - began
        self.progress.history.append({
            "epoch": epoch + 1, "step": self.loop.step, "rate": rate, "losses": {name: value / max(count, 1) for name, value in sums.items()},
            "steps_fed": count, "images_per_s": count * self.recipe.batch * self.recipe.accumulate / max(passed, 1e-9), "waited_share": self.loader.waited_share,
        })  # fmt: skip
        if self.together.most(STOP if stop() else 0):
            self._finish_epoch(epoch + 1)
            raise KeyboardInterrupt
        return True

    def _batches(self, epoch: int, done: int, closing: bool) -> Iterator[Batch]:
        """The rest of an epoch; when the data fail, what has been learnt is written before the error goes on."""
        try:
            yield from agreed(self.loader.epoch(epoch, done * self.recipe.accumulate, closing))
        except BadInput:
            self.save_state()
            raise

    def _finish_epoch(self, epoch: int) -> None:
        """Evaluate where it is time to, keep the best, write the state, the journal and the curves."""
        record = self.progress.history[-1]
        verdict: EvaluationResult | None = None
        found: list[dict[str, Any]] = []
        if epoch in self.evaluated_at:
            detector = self._ready_for_use()
            verdict, found = self._evaluate(detector)
            record |= {name: value for name, value in verdict.summary.items() if value is not None}
            if verdict.ap > self.progress.best_ap:
                self.progress.best_ap, self.progress.best_epoch = verdict.ap, epoch
                self._save_weights("best.safetensors", detector, epoch, verdict)
            if epoch == self.recipe.epochs:
                self._save_weights("last.safetensors", detector, epoch, verdict)
        self.save_state()
        self.folder.append("epoch", record)
        if self.board is not None:
            write_curves(self.board, record, verdict, self.val, found)

    def _ready_for_use(self) -> Detector:
        """The average as it is evaluated and kept; training goes on with the one that moves."""
        average = self.loop.average.detector
        # after the last step, too
        return average if self.loop.step > self.loop.bn_frozen_from else self._measured(average)

    def _fix_norms(self) -> None:
        """From here on norms keep statistics, and they had better be good ones. Doing it twice at a step changes nothing."""
        detector = self.loop.task.detector
        detector.load_state_dict(self._measured(detector).state_dict())

    def _measured(self, detector: Detector) -> Detector:
        """``detector`` with norms measured over training pictures by the first process, where the recipe asks for it."""
        if not self.recipe.bn_calibration_images:
            return detector
        state: dict[str, torch.Tensor] = {}
        if self.together.writes:
            self.log(f"measuring batch norms over training pictures, {self.recipe.bn_calibration_images} at a time")
            measured = calibrate_bn(
                detector, self.data, self.input_px, self.recipe.bn_calibration_images, device=str(self.loop.device), workers=self._val_readers,
                frozen_backbone=self.recipe.freeze_backbone_bn,
            )  # fmt: skip
            state = {name: value.cpu() for name, value in measured.state_dict().items()}
        twin = copy.deepcopy(detector)
        twin.load_state_dict(self.together.first(state))
        return twin

    @property
    def _val_readers(self) -> int | None:
        return self.loader.workers if self.data_workers is None and self.together.world > 1 else self.data_workers

    def _evaluate(self, detector: Detector) -> tuple[EvaluationResult, list[dict[str, Any]]]:
        together = self.together
        mine = detect(
            detector, self.val, input_px=self.input_px, batch=self.recipe.batch, device=str(self.loop.device), shard=(together.rank, together.world),
            workers=self._val_readers, log=self.log,
        )  # fmt: skip
        found = [one for part in together.everyone(mine) for one in part]
        if together.world > 1:
            places = {picture.id: place for place, picture in enumerate(self.val.pictures)}
            found.sort(key=lambda one: places[one["image_id"]])
        # one judge is enough: it takes memory
        verdict = together.first(evaluate_detections(self.val, found) if together.writes else None)
        assert verdict is not None
        return verdict, found

    def _save_weights(self, name: str, detector: Detector, epoch: int, verdict: EvaluationResult) -> None:
        if not self.together.writes:
            return
        told = {**self.provenance, "epoch": epoch, "recipe": self.recipe.to_dict(), "seed": self.loop.seed}
        told["val"] = {name: value for name, value in verdict.summary.items() if value is not None}
        detector.info = dataclasses.replace(detector.info, input_px=self.input_px, provenance=told)
        save(detector, self.folder.folder / name)

    def save_state(self) -> None:
        """Write ``resume.pt``; the one before stays until the new one is whole."""
        self.loop.task.settle()
        self.together.wait()
        self.progress.seconds = self.before_s + time.monotonic() - self.began
        if self.together.writes:
            self._write_state()
        self.saved_at = time.monotonic()

    def _write_state(self) -> None:
        with replacing(self.folder.folder / "resume.pt") as temporary:
            try:
                torch.save({"format": STATE_FORMAT, "loop": self.loop.state(), "progress": dataclasses.asdict(self.progress)}, temporary)
            except RuntimeError as error:  # torch's word for a disk that is full
                raise OSError(f"{' '.join(str(error).split())[:120]} (is the disk full?)") from error

    def _note(self, text: str) -> None:
        self.progress.notes.append(text)
        self.folder.append("note", {"text": text})
        self.log(text)

    def _tell(self, epoch: int, report: Report, count: int, began: float) -> None:
        per_step = (time.monotonic() - began) / count
        left = (self.loop.steps - self.loop.step) * per_step
        loss = sum(report.losses.values())
        best = f", AP {self.progress.best_ap:.3f} after epoch {self.progress.best_epoch}" if self.progress.best_epoch else ""
        images = self.recipe.batch * self.recipe.accumulate / per_step
        self.log(
            f"epoch {epoch + 1} of {self.recipe.epochs}, step {self.loop.step} of {self.loop.steps}: loss {loss:.3f}{best}, "
            f"{images:.1f} images/s, waiting {100 * self.loader.waited_share:.0f} %, {duration(left)} left"
        )

    def outcome(self) -> TrainResult:
        """What the folder holds in the end."""
        root = self.folder.folder
        best = next((r for r in self.progress.history if r["epoch"] == self.progress.best_epoch), {})
        return TrainResult(
            root, root / "best.safetensors", root / "last.safetensors", self.progress.best_epoch,
            {key: value for key, value in best.items() if key.startswith(("ap", "ar"))}, self.progress.history, self.progress.notes, self.progress.seconds,
        )  # fmt: skip


def _resume(file: Path, loop: Loop) -> RunProgress:
    """Bring ``loop`` to the state in ``file``; a damaged or foreign file is refused."""
    together = group()
    data = together.first(_read_state(file, loop.device if together.world == 1 else torch.device("cpu")) if together.writes else {})
    try:
        loop.restore(data["loop"])
        return RunProgress(**data["progress"])
    except Exception as error:  # torch raises a different type for every kind of damage
        raise _cannot_go_on(file, error) from error


def _read_state(file: Path, device: torch.device) -> dict[str, Any]:
    try:
        data = torch.load(file, map_location=device, weights_only=True)
        if not isinstance(data, dict) or data.get("format") != STATE_FORMAT:
            raise ValueError(f"its format is not {STATE_FORMAT!r}")
        return data
    except Exception as error:  # of many types, too
        raise _cannot_go_on(file, error) from error


def _cannot_go_on(file: Path, error: Exception) -> BadInput:
    return BadInput(f"cannot go on from {str(file)!r}: {' '.join(str(error).split())[:200]}; start over with --fresh")


def disk_need(loop: Loop) -> int:
    """Bytes that a run will take: the state twice while it is replaced, and two checkpoints, one of them twice."""
    weights = sum(value.numel() * value.element_size() for value in loop.average.detector.state_dict().values())
    trained = sum(p.numel() * p.element_size() for p in loop.task.parameters())
    moments = 2 if loop.recipe.optimizer == "adamw" else 1
    return 2 * (2 * weights + moments * trained) + 3 * weights


def check_disk(folder: Path, loop: Loop) -> None:
    """Refuse to start what will not fit on the disk."""
    need, free = math.ceil(disk_need(loop) * DISK_MARGIN), shutil.disk_usage(folder).free
    if need > free:
        raise BadInput(f"this run needs {need / 1e6:,.0f} MB in {str(folder)!r} and the disk has {free / 1e6:,.0f} MB left: free some, or choose another --runs")


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM ask for a stop between two steps; a second Ctrl-C stops at once."""
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        before = {}  # not the main thread: whoever runs it there has handlers of their own
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def write_curves(board: EventWriter, record: dict[str, Any], verdict: EvaluationResult | None, val: DataSet, found: list[dict[str, Any]]) -> None:
    """One epoch's curves for TensorBoard."""
    step = record["step"]
    for name, value in record["losses"].items():
        board.scalar(f"loss/{name}", value, step)
    board.scalar("loss/total", sum(record["losses"].values()), step)
    board.scalar("schedule/learning_rate", record["rate"], step)
    board.scalar("speed/images_per_s", record["images_per_s"], step)
    board.scalar("speed/waited_share", record["waited_share"], step)
    if verdict is not None:
        from distill.train.plots import detections_png, precision_recall_png

        for name in ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"):
            value = verdict.summary[name]
            if value is not None:
                board.scalar(f"val/{name}", value, step)
        board.image("val/precision_recall", precision_recall_png(verdict, val.classes.names), step)
        board.image("val/found_below_true", detections_png(val, found), step)
    board.flush()


def duration(seconds: float) -> str:
    """Seconds as people say them: ``45 s``, ``12 min``, ``3.4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
