"""Soft targets with one prediction per target, matched at the least total cost."""

from __future__ import annotations

import torch
from torch import Tensor

from distill.teach.responses.base import Pair
from distill.teach.responses.soft_targets import Match, SoftTargetMethod, SoftTargets, overlaps_any
from zoo.boxes import xyxy_to_cxcywh
from zoo.learning.assign_set import HungarianMatcher
from zoo.learning.losses import iou_pairwise

CANDIDATES = 10
"""Predictions that a soft target may be matched to: its cheapest ones."""


class Hungarian(SoftTargetMethod):
    """One prediction for a target: DETR's assignment, with the target's best class as its class.

    The quality of a match is its overlap.
    """

    assign = HungarianMatcher()

    @classmethod
    def is_default(cls, pair: Pair) -> bool:
        return pair.student_has_queries

    def match(self, boxes: Tensor, scores: Tensor, soft: SoftTargets, size: tuple[int, int]) -> Match:
        overlaps = iou_pairwise(soft.boxes, boxes)
        unit = boxes.new_tensor([size[1], size[0]] * 2)
        logits, centers = scores.logit(eps=1e-6), xyxy_to_cxcywh(boxes / unit)
        labels, target_centers = soft.scores.argmax(-1), xyxy_to_cxcywh(soft.boxes / unit)
        rows = torch.arange(len(boxes), device=boxes.device)
        if len(target_centers) and len(boxes) > CANDIDATES * len(target_centers):
            # the cost matrix of a whole dense head takes SciPy longer than the training step
            cost = self.assign.cost(logits, centers, labels, target_centers)
            rows = cost.topk(CANDIDATES, 0, largest=False).indices.unique()
        pairs = self.assign(logits[rows][None, None], centers[rows][None, None], (labels,), (target_centers,))
        predictions, targets = rows[pairs.queries], pairs.objects
        overlap = overlaps[targets, predictions]
        return Match(predictions, targets, overlap, torch.ones_like(overlap), overlaps_any(overlaps))
