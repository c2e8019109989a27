"""Hook: the averaged weights are evaluated on the validation data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distill.train.detect import DetectOptions, detect
from distill.train.evaluate import evaluate_detections
from distill.train.hooks.base import Hook
from distill.train.hooks.bn_calibration import calibrated
from distill.train.run_context import EpochEvaluation

if TYPE_CHECKING:
    from distill.train.run_context import Run
    from zoo.detector import Detector

EVALUATIONS = 20
"""Number of evaluations in a run, about; they are evenly spaced."""


def evaluation_epochs(epochs: int) -> set[int]:
    """Numbers of the epochs (from 1) after which the averaged weights are evaluated."""
    every = max(1, round(epochs / EVALUATIONS))
    return {epoch for epoch in range(1, epochs + 1) if epoch % every == 0 or epoch == epochs}


class Evaluate(Hook):
    """Evaluates about ``EVALUATIONS`` times; leaves ``run.evaluation`` to the hooks after it, None in other epochs."""

    def after_epoch(self, run: Run) -> None:
        run.evaluation = None
        if run.epoch_number not in evaluation_epochs(run.recipe.epochs):
            return
        average = run.loop.average.detector
        # once batch norms are frozen, the average has their calibrated statistics
        detector = average if run.loop.step > run.loop.bn_frozen_from else calibrated(run, average)
        detections = self._detect(run, detector)
        # evaluation takes memory: one process does it
        result = run.group.first(evaluate_detections(run.data.val, detections) if run.group.writes else None)
        assert result is not None
        run.evaluation = EpochEvaluation(detector, result, detections)
        run.record.update((name, value) for name, value in result.summary.items() if value is not None)

    def _detect(self, run: Run, detector: Detector) -> list[dict[str, Any]]:
        """The detections on all validation images; every process takes a share of the images."""
        val, group = run.data.val, run.group
        options = DetectOptions(
            run.settings.input_px, run.recipe.batch, str(run.loop.device), workers=run.evaluation_workers,
            shard=(group.rank, group.world),
        )  # fmt: skip
        detections = [row for part in group.everyone(detect(detector, val, options, run.log)) for row in part]
        if group.world > 1:
            positions = {picture.id: position for position, picture in enumerate(val.pictures)}
            detections.sort(key=lambda row: positions[row["image_id"]])
        return detections
