"""MGD: masked generative distillation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from distill.teach.features.base import FeatureMethod
from distill.teach.standardize import standardize as standardize_maps
from workbench.checks import check_number
from workbench.errors import BadInput
from zoo.learning.batch_share import sample_for_batch
from zoo.learning.targets import Targets


class MaskedGenerative(FeatureMethod):
    """MGD (Yang et al. 2022): two trained convolutions generate the teacher's map from the masked student's map.

    The loss is ``weight`` (the paper's alpha) times the squared distance, summed over channels and positions.
    ``masked`` (lambda) is the share of masked positions, sampled anew in every call from torch's global generator.
    ``standardize`` as in CWD.
    """

    def __init__(
        self,
        student_channels: Sequence[int],
        teacher_channels: Sequence[int],
        weight: float = 2e-5,
        masked: float = 0.65,
        standardize: bool = True,
    ) -> None:
        super().__init__(student_channels, teacher_channels, bias=not standardize)
        if not 0 <= masked < 1:
            raise BadInput(f"masked {masked!r}: the share of masked positions must be at least 0 and less than 1")
        self.weight, self.masked = check_number("weight", weight, above=True), masked
        self.standardize = standardize
        self.generators = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, c, 3, padding=1))
            for c in teacher_channels
        )

    def level_loss(
        self, level: int, student: Tensor, teacher: Tensor, targets: Targets, size: tuple[int, int]
    ) -> Tensor:
        if self.standardize:
            student, teacher = standardize_maps(student), standardize_maps(teacher)
        b, _, h, w = student.shape
        visible = sample_for_batch(lambda n: torch.rand(n, 1, h, w, device=student.device), b) >= self.masked
        return self.weight * (self.generators[level](student * visible) - teacher).square().sum() / b
