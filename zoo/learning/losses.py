"""What losses are made of: overlaps of boxes and the focal losses, each element for itself; the family sums and weighs.

Everything is computed in float32 (float64 stays), whatever precision the network runs in. Boxes are x1, y1, x2, y2.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from workbench.errors import unknown_name
from zoo.learning.targets import Targets, inside
from zoo.nms import iou_matrix

Overlap: TypeAlias = Literal["iou", "giou", "ciou"]

AREA_EPS = 1e-9
"""Least divisor of an overlap, in squared units of the boxes: keeps gradients of empty boxes finite."""


def to_float32(x: Tensor) -> Tensor:
    """``x`` in float32, or in float64 if it has it."""
    return x if x.dtype == torch.float64 else x.float()


def box_iou(a: Tensor, b: Tensor, kind: Overlap = "iou") -> Tensor:
    """Overlap of each box of ``a`` ``[..., 4]`` with the one of ``b`` ``[..., 4]`` at its place (broadcast): ``[...]``.

    ``iou`` is intersection over union, 0..1. ``giou`` takes off the share of the smallest enclosing box that the union
    leaves empty, down to -1 (Rezatofighi et al. 2019). ``ciou`` takes off the distance of the centres and the difference
    of the aspect ratios, whose weight is held constant in the gradient (Zheng et al. 2020).
    """
    if kind not in get_args(Overlap):
        raise unknown_name("overlap", kind, get_args(Overlap))
    a, b = to_float32(a), to_float32(b)
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    size_a, size_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    inter = (high - low).clamp(min=0).prod(-1)
    union = size_a.clamp(min=0).prod(-1) + size_b.clamp(min=0).prod(-1) - inter
    iou = inter / union.clamp(min=AREA_EPS)
    if kind == "iou":
        return iou
    around = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    if kind == "giou":
        area = around.prod(-1).clamp(min=AREA_EPS)
        return iou - (area - union) / area
    apart = ((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2).square().sum(-1)
    diagonal = around.square().sum(-1).clamp(min=AREA_EPS)
    turn = _angle(size_a) - _angle(size_b)
    aspect = 4 / math.pi**2 * turn.square()
    with torch.no_grad():
        weight = aspect / (1 - iou + aspect).clamp(min=1e-7)
    return iou - apart / diagonal - weight * aspect


def _angle(size: Tensor) -> Tensor:
    """The angle whose tangent is width over height, from sizes ``[..., 2]``."""
    width, height = size.clamp(min=0).unbind(-1)
    return torch.atan(width / height.clamp(min=1e-7))


def iou_pairwise(a: Tensor, b: Tensor, kind: Overlap = "iou") -> Tensor:
    """Overlap of every box of ``a`` ``[..., n, 4]`` with every box of ``b`` ``[..., m, 4]``: ``[..., n, m]``.

    ``iou`` has no gradient: it serves assignment.
    """
    if kind == "iou":
        return iou_matrix(a, b)
    return box_iou(a[..., :, None, :], b[..., None, :, :], kind)


def quality_focal(logits: Tensor, qualities: Tensor, beta: float = 2.0) -> Tensor:
    """Quality focal loss of every ``logits`` ``[...]`` for a true quality 0..1 of the same shape (Li et al. 2020).

    Binary cross entropy times the difference of score and quality to the power ``beta``; background has quality 0.
    """
    logits = to_float32(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, qualities, reduction="none")
    return entropy * (qualities - logits.sigmoid()).abs().pow(beta)


def distribution_focal(logits: Tensor, distances: Tensor) -> Tensor:
    """Distribution focal loss ``[...]`` of ``logits`` ``[..., bins]`` for true ``distances`` ``[...]`` in bins (Li et al. 2020).

    Cross entropy to the two bins beside the distance, each with the share that the nearness to it gives. A distance is
    0 to bins - 1.
    """
    scores = F.log_softmax(to_float32(logits), -1)
    distances = to_float32(distances)
    left = distances.detach().floor().clamp(0, logits.shape[-1] - 2)
    right_share = distances - left
    at = left.long()[..., None]
    at_left, at_right = scores.gather(-1, at)[..., 0], scores.gather(-1, at + 1)[..., 0]
    return -(at_left * (1 - right_share) + at_right * right_share)


def varifocal(logits: Tensor, qualities: Tensor, positive: Tensor, alpha: float = 0.75, gamma: float = 2.0) -> Tensor:
    """Varifocal loss of every ``logits`` ``[...]`` (Zhang et al. 2021).

    Where ``positive`` (bool, same shape) the binary cross entropy to the true quality 0..1, times that quality; elsewhere
    that to 0, times ``alpha`` and the score to the power ``gamma``. Weights are held constant in the gradient.
    """
    logits = to_float32(logits)
    goal = torch.where(positive, qualities, torch.zeros_like(logits))
    weight = torch.where(positive, goal, alpha * logits.detach().sigmoid().pow(gamma))
    return F.binary_cross_entropy_with_logits(logits, goal, reduction="none") * weight


def in_ignored(centres: Tensor, targets: Targets) -> Tensor:
    """Which cells are not to be taught as background, bool ``[b, n]``: those with their centre in an ignored region.

    ``centres`` ``[n, 2]`` are x, y in pixels of the input.
    """
    return torch.stack([inside(centres, regions) for regions in targets.ignored])


def zero_if_finite(*raw: Tensor) -> Tensor:
    """0, or not a number if any element is infinite or not a number: no assignment can hide an overflow then."""
    return torch.stack([to_float32(one.detach()).sum() * 0 for one in raw]).sum()
