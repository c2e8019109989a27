"""The moving average of a detector's weights, which is what gets evaluated and shipped."""

from __future__ import annotations

import copy
import math

import torch

from zoo.detector import Detector

STATISTICS = ("running_mean", "running_var")
"""Last parts of the names of what batch norms gather."""


class ModelEma:
    """A copy of ``detector`` whose weights follow it slowly; batch statistics too."""

    def __init__(self, detector: Detector, decay: float, updates_to_63: float) -> None:
        self.detector = copy.deepcopy(detector).eval().requires_grad_(False)
        self.decay, self.updates_to_63 = decay, updates_to_63
        self.updates = 0

    @torch.no_grad()
    def update(self, detector: Detector, bn_frozen: bool = False) -> None:
        """One step towards ``detector``; the first ones are long. Statistics that norms hold are taken over at once."""
        self.updates += 1
        decay = self.decay * (1 - math.exp(-self.updates / self.updates_to_63))
        new = detector.state_dict()
        ours, theirs = [], []
        for name, value in self.detector.state_dict().items():
            if value.dtype.is_floating_point and not (bn_frozen and name.endswith(STATISTICS)):
                ours.append(value)
                theirs.append(new[name].to(value.dtype))
            else:
                value.copy_(new[name])
        torch._foreach_lerp_(ours, theirs, 1 - decay)
