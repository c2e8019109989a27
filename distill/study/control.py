"""``nas distill --control``: the student with and without its teacher, several seeds each, at equal epochs, and what came of it.

Two runs of one seed begin with the same weights and see the same augmented pictures in the same order; the teacher is all they
differ in. The first ``LEAD`` runs are without the teacher, for their spread is what harm is told from.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.study.gain import ALARM, CONFIDENCE, IN_A_ROW, LEAST_HARM, Gain, harm, paired
from distill.study.request import TrainRequest, prepare, run_name
from distill.study.subruns import History, SubRunResult, SubRuns, curve_of, runs_folder
from workbench.console import Progress
from workbench.errors import BadInput
from workbench.files import write_atomic
from workbench.tables import Result, Table

if TYPE_CHECKING:
    from distill.study.request import PreparedRun
    from workbench.events import EventWriter

FORMAT = "nas-control-1"
LEAD = 3
DEFAULT_SEEDS, MOST_SEEDS = 3, 100
PLAIN, TAUGHT = "plain", "taught"
WORDS = {PLAIN: "without a teacher", TAUGHT: "with the teacher"}


@dataclass(frozen=True)
class ControlResult(Result):
    """The answer. Trials are by seed; ``stopped`` tells that harm was found and the rest not run."""

    folder: Path
    plain: dict[int, SubRunResult]
    taught: dict[int, SubRunResult]
    alarm: tuple[int, int] | None
    """Seed and epoch at which harm was first called."""
    stopped: bool

    @property
    def gain(self) -> Gain:
        """At ``epoch``, a difference a seed."""
        return paired(*({seed: one.curve[self.epoch] for seed, one in arm.items()} for arm in (self.plain, self.taught)))

    @property
    def epoch(self) -> int:
        """The epoch after which all runs are compared: the last one, or the one where the taught run was stopped."""
        return min(max(one.curve) for one in self.taught.values())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, as in ``control.json``."""
        gain = self.gain
        return {
            "format": FORMAT, "folder": str(self.folder), "gain": gain.mean, "interval": gain.interval, "confidence": CONFIDENCE, "verdict": self.verdict,
            "epoch": self.epoch, "seeds": [row[0] for row in self.rows()], "differences": list(gain.differences),
            "ap": {PLAIN: statistics.fmean(row[1] for row in self.rows()), TAUGHT: statistics.fmean(row[2] for row in self.rows())},
            "seconds": {arm: statistics.fmean(one.seconds for one in trials.values()) for arm, trials in self._arms()},
            "alarm": None if self.alarm is None else {"seed": self.alarm[0], "epoch": self.alarm[1]}, "stopped": self.stopped,
            "runs": {arm: {str(seed): one.to_dict() for seed, one in trials.items()} for arm, trials in self._arms()},
        }  # fmt: skip

    @property
    def verdict(self) -> str:
        """``helps``, ``harms`` or ``open``."""
        return "harms" if self.stopped else self.gain.verdict

    def _arms(self) -> list[tuple[str, dict[int, SubRunResult]]]:
        return [(PLAIN, self.plain), (TAUGHT, self.taught)]

    def to_csv(self) -> str:
        """One row a seed."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("seed", "plain_ap", "taught_ap", "gain", "plain_s", "taught_s", "epoch"))
        for seed, ours, theirs in self.rows():
            writer.writerow((seed, ours, theirs, theirs - ours, self.plain[seed].seconds, self.taught[seed].seconds, self.epoch))
        return out.getvalue()

    def rows(self) -> list[tuple[int, float, float]]:
        """Seed, AP without and AP with the teacher, at ``epoch``."""
        return [(seed, self.plain[seed].curve[self.epoch], self.taught[seed].curve[self.epoch]) for seed in sorted(set(self.plain) & set(self.taught))]

    def to_table(self) -> Table:
        """AP with and without the teacher, one row a seed, then the mean."""
        rows = [[str(seed), ours, theirs, _signed(theirs - ours)] for seed, ours, theirs in self.rows()]
        means = [statistics.fmean(row[at] for row in self.rows()) for at in (1, 2)]
        rows.append(["mean", *means, _signed(self.gain.mean)])
        return Table.of(["seed", "AP without", "AP with", "gain"], rows)

    def text(self) -> str:
        """What the terminal shows."""
        told = self.to_dict()
        lines = [str(self.to_table()), "", self.says()]
        without, with_it = told["seconds"][PLAIN], told["seconds"][TAUGHT]
        change = "" if self.stopped else f" ({100 * (with_it / max(without, 1e-9) - 1):+.0f} %)"
        lines.append(f"time a run: {without:.0f} s without the teacher, {with_it:.0f} s with it{change}; compared after epoch {self.epoch}")
        lines.append(f"written to {self.folder}: control.json, control.csv, control/ (every run with its best.safetensors), TensorBoard events (nas board)")
        return "\n".join(lines)

    def says(self) -> str:
        """The verdict in words."""
        gain, n = self.gain, len(self.gain.differences)
        if self.stopped:
            assert self.alarm is not None
            return (
                f"THE TEACHER HARMS: stopped after epoch {self.alarm[1]} of seed {self.alarm[0]}, where the taught runs are behind by more than chance "
                f"would do ({_signed(gain.mean)} AP there); the rest was not run"
            )
        if gain.interval is None:
            return f"gain {_signed(gain.mean)} AP from one seed. One seed has no interval: whether that is the teacher or chance, --seeds 3 would tell"
        if max(max(row[1:]) for row in self.rows()) == 0:
            return "NOTHING SHOWN: AP is 0 with and without the teacher, so nothing was learnt that could be compared; train longer"
        low, high = gain.interval
        told = f"gain {_signed(gain.mean)} AP, {100 * CONFIDENCE:.0f} % interval {_signed(low)} to {_signed(high)} ({n} seeds, paired)"
        if gain.verdict == "open":
            return f"{told}: NOTHING SHOWN. The interval holds 0; more seeds make it narrower"
        return f"{told}: the teacher helps" if gain.verdict == "helps" else f"{told}: THE TEACHER HARMS"


def control(request: TrainRequest, seeds: int, stop_when_harmful: bool = False) -> ControlResult:
    """Train both arms for seeds ``request.seed`` and on, and write what came of it. More seeds may be asked for later."""
    if request.teaching is None:
        raise BadInput("--control compares with a teacher and without: name a teacher")
    if not 1 <= seeds <= MOST_SEEDS:
        raise BadInput(f"--seeds {seeds} must be from 1 to {MOST_SEEDS}")
    first = prepare(request)
    folder, epochs = _open(request, first, stop_when_harmful), first.recipe.epochs
    del first  # its teacher would stay in memory
    from workbench.events import EventWriter

    progress = Progress(request.quiet)
    try:
        with EventWriter(folder.folder / "events") as board:
            found = _Arms(request, SubRuns(folder, "control"), epochs, stop_when_harmful, board, progress).run(seeds)
            write_atomic(folder.folder / "control.json", json.dumps(found.to_dict(), indent=1, allow_nan=False))
            write_atomic(folder.folder / "control.csv", found.to_csv())
            _curves(board, found)
        return found
    finally:
        progress.done()
        folder.close()


def _open(request: TrainRequest, first: PreparedRun, stop_when_harmful: bool) -> Any:
    import torch

    import workbench
    from workbench.run_folder import RunFiles, RunFolder

    # the number of seeds is left out: a finished comparison may be given more of them
    settings = {**first.settings, "control": True, "stop_when_harmful": stop_when_harmful}
    products = RunFiles("control", ("control.json", "control.csv"), ("control", "events"))
    versions = {"nas": workbench.__version__, "torch": str(torch.__version__)}
    return RunFolder.open(runs_folder(request, f"control-{run_name(request)}"), settings, versions, products, request.fresh)


class _Arms:
    """Both arms while they go on."""

    def __init__(self, request: TrainRequest, runs: SubRuns, epochs: int, stop_when_harmful: bool, board: EventWriter, progress: Progress) -> None:
        self.request, self.runs, self.epochs, self.stop_when_harmful = request, runs, epochs, stop_when_harmful
        self.board, self.progress = board, progress
        self.trials: dict[str, dict[int, SubRunResult]] = {PLAIN: {}, TAUGHT: {}}
        self.alarm: tuple[int, int] | None = None

    def run(self, seeds: int) -> ControlResult:
        """All of it, or up to where the teacher is known to harm."""
        first = self.request.seed
        for arm, seed in order(first, seeds):
            trial = self._one(arm, seed)
            self.trials[arm][seed] = trial
            if arm == TAUGHT:
                self._notice(seed, trial.curve)
                if self.alarm is None and trial.epochs < self.epochs:
                    self.alarm = (seed, trial.epochs)  # stopped when fewer seeds had been asked for
            if self.alarm is not None and self.stop_when_harmful:
                break
        stopped = self.alarm is not None and self.stop_when_harmful
        return ControlResult(self.runs.folder.folder, self.trials[PLAIN], self.trials[TAUGHT], self.alarm, stopped)

    def _one(self, arm: str, seed: int) -> SubRunResult:
        teaching = self.request.teaching if arm == TAUGHT else None
        request = dataclasses.replace(self.request, seed=seed, teaching=None if teaching is None else teaching.caching_below(f"seed-{seed}"))
        enough: Callable[[History], bool] = (lambda history: self._watch(seed, history)) if arm == TAUGHT else (lambda history: False)
        return self.runs.run(f"seed {seed} {arm}", f"seed-{seed}-{arm}", request, f"seed {seed} {WORDS[arm]}: ", enough)

    def _watch(self, seed: int, history: History) -> bool:
        """Called before every epoch of a taught run; whether it is to be ended. What it says follows from ``history`` alone."""
        curve = curve_of(history)
        epoch = max(curve, default=0)
        if epoch in self.trials[PLAIN][seed].curve:
            self.board.scalar(f"gain/seed_{seed}", curve[epoch] - self.trials[PLAIN][seed].curve[epoch], epoch)
            self.board.flush()
        self._notice(seed, curve)
        return self.alarm is not None and self.stop_when_harmful

    def _notice(self, seed: int, curve: dict[int, float]) -> None:
        if self.alarm is not None:
            return
        before = [one.curve for other, one in self.trials[TAUGHT].items() if other != seed]
        epoch = harm([one.curve for one in self.trials[PLAIN].values()], [*before, curve], self.epochs)
        if epoch is not None:
            self.alarm = (seed, epoch)
            what = "stopping here" if self.stop_when_harmful else "going on all the same; --stop-when-harmful would stop"
            self.progress.show(
                f"warning: the teacher harms. At {IN_A_ROW} evaluations in a row up to epoch {epoch} of seed {seed} the taught runs are behind by at least "
                f"{LEAST_HARM:g} AP, each more than chance does in {100 * ALARM:g} of 100 cases; {what}", force=True,
            )  # fmt: skip


def order(first: int, seeds: int) -> Iterator[tuple[str, int]]:
    """Which run follows which: ``LEAD`` plain ones, then the taught ones, from there on seed by seed."""
    for at in range(min(LEAD, seeds)):
        yield PLAIN, first + at
    for at in range(seeds):
        if at >= LEAD:
            yield PLAIN, first + at
        yield TAUGHT, first + at


def _curves(board: EventWriter, found: ControlResult) -> None:
    """The gain over the epochs, its mean and its interval, for TensorBoard."""
    shared = sorted(set(found.plain) & set(found.taught))
    epochs = sorted({epoch for seed in shared for epoch in found.taught[seed].curve})
    for epoch in epochs:
        pairs = [(found.plain[seed].curve, found.taught[seed].curve) for seed in shared]
        gain = Gain(tuple(theirs[epoch] - ours[epoch] for ours, theirs in pairs if epoch in ours and epoch in theirs))
        for seed, (ours, theirs) in zip(shared, pairs, strict=True):
            if epoch in ours and epoch in theirs and epoch == max(theirs):
                board.scalar(f"gain/seed_{seed}", theirs[epoch] - ours[epoch], epoch)
        board.scalar("gain/mean", gain.mean, epoch)
        if gain.interval is not None:
            board.scalar("gain/low", gain.interval[0], epoch)
            board.scalar("gain/high", gain.interval[1], epoch)
    rows = [f"| {seed} | {ours:.4f} | {theirs:.4f} | {theirs - ours:+.4f} |" for seed, ours, theirs in found.rows()]
    board.text("control", "\n".join(["| seed | AP without | AP with | gain |", "|---|---|---|---|", *rows, "", found.says()]), max(epochs, default=0))


def _signed(value: float) -> str:
    return f"{value:+.4f}"
