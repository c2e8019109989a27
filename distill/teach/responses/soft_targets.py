"""Soft targets: the teacher's selected boxes with their scores, and the loss of predictions matched to them."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from distill.teach.class_mapping import ClassMapping
from distill.teach.predictions import Predictions
from distill.teach.responses.base import ResponseMethod
from distill.teach.responses.soft_focal import soft_focal
from workbench.checks import check_int, check_number
from zoo.learning.batch_share import sum_over_batch
from zoo.learning.losses import box_iou, to_float32
from zoo.nms import nms

IGNORE_IOU = 0.5
"""An unmatched prediction whose IoU with a soft target is higher is not trained as background either."""


class Match(NamedTuple):
    """Which predictions of one image are matched to which soft targets, p pairs, and their goals."""

    predictions: Tensor
    """int64 ``[p]``."""
    targets: Tensor
    """int64 ``[p]``."""
    qualities: Tensor
    """``[p]``, 0..1: factor of the target's scores in the goal of the prediction."""
    shares: Tensor
    """``[p]``, 0..1: weight of the prediction's box; 1 for the best prediction of a target."""
    ignored: Tensor
    """bool ``[n]``: predictions that overlap a soft target; those of them that are not matched are ignored."""


@dataclass(frozen=True, slots=True)
class SoftTargets:
    """The teacher's detections in one image, q boxes, best first."""

    boxes: Tensor
    """``[q, 4]`` in pixels of the student's input."""
    scores: Tensor
    """``[q, m]`` of the shared classes, 0..1."""
    weights: Tensor
    """``[q]``: best score times box quality."""


class SoftTargetMethod(ResponseMethod):
    """Soft targets: the goal of a matched prediction is the scores of its target times the quality of the match.

    The loss is the soft focal loss of the scores (unmatched predictions have the goal 0) plus ``box_weight`` times
    1 - GIoU, weighted by the target's weight and the prediction's share. The first is divided by the sum of the best
    scores, the second by that of the targets' weights, each at least 1.

    Selected are boxes with a score above ``threshold``, after NMS per class at ``iou_threshold``, at most ``most`` an
    image.
    """

    def __init__(
        self,
        classes: ClassMapping,
        beta: float = 2.0,
        box_weight: float = 2.0,
        threshold: float = 0.05,
        iou_threshold: float = 0.7,
        most: int = 100,
    ) -> None:
        super().__init__(classes)
        self.beta, self.box_weight = check_number("beta", beta, 1), check_number("box_weight", box_weight)
        self.threshold = check_number("threshold", threshold, 0, 1)
        self.iou_threshold = check_number("iou_threshold", iou_threshold, 0, 1)
        self.most = check_int("most", most)

    def loss(self, student: Predictions, teacher: Predictions) -> Tensor:
        scores, boxes = self.parts(student, teacher)
        return scores + self.box_weight * boxes

    def parts(self, student: Predictions, teacher: Predictions) -> tuple[Tensor, Tensor]:
        """The loss of the scores and that of the boxes, without ``box_weight``."""
        boxes, scores = to_float32(student.boxes), self.classes.select_student(to_float32(student.scores))
        with torch.no_grad():
            soft = self.soft_targets(teacher, student.size)
            goals, counted = torch.zeros_like(scores), torch.ones_like(scores[..., 0], dtype=torch.bool)
            images, predictions, goal_boxes, box_weights = [], [], [boxes[:0, 0]], [boxes[:0, 0, 0]]
            for i, targets in enumerate(soft):
                if not len(targets.boxes):
                    continue
                match = self.match(boxes[i], scores[i], targets, student.size)
                goals[i, match.predictions] = targets.scores[match.targets] * match.qualities[:, None]
                counted[i] = ~match.ignored
                counted[i, match.predictions] = True
                images += [i] * len(match.predictions)
                predictions.append(match.predictions)
                goal_boxes.append(targets.boxes[match.targets])
                box_weights.append(targets.weights[match.targets] * match.shares)
            score_norm, box_norm = (
                sum_over_batch(torch.cat(values).sum()).clamp(min=1)
                for values in ([targets.scores.amax(-1) for targets in soft], [targets.weights for targets in soft])
            )
        score_sum = (soft_focal(scores, goals, self.beta).sum(-1) * counted).sum()
        matched = boxes[images, torch.cat(predictions)] if predictions else boxes[:0, 0]
        box_sum = ((1 - box_iou(matched, torch.cat(goal_boxes), "giou")) * torch.cat(box_weights)).sum()
        return score_sum / score_norm, box_sum / box_norm

    @torch.no_grad()
    def soft_targets(self, teacher: Predictions, size: tuple[int, int]) -> list[SoftTargets]:
        """The teacher's selected boxes, for a student whose input is of ``size`` (height, width)."""
        teacher_boxes, teacher_scores = to_float32(teacher.boxes), self.classes.select_teacher(teacher.scores)
        ratio = teacher_boxes.new_tensor([size[1] / teacher.size[1], size[0] / teacher.size[0]] * 2)
        images = []
        for boxes, scores, weights in zip(teacher_boxes, teacher_scores, self.box_weights(teacher), strict=True):
            best, labels = scores.max(-1)
            selected = (best > self.threshold).nonzero()[:, 0]
            selected = selected[nms(boxes[selected], best[selected], labels[selected], self.iou_threshold, self.most)]
            images.append(SoftTargets(boxes[selected] * ratio, scores[selected], weights[selected]))
        return images

    @abc.abstractmethod
    def match(self, boxes: Tensor, scores: Tensor, soft: SoftTargets, size: tuple[int, int]) -> Match:
        """Match the predictions of an image (``boxes`` ``[n, 4]``, ``scores`` ``[n, m]``) to soft targets."""


def overlaps_any(overlaps: Tensor) -> Tensor:
    """Which predictions overlap some target by more than ``IGNORE_IOU``: bool ``[n]`` from ``[q, n]``."""
    return (overlaps > IGNORE_IOU).any(0)
