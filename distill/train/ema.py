"""The exponential moving average (EMA) of a detector's weights, which is what is evaluated and saved."""

from __future__ import annotations

import copy
import math

import torch

from zoo.detector import Detector

STATISTICS = ("running_mean", "running_var")
"""Last parts of the names of batch-norm statistics."""


class ModelEma:
    """A copy of ``detector`` whose weights and batch-norm statistics follow it slowly.

    ``start`` updates count as made before the first one.
    """

    def __init__(self, detector: Detector, decay: float, updates_to_63: float, start: int = 0) -> None:
        self.detector = copy.deepcopy(detector).eval().requires_grad_(False)
        self.decay, self.updates_to_63 = decay, updates_to_63
        self.updates = start

    @torch.no_grad()
    def update(self, detector: Detector, bn_frozen: bool = False) -> None:
        """One step towards ``detector``; the decay grows over the first ones. Frozen statistics are copied."""
        self.updates += 1
        decay = self.decay * (1 - math.exp(-self.updates / self.updates_to_63))
        state = detector.state_dict()
        averaged, current = [], []
        for name, value in self.detector.state_dict().items():
            if value.dtype.is_floating_point and not (bn_frozen and name.endswith(STATISTICS)):
                averaged.append(value)
                current.append(state[name].to(value.dtype))
            else:
                value.copy_(state[name])
        torch._foreach_lerp_(averaged, current, 1 - decay)
