"""What a method of importance is: it scores units, and says what skipping blocks and dropping layers costs."""

from __future__ import annotations

import abc
from typing import ClassVar

import numpy as np

from distill.importance.training_loss import LossBatch, TrainingLoss
from zoo.detector import Detector
from zoo.pruning.groups import ChannelGroups


class Importance(abc.ABC):
    """One method, without settings of the run."""

    about: ClassVar[str]
    """One line for tables and help."""


class DataImportance(Importance):
    """A method that scores units on images. Blocks and stacks are then measured by the loss itself."""

    @abc.abstractmethod
    def unit_scores(self, loss: TrainingLoss, groups: ChannelGroups, batch: LossBatch) -> np.ndarray:
        """Importance of every unit on ``batch``, a mean over its images, float64 ``[groups.count]`` from 0 on."""


class WeightImportance(Importance):
    """A method that needs the weights alone."""

    @abc.abstractmethod
    def unit_scores(self, detector: Detector, groups: ChannelGroups) -> np.ndarray:
        """Importance of every unit, float64 ``[groups.count]`` from 0 on."""
