"""Elementwise losses: box overlaps and focal losses. The family sums and weights them.

Computed in float32 (float64 stays), whatever precision the network runs in. Boxes are x1, y1, x2, y2.
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
"""Smallest divisor of an overlap, in squared units of the boxes: keeps gradients of empty boxes finite."""


def to_float32(x: Tensor) -> Tensor:
    """``x`` in float32; float64 stays."""
    return x if x.dtype == torch.float64 else x.float()


def box_iou(a: Tensor, b: Tensor, kind: Overlap = "iou") -> Tensor:
    """Elementwise overlap ``[...]`` of boxes ``a`` ``[..., 4]`` and ``b`` ``[..., 4]`` (broadcast).

    ``iou`` is intersection over union, 0..1. ``giou`` subtracts the share of the smallest enclosing box that the union
    leaves empty, down to -1 (Rezatofighi et al. 2019). ``ciou`` subtracts the distance of the centers and the
    difference of the aspect ratios, whose weight has no gradient (Zheng et al. 2020).
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
    enclosing = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    if kind == "giou":
        area = enclosing.prod(-1).clamp(min=AREA_EPS)
        return iou - (area - union) / area
    distance = ((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2).square().sum(-1)
    diagonal = enclosing.square().sum(-1).clamp(min=AREA_EPS)
    angle = _angle(size_a) - _angle(size_b)
    aspect = 4 / math.pi**2 * angle.square()
    with torch.no_grad():
        weight = aspect / (1 - iou + aspect).clamp(min=1e-7)
    return iou - distance / diagonal - weight * aspect


def _angle(size: Tensor) -> Tensor:
    """Arctangent of width over height, from sizes ``[..., 2]``."""
    width, height = size.clamp(min=0).unbind(-1)
    return torch.atan(width / height.clamp(min=1e-7))


def iou_pairwise(a: Tensor, b: Tensor, kind: Overlap = "iou") -> Tensor:
    """Overlap of every box of ``a`` ``[..., n, 4]`` with every box of ``b`` ``[..., m, 4]``: ``[..., n, m]``.

    ``iou`` has no gradient: it is for assignment.
    """
    if kind == "iou":
        return iou_matrix(a, b)
    return box_iou(a[..., :, None, :], b[..., None, :, :], kind)


def quality_focal(logits: Tensor, qualities: Tensor, beta: float = 2.0) -> Tensor:
    """Quality focal loss ``[...]`` of ``logits`` ``[...]`` for target ``qualities`` ``[...]`` in 0..1 (Li et al. 2020).

    Binary cross entropy times the distance of score and quality to the power ``beta``; background has quality 0.
    """
    logits = to_float32(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, qualities, reduction="none")
    return entropy * (qualities - logits.sigmoid()).abs().pow(beta)


def distribution_focal(logits: Tensor, distances: Tensor) -> Tensor:
    """Distribution focal loss ``[...]`` of ``logits`` ``[..., bins]`` for ``distances`` ``[...]`` (Li et al. 2020).

    Cross entropy to the two bins next to the distance, weighted by linear interpolation. Distances are 0 to bins - 1.
    """
    scores = F.log_softmax(to_float32(logits), -1)
    distances = to_float32(distances)
    left = distances.detach().floor().clamp(0, logits.shape[-1] - 2)
    right_share = distances - left
    at = left.long()[..., None]
    at_left, at_right = scores.gather(-1, at)[..., 0], scores.gather(-1, at + 1)[..., 0]
    return -(at_left * (1 - right_share) + at_right * right_share)


def varifocal(logits: Tensor, qualities: Tensor, positive: Tensor, alpha: float = 0.75, gamma: float = 2.0) -> Tensor:
    """Varifocal loss ``[...]`` of ``logits`` ``[...]`` (Zhang et al. 2021).

    Where ``positive`` (bool, same shape): binary cross entropy to the target quality 0..1, times that quality.
    Elsewhere: to 0, times ``alpha`` and the score to the power ``gamma``. The weights have no gradient.
    """
    logits = to_float32(logits)
    target = torch.where(positive, qualities, torch.zeros_like(logits))
    weight = torch.where(positive, target, alpha * logits.detach().sigmoid().pow(gamma))
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none") * weight


def in_ignored(centers: Tensor, targets: Targets) -> Tensor:
    """Mask ``[b, n]`` of the cells whose center is in an ignored region; they are no background.

    ``centers`` ``[n, 2]`` are x, y in pixels of the input.
    """
    return torch.stack([inside(centers, regions) for regions in targets.ignored])


def zero_if_finite(*raw: Tensor) -> Tensor:
    """0, or NaN if any element is not finite: added to a loss, it keeps the assignment from hiding an overflow."""
    return torch.stack([to_float32(tensor.detach()).sum() * 0 for tensor in raw]).sum()
