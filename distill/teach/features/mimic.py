"""Mimicking: squared distance of aligned feature maps."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from distill.teach.features.base import FeatureMethod
from zoo.learning.targets import Targets


class Mimic(FeatureMethod):
    """Mimicking (Li et al. 2017): half the squared distance of aligned maps, as a mean over channels and positions.

    On standardized maps this would be PKD, which is why it has no such option.
    """

    def __init__(self, student_channels: Sequence[int], teacher_channels: Sequence[int]) -> None:
        super().__init__(student_channels, teacher_channels)

    def level_loss(
        self, level: int, student: Tensor, teacher: Tensor, targets: Targets, size: tuple[int, int]
    ) -> Tensor:
        return (student - teacher).square().mean() / 2
