"""Soft targets with several predictions per target, chosen by score and overlap."""

from __future__ import annotations

import torch
from torch import Tensor

from distill.teach.class_mapping import ClassMapping
from distill.teach.responses.base import Pair
from distill.teach.responses.soft_focal import MIN_SCORE
from distill.teach.responses.soft_targets import Match, SoftTargetMethod, SoftTargets, overlaps_any
from workbench.checks import check_int
from zoo.learning.assign_task import best_of, largest
from zoo.learning.losses import iou_pairwise

SCORE_POWER, OVERLAP_POWER = 0.5, 6.0
"""Exponents of score and overlap in the alignment of a prediction with a soft target."""


class Overlap(SoftTargetMethod):
    """Many predictions for a target: the ``topk`` best aligned ones, as the YOLO families assign true boxes.

    Alignment is the square root of the score of the target's best class times the sixth power of the overlap (TOOD,
    Feng et al. 2021). A prediction's share is its alignment over the best one of the target, its quality that share of
    the best overlap. A prediction that several targets choose is matched to the one that it overlaps most.
    """

    def __init__(
        self,
        classes: ClassMapping,
        beta: float = 2.0,
        box_weight: float = 2.0,
        threshold: float = 0.05,
        iou_threshold: float = 0.7,
        most: int = 100,
        topk: int = 10,
    ) -> None:
        super().__init__(classes, beta, box_weight, threshold, iou_threshold, most)
        self.topk = check_int("topk", topk)

    @classmethod
    def is_default(cls, pair: Pair) -> bool:
        return not pair.student_has_queries and not pair.same_cells

    def match(self, boxes: Tensor, scores: Tensor, soft: SoftTargets, size: tuple[int, int]) -> Match:
        overlaps = iou_pairwise(soft.boxes, boxes)
        ignored = overlaps_any(overlaps)
        class_scores = scores[:, soft.scores.argmax(-1)].T.clamp(min=MIN_SCORE)
        alignments = class_scores.pow(SCORE_POWER) * overlaps.pow(OVERLAP_POWER)
        targets, predictions = (largest(alignments, self.topk) & (overlaps > 0)).nonzero(as_tuple=True)
        chosen = best_of(predictions, overlaps[targets, predictions], targets, len(boxes))
        targets, predictions = targets[chosen], predictions[chosen]
        alignment, overlap = alignments[targets, predictions], overlaps[targets, predictions]
        best_alignment, best_overlap = (
            values.new_zeros(len(overlaps)).scatter_reduce(0, targets, values, "amax")
            for values in (alignment, overlap)
        )
        shares = alignment / best_alignment[targets].clamp(min=torch.finfo(alignment.dtype).tiny)
        return Match(predictions, targets, shares * best_overlap[targets], shares, ignored)
