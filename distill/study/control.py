"""``nas distill --control``: trains the student with and without its teacher, several seeds each, and states the gain.

Two runs of one seed start with the same weights and see the same augmented images in the same order; the teacher is
their only difference. The first ``LEAD`` runs are without the teacher: their variance is needed to detect harm.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from distill.prepare import History, never, prepare
from distill.request import TrainRequest, run_name
from distill.study.control_result import PLAIN, TAUGHT, ControlResult
from distill.study.gain import HARM_LEVEL, HARMFUL_IN_A_ROW, MIN_HARM, Gain, first_harmful_epoch
from distill.study.subruns import SubRunResult, SubRuns, curve_of, runs_folder
from workbench.console import Progress
from workbench.errors import BadInput
from workbench.files import write_atomic

if TYPE_CHECKING:
    from distill.prepare import PreparedRun
    from workbench.events import EventWriter
    from workbench.run_folder import RunFolder

LEAD = 3
DEFAULT_SEEDS, MAX_SEEDS = 3, 100
TITLES = {PLAIN: "without a teacher", TAUGHT: "with the teacher"}


def control(request: TrainRequest, seeds: int, stop_when_harmful: bool = False) -> ControlResult:
    """Train with and without the teacher for ``seeds`` seeds from ``request.seed`` on, and write the comparison.

    A finished comparison can be repeated with more seeds; only the new ones are trained.
    """
    if request.teaching is None:
        raise BadInput("--control compares with a teacher and without: name a teacher")
    if not 1 <= seeds <= MAX_SEEDS:
        raise BadInput(f"--seeds {seeds} must be from 1 to {MAX_SEEDS}")
    prepared = prepare(request)
    folder, epochs = _open_folder(request, prepared, stop_when_harmful), prepared.recipe.epochs
    del prepared  # its teacher would stay in memory
    from workbench.events import EventWriter

    progress = Progress(request.quiet)
    try:
        with EventWriter(folder.folder / "events") as board:
            runs = _ControlRuns(request, SubRuns(folder, "control"), epochs, stop_when_harmful, board, progress)
            result = runs.train(seeds)
            write_atomic(folder.folder / "control.json", json.dumps(result.to_dict(), indent=1, allow_nan=False))
            write_atomic(folder.folder / "control.csv", result.to_csv())
            _write_curves(board, result)
        return result
    finally:
        progress.done()
        folder.close()


def _open_folder(request: TrainRequest, prepared: PreparedRun, stop_when_harmful: bool) -> RunFolder:
    import torch

    import workbench
    from workbench.run_folder import RunFiles, RunFolder

    # without the number of seeds: a finished comparison may be given more of them
    settings = {**prepared.settings, "control": True, "stop_when_harmful": stop_when_harmful}
    products = RunFiles("control", ("control.json", "control.csv"), ("control", "events"))
    versions = {"nas": workbench.__version__, "torch": str(torch.__version__)}
    folder = runs_folder(request, f"control-{run_name(request)}")
    return RunFolder.open(folder, settings, versions, products, request.fresh)


class _ControlRuns:
    """Trains the runs with and without the teacher, and tests for harm while it does."""

    def __init__(
        self,
        request: TrainRequest,
        runs: SubRuns,
        epochs: int,
        stop_when_harmful: bool,
        board: EventWriter,
        progress: Progress,
    ) -> None:
        self.request, self.runs, self.epochs, self.stop_when_harmful = request, runs, epochs, stop_when_harmful
        self.board, self.progress = board, progress
        self.plain: dict[int, SubRunResult] = {}
        self.taught: dict[int, SubRunResult] = {}
        self.harmful_at: tuple[int, int] | None = None

    @property
    def stopped(self) -> bool:
        """Whether no further run is trained because of harm."""
        return self.harmful_at is not None and self.stop_when_harmful

    def train(self, seeds: int) -> ControlResult:
        """All runs, or those until harm is found."""
        for kind, seed in order(self.request.seed, seeds):
            if kind == PLAIN:
                self.plain[seed] = self._train(PLAIN, seed, never)
            else:
                self.taught[seed] = self._train_taught(seed)
            if self.stopped:
                break
        return ControlResult(self.runs.folder.folder, self.plain, self.taught, self.harmful_at, self.stopped)

    def _train(self, kind: str, seed: int, should_stop: Callable[[History], bool]) -> SubRunResult:
        teaching = self.request.teaching if kind == TAUGHT else None
        if teaching is not None:
            teaching = teaching.with_cache_below(f"seed-{seed}")
        request = dataclasses.replace(self.request, seed=seed, teaching=teaching)
        title = f"seed {seed} {TITLES[kind]}: "
        return self.runs.run(f"seed {seed} {kind}", f"seed-{seed}-{kind}", request, title, should_stop)

    def _train_taught(self, seed: int) -> SubRunResult:
        result = self._train(TAUGHT, seed, lambda history: self._should_stop(seed, history))
        self._test_for_harm(seed, result.curve)
        if self.harmful_at is None and result.epochs < self.epochs:
            self.harmful_at = (seed, result.epochs)  # stopped when fewer seeds were asked for
        return result

    def _should_stop(self, seed: int, history: History) -> bool:
        """Called before every epoch of a taught run. The answer depends on ``history`` alone."""
        curve = curve_of(history)
        epoch = max(curve, default=0)
        if epoch in self.plain[seed].curve:
            self.board.scalar(f"gain/seed_{seed}", curve[epoch] - self.plain[seed].curve[epoch], epoch)
            self.board.flush()
        self._test_for_harm(seed, curve)
        return self.stopped

    def _test_for_harm(self, seed: int, curve: dict[int, float]) -> None:
        if self.harmful_at is not None:
            return
        earlier = [result.curve for other, result in self.taught.items() if other != seed]
        plain = [result.curve for result in self.plain.values()]
        epoch = first_harmful_epoch(plain, [*earlier, curve], self.epochs)
        if epoch is not None:
            self.harmful_at = (seed, epoch)
            action = "stopping here" if self.stop_when_harmful else "continuing; --stop-when-harmful would stop"
            self.progress.show(
                f"warning: the teacher harms. At {HARMFUL_IN_A_ROW} evaluations in a row up to epoch {epoch} of seed "
                f"{seed} the taught runs are behind by at least {MIN_HARM:g} AP, each significant at the "
                f"{100 * HARM_LEVEL:g} % level; {action}", force=True,
            )  # fmt: skip


def order(first: int, seeds: int) -> Iterator[tuple[str, int]]:
    """The order of the runs: ``LEAD`` plain ones, their taught ones, then both kinds seed by seed."""
    for i in range(min(LEAD, seeds)):
        yield PLAIN, first + i
    for i in range(seeds):
        if i >= LEAD:
            yield PLAIN, first + i
        yield TAUGHT, first + i


def _write_curves(board: EventWriter, result: ControlResult) -> None:
    """The gain over the epochs, its mean and its interval, for TensorBoard."""
    curves = {seed: (result.plain[seed].curve, result.taught[seed].curve) for seed in result.seeds}
    epochs = sorted({epoch for _, taught in curves.values() for epoch in taught})
    for epoch in epochs:
        both = {
            seed: taught[epoch] - plain[epoch]
            for seed, (plain, taught) in curves.items() if epoch in plain and epoch in taught
        }  # fmt: skip
        gain = Gain(tuple(both.values()))
        for seed, difference in both.items():
            if epoch == max(curves[seed][1]):
                board.scalar(f"gain/seed_{seed}", difference, epoch)
        board.scalar("gain/mean", gain.mean, epoch)
        if gain.interval is not None:
            board.scalar("gain/low", gain.interval[0], epoch)
            board.scalar("gain/high", gain.interval[1], epoch)
    header, rows = result.to_table()
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    lines += [f"| {seed} | {plain:.4f} | {taught:.4f} | {gain:+.4f} |" for seed, plain, taught, gain in rows]
    board.text("control", "\n".join([*lines, "", result.conclusion()]), max(epochs, default=0))
