"""Self-distillation: the moving average of the student's own weights teaches it (as Mean Teacher does, Tarvainen and Valpola 2017).

The average is the one that is evaluated and shipped; it is part of the state, so a resumed run goes on to the same bits,
and nothing of another network enters the student.
"""

from __future__ import annotations

import torch
from torch import Tensor

from distill.teach.balance import Schedule
from distill.teach.outputs import TeacherOutputs
from distill.teach.task import Teacher, level_channels
from distill.train.ema import ModelEma
from zoo.detector import Detector

RISING = Schedule(0.0, 1.0, 0.0)
"""An average of random weights has nothing to say: what it says counts from nothing at the start to all at the end."""


class SelfTeacher(Teacher):
    """The student's average at the student's own input. ``follow`` hands it over; until then the student stands for its shapes."""

    def __init__(self, student: Detector, half: bool = False) -> None:
        # not Teacher's: that one freezes the detector it is given
        self.detector, self.ratio, self.half = student, 1.0, half
        self.channels = level_channels(student)
        self._followed = False

    def follow(self, average: ModelEma) -> None:
        self.detector, self._followed = average.detector, True

    def __call__(self, image: Tensor, with_answer: bool = True) -> TeacherOutputs:
        assert self._followed, "the loop hands the average over before the first step"
        return super().__call__(image, with_answer)

    def _settle_on(self, device: torch.device) -> None:
        # its weights are those that the loop averages: they stay as they are
        self.detector.eval().to(device)

    def _view(self, image: Tensor) -> Tensor:
        return image
