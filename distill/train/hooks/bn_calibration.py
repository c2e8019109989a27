"""Hook: batch norms are calibrated once before they are frozen."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from distill.train.bn_calibration import calibrate_bn
from distill.train.hooks.base import Hook

if TYPE_CHECKING:
    import torch

    from distill.train.run_context import Run
    from zoo.detector import Detector


class CalibrateFrozenBN(Hook):
    """Calibrates the batch norms of the trained detector right before the first step with frozen statistics.

    Doing it twice at a step changes nothing.
    """

    def before_step(self, run: Run) -> None:
        if run.loop.step == run.loop.bn_frozen_from:
            detector = run.loop.task.detector
            detector.load_state_dict(calibrated(run, detector).state_dict())


def calibrated(run: Run, detector: Detector) -> Detector:
    """``detector`` with batch norms calibrated by the first process; itself where the recipe asks for none."""
    images = run.recipe.bn_calibration_images
    if not images:
        return detector
    state: dict[str, torch.Tensor] = {}
    if run.group.writes:
        run.log(f"calibrating batch norms on training images, {images} at a time")
        result = calibrate_bn(
            detector, run.data.train, run.settings.input_px, images, device=str(run.loop.device),
            workers=run.evaluation_workers, frozen_backbone=run.recipe.freeze_backbone_bn,
            frozen_norms=run.loop.frozen_norms,
        )  # fmt: skip
        state = {name: value.cpu() for name, value in result.state_dict().items()}
    twin = copy.deepcopy(detector)
    twin.load_state_dict(run.group.first(state))
    return twin
