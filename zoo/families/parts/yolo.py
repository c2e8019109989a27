"""Modules and losses that YOLO11 and YOLO26 share: backbone, neck, head branch.

The networks are built from the published descriptions and from the tensor names and operation graphs of the official
models. ``RENAMES`` turns our tensor names into the official ones, which number the layers from 0 to 23.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.families.parts.csp_blocks import C2PSA, SPPF, Bottleneck, C2f, C3k
from zoo.layers import ConvBNAct, set_batch_norms
from zoo.learning.assign_task import TaskAlignedAssigner
from zoo.learning.batch_share import sum_over_batch
from zoo.learning.losses import box_iou, in_ignored, to_float32
from zoo.learning.targets import Targets

PRIOR_OBJECTS = 5
"""Objects expected in a fresh network's image of ``PRIOR_PX`` a side: the class biases start there."""
PRIOR_PX = 640

RENAMES = (
    (r"^backbone\.stem\.", "model.0."),
    (r"^backbone\.down2\.", "model.1."),
    (r"^backbone\.stage2\.", "model.2."),
    (r"^backbone\.down3\.", "model.3."),
    (r"^backbone\.stage3\.", "model.4."),
    (r"^backbone\.down4\.", "model.5."),
    (r"^backbone\.stage4\.", "model.6."),
    (r"^backbone\.down5\.", "model.7."),
    (r"^backbone\.stage5\.", "model.8."),
    (r"^backbone\.pyramid\.", "model.9."),
    (r"^backbone\.attention\.", "model.10."),
    (r"^neck\.lateral4\.", "model.13."),
    (r"^neck\.out3\.", "model.16."),
    (r"^neck\.down3\.", "model.17."),
    (r"^neck\.out4\.", "model.19."),
    (r"^neck\.down4\.", "model.20."),
    (r"^neck\.out5\.", "model.22."),
    (r"\.conv([123])\.", r".cv\1."),
    (r"\.blocks\.", ".m."),
    (r"\.attention\.", ".attn."),
    (r"\.project\.", ".proj."),
    (r"\.position\.", ".pe."),
)
"""From our tensor names to the official ones, backbone and neck; each family adds its head's."""


@dataclass(frozen=True, slots=True)
class Size:
    """The settings of one size."""

    width: float
    """Factor on all channels."""
    depth: float
    """Factor on the blocks in a stage: 2 at depth 1."""
    max_channels: int
    """Most channels before ``width``."""
    nested: bool
    """Whether all blocks are C3k, or only those that are C3k in the small sizes too."""

    def channels(self, base: int) -> int:
        """Channels of a layer that has ``base`` at width 1, in eights."""
        return math.ceil(min(base, self.max_channels) * self.width / 8) * 8

    @property
    def repeats(self) -> int:
        """Blocks in a stage."""
        return max(round(2 * self.depth), 1)


SIZES: Mapping[str, Size] = {
    "n": Size(0.25, 0.5, 1024, nested=False),
    "s": Size(0.5, 0.5, 1024, nested=False),
    "m": Size(1.0, 0.5, 512, nested=True),
    "l": Size(1.0, 1.0, 512, nested=True),
    "x": Size(1.5, 1.0, 512, nested=True),
}
"""The letter that ends a model's name to its settings; both families have the same."""


