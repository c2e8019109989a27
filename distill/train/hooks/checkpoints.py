"""Hooks that write the run's products: the best and last weights, the best detections, and the state to resume from."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING

from distill.train.hooks.base import Hook
from distill.train.run_context import Request
from distill.train.run_state import write_state
from workbench.files import write_atomic
from zoo.weights.checkpoint import save

if TYPE_CHECKING:
    from distill.train.loop import StepReport
    from distill.train.run_context import EpochEvaluation, Run

DETECTIONS = "val-detections.json"
"""The best epoch's detections on the validation images, in COCO's result format (``nas eval --results``)."""
SAVE_S = 120.0
"""Seconds after which the state is written within an epoch; it is always written at the end of one."""


class SaveWeights(Hook):
    """Writes ``best.safetensors`` and its detections after an evaluation with a new best AP, ``last.safetensors`` after
    every evaluation.
    """

    def after_epoch(self, run: Run) -> None:
        evaluation = run.evaluation
        if evaluation is None:
            return
        if evaluation.result.ap > run.progress.best_ap:
            run.progress.best_ap, run.progress.best_epoch = evaluation.result.ap, run.epoch_number
            self._save(run, evaluation, "best.safetensors")
            if run.group.writes:
                write_atomic(run.folder.folder / DETECTIONS, json.dumps(evaluation.detections))
        self._save(run, evaluation, "last.safetensors")

    def _save(self, run: Run, evaluation: EpochEvaluation, name: str) -> None:
        if not run.group.writes:
            return
        provenance = {
            **run.settings.provenance, "epoch": run.epoch_number, "recipe": run.recipe.to_dict(), "seed": run.loop.seed,
            "val": {name: value for name, value in evaluation.result.summary.items() if value is not None},
        }  # fmt: skip
        detector = evaluation.detector
        detector.info = dataclasses.replace(
            detector.info, input_px=run.settings.input_px, provenance=provenance
        )
        save(detector, run.folder.folder / name)


class SaveState(Hook):
    """Writes ``resume.pt`` after every epoch, every ``SAVE_S`` seconds within one, and on request."""

    def __init__(self) -> None:
        self.saved_at = time.monotonic()

    def after_step(self, run: Run, report: StepReport) -> None:
        if time.monotonic() - self.saved_at > SAVE_S:
            run.ask(Request.SAVE)

    def after_epoch(self, run: Run) -> None:
        self.save_state(run)

    def save_state(self, run: Run) -> None:
        run.loop.task.settle()
        run.group.wait()
        run.update_seconds()
        if run.group.writes:
            write_state(run.folder.folder, run.loop, run.progress)
        self.saved_at = time.monotonic()
