"""Heads of searched detectors: two convolutions a level, with or without stacked ones before; optionally NMS-free.

Distances to the box sides are expectations of distributions over bins or, with ``reg_max`` 0, the exponentials of
four numbers, as FCOS has them: positive, and as easily scaled up as down. Without stacked convolutions the head is
DAMO-YOLO's ZeroHead.

The NMS-free form has a second pair of convolutions a level that is trained with one cell an object, while the first
pair is trained with many (consistent dual assignment). Both train the features: one convolution alone cannot tell an
object's best cell from its neighbors. One pair remains in the deploy form.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from search_spaces.head import Head
from zoo.boxes import anchor_points, flatten_levels, ltrb_to_xyxy, xyxy_to_ltrb
from zoo.detector import Raw
from zoo.families.parts.necks import conv3x3
from zoo.learning.assign_ota import aligned_ota
from zoo.learning.batch_share import count_over_batch, sum_over_batch
from zoo.learning.losses import box_iou, distribution_focal, in_ignored, quality_focal, zero_if_finite
from zoo.learning.targets import Targets

ONE_TO_MANY, ONE_TO_ONE = "one_to_many", "one_to_one"
PRIOR = 0.01
"""Initial score of every class."""
LAST_BIN_MARGIN = 0.1
"""Target distances are clamped to this many cells before the last bin."""


class Scale(nn.Module):
    """Multiplication by one learned number."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class ZeroHead(nn.Module):
    """Levels with ``cin`` channels to ``boxes`` and ``classes`` (logits), one map a level.

    Boxes are ``[b, 4 * (reg_max + 1), h, w]``, side by side: logits over bins or, with ``reg_max`` 0, logarithms of
    distances in cells. ``act`` is that of the stacked convolutions.
    """

    def __init__(self, cin: Sequence[int], head: Head, act: str = "relu") -> None:
        super().__init__()
        self.reg_max = head.reg_max
        self.cls_convs = nn.ModuleList(stacked_convs(c, head, act) for c in cin)
        self.box_convs = nn.ModuleList(stacked_convs(c, head, act) for c in cin)
        widths = [head.width or c for c in cin] if head.convs else cin
        self.cls = nn.ModuleList(nn.Conv2d(c, head.classes, head.k, padding=head.k // 2) for c in widths)
        self.box = nn.ModuleList(nn.Conv2d(c, head.box_channels, head.k, padding=head.k // 2) for c in widths)
        self.scales = nn.ModuleList(Scale() for _ in cin)
        for cls, box in zip(self.cls, self.box, strict=True):
            nn.init.normal_(cls.weight, std=0.01)  # type: ignore[arg-type]
            nn.init.normal_(box.weight, std=0.01)  # type: ignore[arg-type]
            nn.init.constant_(cls.bias, math.log(PRIOR / (1 - PRIOR)))  # type: ignore[arg-type]
            nn.init.zeros_(box.bias)  # type: ignore[arg-type]

    def forward(self, levels: Sequence[Tensor]) -> Raw:
        box_layers = zip(levels, self.box_convs, self.box, self.scales, strict=True)
        cls_layers = zip(levels, self.cls_convs, self.cls, strict=True)
        return {
            "boxes": [scale(box(convs(x))) for x, convs, box, scale in box_layers],
            "classes": [cls(convs(x)) for x, convs, cls in cls_layers],
        }


def stacked_convs(cin: int, head: Head, act: str) -> nn.Sequential:
    """The 3x3 convolutions before a prediction of a level with ``cin`` channels; empty where there are none."""
    widths = [cin, *([head.width or cin] * head.convs)]
    return nn.Sequential(*(conv3x3(a, b, 1, act, head.depthwise) for a, b in itertools.pairwise(widths)))


class DualZeroHead(nn.Module):
    """Two ZeroHeads: ``boxes`` and ``classes`` of the one-to-many head, ``one_to_one_...`` of the NMS-free one."""

    def __init__(self, cin: Sequence[int], head: Head, act: str = "relu") -> None:
        super().__init__()
        self.one_to_many = ZeroHead(cin, head, act)
        self.one_to_one = ZeroHead(cin, head, act)

    def forward(self, levels: Sequence[Tensor]) -> Raw:
        single = self.one_to_one(levels)
        return self.one_to_many(levels) | {f"{ONE_TO_ONE}_{name}": maps for name, maps in single.items()}


def distances(boxes: Tensor, reg_max: int) -> Tensor:
    """Distances in cells ``[b, n, 4]`` from box maps ``[b, n, 4 * (reg_max + 1)]``: expectations, or exponentials."""
    if reg_max == 0:
        return boxes.exp()
    b, n, _ = boxes.shape
    weights = boxes.reshape(b, n, 4, reg_max + 1).softmax(-1)
    return (weights * torch.arange(reg_max + 1, device=boxes.device, dtype=boxes.dtype)).sum(-1)


def zero_head_boxes(boxes: Sequence[Tensor], strides: Sequence[int], reg_max: int) -> Tensor:
    """Boxes ``[b, n, 4]`` (x1, y1, x2, y2 in pixels) from the raw box maps; cells are anchored at their corner."""
    corners, cell = anchor_points(boxes, strides, 0.0)
    reach = distances(flatten_levels(boxes), reg_max) * cell
    return ltrb_to_xyxy(reach, corners * cell)


def zero_head_losses(
    boxes: Sequence[Tensor], classes: Sequence[Tensor], targets: Targets, strides: Sequence[int], reg_max: int,
    one_to_one: bool = False,
) -> dict[str, Tensor]:  # fmt: skip
    """Losses of one ZeroHead from its raw maps: ``quality`` (quality focal loss, weight 1), ``box`` (GIoU, 2) and
    ``distribution`` (distribution focal loss, 0.25), the last one only where there are bins.

    Cells are assigned by AlignedOTA. The first loss is a mean over the positive cells, the others are means weighted by
    the best class score of each; no sum is divided by less than 1.
    """
    boxes, classes = [level.float() for level in boxes], [level.float() for level in classes]
    corners, cell = anchor_points(boxes, strides, 0.0)
    anchors = corners * cell
    logits, sides = flatten_levels(classes), flatten_levels(boxes)
    with torch.no_grad():
        predicted = ltrb_to_xyxy(distances(sides, reg_max) * cell, anchors)
    assignment = aligned_ota(predicted, logits, anchors, cell, targets, one_to_one)
    positives = assignment.positives(targets)

    qualities = torch.zeros_like(logits)
    qualities[positives.rows, positives.cells, positives.labels] = positives.ious
    supervised = assignment.positive | ~in_ignored(anchors + cell / 2, targets)
    quality = (quality_focal(logits, qualities).sum(-1) * supervised).sum() / max(count_over_batch(len(positives)), 1)

    weight = positives.select(logits.detach()).amax(-1).sigmoid()
    norm = sum_over_batch(weight.sum()).clamp(min=1)
    positive_sides = positives.select(sides)
    positive_corners, positive_cell = corners[positives.cells], cell[positives.cells]
    positive_boxes = ltrb_to_xyxy(distances(positive_sides[None], reg_max)[0], positive_corners) * positive_cell
    giou = box_iou(positive_boxes, positives.boxes, "giou")
    losses = {"quality": quality, "box": 2 * ((1 - giou) * weight).sum() / norm + zero_if_finite(sides)}
    if reg_max > 0:
        true = positives.boxes / positive_cell
        reach = xyxy_to_ltrb(positive_corners, true).clamp(0, reg_max - LAST_BIN_MARGIN)
        entropy = distribution_focal(positive_sides.unflatten(-1, (4, reg_max + 1)), reach).mean(-1)
        losses["distribution"] = 0.25 * (entropy * weight).sum() / norm
    return losses