class Backbone(nn.Module):
    """``[b, 3, h, w]`` to C3, C4, C5 of strides 8, 16, 32; ``residual_pyramid`` as in ``SPPF``."""

    def __init__(self, size: Size, residual_pyramid: bool) -> None:
        super().__init__()
        stem, c2, c3, c4, c5 = (size.channels(base) for base in (64, 128, 256, 512, 1024))
        early = C3k if size.nested else Bottleneck
        self.stem = ConvBNAct(3, stem, 3, 2)
        self.down2 = ConvBNAct(stem, c2, 3, 2)
        self.stage2 = C2f(c2, c3 // 4, c3, size.repeats, early)
        self.down3 = ConvBNAct(c3, c3, 3, 2)
        self.stage3 = C2f(c3, c4 // 4, c4, size.repeats, early)
        self.down4 = ConvBNAct(c4, c4, 3, 2)
        self.stage4 = C2f(c4, c4 // 2, c4, size.repeats, C3k)
        self.down5 = ConvBNAct(c4, c5, 3, 2)
        self.stage5 = C2f(c5, c5 // 2, c5, size.repeats, C3k)
        self.pyramid = SPPF(c5, c5 // 2, c5, residual=residual_pyramid)
        self.attention = C2PSA(c5, c5 // 2, c5, size.repeats)
        self.channels = (c4, c4, c5)
        """Channels of C3, C4, C5."""

    def forward(self, image: Tensor) -> list[Tensor]:
        c3 = self.stage3(self.down3(self.stage2(self.down2(self.stem(image)))))
        c4 = self.stage4(self.down4(c3))
        c5 = self.attention(self.pyramid(self.stage5(self.down5(c4))))
        return [c3, c4, c5]


class Neck(nn.Module):
    """C3, C4, C5 to P3, P4, P5: a way up to stride 8 and a way down again, a C2f stage after each join.

    ``block`` makes the blocks of all levels but the last, ``last`` makes those of P5, ``last_repeats`` of them.
    """

    def __init__(
        self,
        channels: Sequence[int],
        size: Size,
        block: Callable[[int], nn.Module],
        last: Callable[[int], nn.Module],
        last_repeats: int,
    ) -> None:
        super().__init__()
        c3, c4, c5 = channels
        p3, p4, p5 = (size.channels(base) for base in (256, 512, 1024))
        self.lateral4 = C2f(c5 + c4, p4 // 2, p4, size.repeats, block)
        self.out3 = C2f(p4 + c3, p3 // 2, p3, size.repeats, block)
        self.down3 = ConvBNAct(p3, p3, 3, 2)
        self.out4 = C2f(p3 + p4, p4 // 2, p4, size.repeats, block)
        self.down4 = ConvBNAct(p4, p4, 3, 2)
        self.out5 = C2f(p4 + c5, p5 // 2, p5, last_repeats, last)
        self.channels = (p3, p4, p5)
        """Channels of P3, P4, P5."""

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        c3, c4, c5 = maps
        lateral4 = self.lateral4(torch.cat([F.interpolate(c5, scale_factor=2, mode="nearest"), c4], 1))
        p3 = self.out3(torch.cat([F.interpolate(lateral4, scale_factor=2, mode="nearest"), c3], 1))
        p4 = self.out4(torch.cat([self.down3(p3), lateral4], 1))
        p5 = self.out5(torch.cat([self.down4(p4), c5], 1))
        return [p3, p4, p5]


def predictor(cin: int, cout: int, bias: float) -> nn.Conv2d:
    """The 1x1 convolution that ends a branch, all its biases at ``bias``."""
    conv = nn.Conv2d(cin, cout, 1)
    conv.bias = nn.Parameter(torch.full((cout,), bias))
    return conv


class Branch(nn.Module):
    """Box and class convolutions of every level.

    P3, P4, P5 to ``boxes`` ``[b, box_channels, h, w]`` and ``classes`` ``[b, classes, h, w]`` (logits), one a level.
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], box_channels: int, classes: int, box_bias: float
    ) -> None:
        super().__init__()
        box_mid = max(16, channels[0] // 4, box_channels)
        class_mid = max(channels[0], min(classes, 100))
        self.boxes = nn.ModuleList(
            nn.Sequential(
                ConvBNAct(c, box_mid, 3), ConvBNAct(box_mid, box_mid, 3), predictor(box_mid, box_channels, box_bias)
            )
            for c in channels
        )
        self.classes = nn.ModuleList(
            nn.Sequential(
                nn.Sequential(ConvBNAct(c, c, 3, g=c), ConvBNAct(c, class_mid)),
                nn.Sequential(ConvBNAct(class_mid, class_mid, 3, g=class_mid), ConvBNAct(class_mid, class_mid)),
                predictor(class_mid, classes, math.log(PRIOR_OBJECTS / classes / (PRIOR_PX / stride) ** 2)),
            )
            for c, stride in zip(channels, strides, strict=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        return {
            "boxes": [level(x) for level, x in zip(self.boxes, maps, strict=True)],
            "classes": [level(x) for level, x in zip(self.classes, maps, strict=True)],
        }


def set_norms(module: nn.Module) -> None:
    """Set the batch norm options of both families."""
    set_batch_norms(module, eps=1e-3, momentum=0.03)


def count_classes(shapes: Mapping[str, Sequence[int]]) -> int:
    """Number of classes from official tensor names and shapes."""
    return shapes["model.23.cv3.0.2.bias"][0]


@dataclass(frozen=True, slots=True)
class TaskAlignedLosses:
    """The unweighted class and box losses of one branch, and its p positive cells with their boxes."""

    class_loss: Tensor
    box_loss: Tensor
    images: Tensor
    """int64 ``[p]``."""
    cells: Tensor
    """int64 ``[p]``."""
    truth: Tensor
    """``[p, 4]``: their ground-truth boxes, in pixels."""
    shares: Tensor
    """``[p]``: weight of each cell in the box losses; they sum to 1, or to less where qualities are small."""


def task_aligned_losses(
    logits: Tensor, boxes: Tensor, centers: Tensor, targets: Targets, assign: TaskAlignedAssigner
) -> TaskAlignedLosses:
    """Assign cells to objects and compute class and box loss.

    ``logits`` are ``[b, n, classes]``, ``boxes`` ``[b, n, 4]`` in pixels.

    Class loss: binary cross entropy to the assigned quality, summed over all cells and classes but those that lie in
    ignored regions. Box loss: 1 - CIoU, weighted by quality. Both are over the sum of the qualities, at least 1.
    ``centers`` ``[n, 2]`` are in pixels.
    """
    logits, boxes = to_float32(logits), to_float32(boxes)
    assignment = assign(logits.detach().sigmoid(), boxes.detach(), centers, targets)
    positive = assignment.objects >= 0
    images, cells = positive.nonzero(as_tuple=True)
    objects, qualities = assignment.objects[images, cells], assignment.qualities[images, cells]
    total = sum_over_batch(qualities.sum()).clamp(min=1)

    target_scores = torch.zeros_like(logits)
    target_scores[images, cells, torch.cat(targets.labels)[objects]] = qualities.to(target_scores.dtype)
    supervised = positive | ~in_ignored(centers, targets)
    entropy = F.binary_cross_entropy_with_logits(logits, target_scores, reduction="none").sum(-1)

    truth, shares = torch.cat(targets.boxes)[objects], qualities / total
    box_loss = ((1 - box_iou(boxes[images, cells], truth, "ciou")) * shares).sum()
    # not a product, because 0 times infinity is not 0
    class_loss = torch.where(supervised, entropy, torch.zeros_like(entropy)).sum() / total
    return TaskAlignedLosses(class_loss, box_loss, images, cells, truth, shares)
