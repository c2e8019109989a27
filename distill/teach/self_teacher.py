"""Self-distillation: the moving average of the student's weights is its teacher (Mean Teacher, Tarvainen 2017).

The average is the one that is evaluated and saved. It is part of the training state, so a resumed run continues with
the same bits, and no other network's weights influence the student.
"""

from __future__ import annotations

import torch
from torch import Tensor

from distill.teach.balance import Schedule
from distill.teach.outputs import TeacherOutputs
from distill.teach.teacher import Teacher, level_channels
from distill.train.ema import ModelEma
from zoo.detector import Detector

RISING = Schedule(0.0, 1.0, 0.0)
"""The weight of an average starts at 0, because it is random at first, and rises to 1."""


class SelfTeacher(Teacher):
    """The student's average at the student's own input. Until ``follow`` sets it, the student gives the shapes."""

    def __init__(self, student: Detector, half: bool = False) -> None:
        # not Teacher's: that one freezes the detector it is given
        self.detector, self.ratio, self.half = student, 1.0, half
        self.channels = level_channels(student)
        self._has_average = False

    def follow(self, average: ModelEma) -> None:
        self.detector, self._has_average = average.detector, True

    def __call__(self, image: Tensor, with_predictions: bool = True) -> TeacherOutputs:
        assert self._has_average, "the loop sets the average before the first step"
        return super().__call__(image, with_predictions)

    def _move_to(self, device: torch.device) -> None:
        # the loop averages into these weights: they keep their precision
        self.detector.eval().to(device)

    def _view(self, image: Tensor) -> Tensor:
        return image
