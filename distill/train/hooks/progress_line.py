"""Hook: a line of progress after every step."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from distill.train.hooks.base import Hook

if TYPE_CHECKING:
    from distill.train.loop import StepReport
    from distill.train.run_context import Run


class ProgressLine(Hook):
    """Logs epoch, step, loss, the best AP so far, speed, and the time that is left."""

    def after_step(self, run: Run, report: StepReport) -> None:
        loop, progress = run.loop, run.progress
        step_s = (time.monotonic() - run.epoch.began) / run.epoch.steps
        best = f", AP {progress.best_ap:.3f} after epoch {progress.best_epoch}" if progress.best_epoch else ""
        run.log(
            f"epoch {run.epoch_number} of {run.recipe.epochs}, step {loop.step} of {loop.steps}: "
            f"loss {sum(report.losses.values()):.3f}{best}, {run.images_per_step / step_s:.1f} images/s, "
            f"waiting {100 * run.loader.waited_share:.0f} %, {format_duration((loop.steps - loop.step) * step_s)} left"
        )


def format_duration(seconds: float) -> str:
    """Seconds in a readable unit: ``45 s``, ``12 min``, ``3.4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
