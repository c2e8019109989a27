"""PKD: Pearson correlation of feature maps."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from distill.teach.features.base import FeatureMethod
from distill.teach.standardize import standardize
from zoo.learning.targets import Targets


class Pearson(FeatureMethod):
    """PKD (Cao et al. 2022): one minus Pearson's correlation of every channel over all images and positions.

    A mean over channels. It ignores scale and mean of both sides' features.
    """

    def __init__(self, student_channels: Sequence[int], teacher_channels: Sequence[int]) -> None:
        super().__init__(student_channels, teacher_channels, bias=False)

    def level_loss(
        self, level: int, student: Tensor, teacher: Tensor, targets: Targets, size: tuple[int, int]
    ) -> Tensor:
        return (standardize(student) - standardize(teacher)).square().mean() / 2
