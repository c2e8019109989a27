"""Hook: TensorBoard curves and images, once an epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distill.train.hooks.base import Hook

if TYPE_CHECKING:
    from distill.train.run_context import EpochEvaluation, Run
    from workbench.events import EventWriter

CURVES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")


class TensorBoardCurves(Hook):
    """Writes losses, learning rate, speed and, where the epoch was evaluated, AP and images."""

    def __init__(self, writer: EventWriter) -> None:
        self.writer = writer

    def after_epoch(self, run: Run) -> None:
        record, step, writer = run.record, run.record["step"], self.writer
        for name, value in record["losses"].items():
            writer.scalar(f"loss/{name}", value, step)
        writer.scalar("loss/total", sum(record["losses"].values()), step)
        writer.scalar("schedule/learning_rate", record["rate"], step)
        writer.scalar("speed/images_per_s", record["images_per_s"], step)
        writer.scalar("speed/waited_share", record["waited_share"], step)
        if run.evaluation is not None:
            self._write_evaluation(run, run.evaluation, step)
        writer.flush()

    def _write_evaluation(self, run: Run, evaluation: EpochEvaluation, step: int) -> None:
        from distill.train.plots import detections_png, precision_recall_png

        val = run.data.val
        for name in CURVES:
            value = evaluation.result.summary[name]
            if value is not None:
                self.writer.scalar(f"val/{name}", value, step)
        self.writer.image("val/precision_recall", precision_recall_png(evaluation.result, val.classes.names), step)
        self.writer.image("val/found_below_true", detections_png(val, evaluation.detections), step)
