"""LD: localization distillation of box side distributions, cell by cell."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.teach.class_mapping import ClassMapping
from distill.teach.predictions import Predictions
from distill.teach.responses.base import Pair, ResponseMethod
from workbench.checks import check_number
from workbench.errors import BadInput
from zoo.learning.batch_share import sum_over_batch
from zoo.learning.losses import to_float32

MIN_PROBABILITY = 1e-6
"""Least probability of a bin after rebinning."""
SIGNS = (-1.0, -1.0, 1.0, 1.0)
"""Change of the distances to left, top, right and bottom when the anchor point moves by -1 right and down."""


class Localization(ResponseMethod):
    """LD (Zheng et al. 2022): the distribution of every box side matches the teacher's, cell by cell.

    Kullback-Leibler divergence at ``temperature``, times its square, as a mean over the four sides. Cells are weighted
    by the teacher's best score times the quality of its box, which selects the paper's main region.

    Where the numbers of bins differ, or the anchor points of the cells, the teacher's distribution is rebinned first:
    the probability of every bin is split between the two bins next to its distance, as the true distance is in
    training, so that the expected distance stays; what lies beyond the student's bins goes to the end bin.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"boxes", "scores", "distributions"})

    def __init__(self, classes: ClassMapping, temperature: float = 10.0) -> None:
        super().__init__(classes)
        self.temperature = check_number("temperature", temperature, above=True)

    @classmethod
    def is_default(cls, pair: Pair) -> bool:
        return not pair.student_has_queries and pair.same_cells and pair.distributions

    def loss(self, student: Predictions, teacher: Predictions) -> Tensor:
        if student.distributions is None or teacher.distributions is None or not student.same_cells(teacher):
            raise BadInput(
                "localisation distillation needs distributions on both sides, levels of the same strides and inputs of "
                "one size: take box distillation (boxes)"
            )
        weights = self.box_weights(teacher)
        selected = weights > 0  # a few of many cells
        logits = to_float32(student.distributions[selected])
        goals = rebin(teacher.distributions[selected], logits.shape[-1], teacher.offset - student.offset)
        log_probs = (logits / self.temperature).log_softmax(-1)
        goal_log_probs = (goals / self.temperature).log_softmax(-1)
        divergence = (goal_log_probs.exp() * (goal_log_probs - log_probs)).sum(-1).mean(-1) * self.temperature**2
        return (divergence * weights[selected]).sum() / sum_over_batch(weights.sum()).clamp(min=1)


def rebin(logits: Tensor, bins: int, shift: float) -> Tensor:
    """``logits`` ``[..., 4, k]`` over other ``bins``, as logits ``[..., 4, bins]``; see ``Localization``.

    ``shift`` is how far right of and below the wanted anchor point the distances were measured, in cells.
    """
    if logits.shape[-1] == bins and shift == 0:
        return logits
    distances = torch.arange(logits.shape[-1], device=logits.device, dtype=logits.dtype)
    shifted = (distances + shift * logits.new_tensor(SIGNS)[:, None]).clamp(0, bins - 1)
    left = shifted.floor().clamp(max=max(bins - 2, 0)).long()
    right_share = shifted - left
    right = (left + 1).clamp(max=bins - 1)
    table = F.one_hot(left, bins) * (1 - right_share)[..., None] + F.one_hot(right, bins) * right_share[..., None]
    return (logits.softmax(-1)[..., None, :] @ table).squeeze(-2).clamp(min=MIN_PROBABILITY).log()
