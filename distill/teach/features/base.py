"""Base class of feature distillation: the student's levels are trained to match the teacher's."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from distill.teach.align import Aligner
from zoo.learning.batch_share import batch_shares
from zoo.learning.targets import Targets


class FeatureMethod(nn.Module, abc.ABC):
    """A loss between feature maps of student and teacher.

    A subclass takes the channels of both sides first; its further arguments are its options. The base class aligns the
    maps, calculates in float32 and sums over the levels. Submodules (aligners, generators) train with the student; the
    teacher receives no gradient.

    Args:
        bias: whether the aligning convolutions have a bias. It never trains if the loss ignores a channel's mean.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"features"})
    """Teacher outputs that the loss reads: of features, boxes, scores, distributions."""

    def __init__(self, student_channels: Sequence[int], teacher_channels: Sequence[int], bias: bool = True) -> None:
        super().__init__()
        self.align = Aligner(student_channels, teacher_channels, bias=bias)

    def forward(
        self, student: Sequence[Tensor], teacher: Sequence[Tensor], targets: Targets, size: tuple[int, int]
    ) -> Tensor:
        """The loss of maps ``[b, c, h, w]``, one per level, as a mean over images.

        ``targets`` holds the true boxes in pixels of an input of ``size`` (height, width).
        """
        with torch.autocast(student[0].device.type, enabled=False):
            pairs = self.align(student, teacher)
            losses = [
                self.level_loss(level, student_map, teacher_map, targets, size)
                for level, (student_map, teacher_map) in enumerate(pairs)
            ]
            return torch.stack(losses).sum() / batch_shares()

    @abc.abstractmethod
    def level_loss(
        self, level: int, student: Tensor, teacher: Tensor, targets: Targets, size: tuple[int, int]
    ) -> Tensor:
        """The loss of one level from two float32 maps ``[b, c, h, w]`` of one shape, as a mean over images."""
