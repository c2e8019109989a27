"""YOLO11 (Jocher and Qiu, 2024), sizes n to x: anchor-free, box sides as distributions, NMS.

Training: task-aligned assignment (TOOD) of ten cells an object with exponents 0.5 and 6; CIoU, distribution focal loss
and binary cross entropy to the alignment, weighted 7.5, 1.5 and 0.5 as in the published settings. Losses and gradients
equal those measured on the official code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from zoo.boxes import anchor_points, flatten_levels, ltrb_to_xyxy, xyxy_to_cxcywh, xyxy_to_ltrb
from zoo.detector import Detector, Raw, Recipe
from zoo.families.family import Family
from zoo.families.parts.csp_blocks import Bottleneck, C3k
from zoo.families.parts.yolo import (
    RENAMES,
    SIZES,
    Backbone,
    Branch,
    Neck,
    Size,
    count_classes,
    set_norms,
    task_aligned_losses,
)
from zoo.images import Preprocess
from zoo.learning.assign_task import TaskAlignedAssigner
from zoo.learning.losses import distribution_focal, to_float32
from zoo.learning.targets import Phase, Targets
from zoo.nms import Selection

BINS = 16
"""Bins of the distance of a box side: 0 to 15 strides."""
LARGEST_DISTANCE = BINS - 1.01
"""Longer distances of a box side are learned as this (strides)."""
BOX_WEIGHT, CLASS_WEIGHT, DISTRIBUTION_WEIGHT = 7.5, 0.5, 1.5


class ExpectedDistance(nn.Module):
    """Logits over the bins ``[b, 4 * BINS, n]`` to expected distances ``[b, 4, n]``.

    As in the official code, the distances of the bins are the weight of a convolution that is never trained.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(BINS, 1, 1, bias=False)
        distances = torch.arange(BINS, dtype=torch.float32).reshape(1, BINS, 1, 1)
        self.conv.weight = nn.Parameter(distances, requires_grad=False)

    def forward(self, logits: Tensor) -> Tensor:
        bins = logits.reshape(logits.shape[0], 4, BINS, logits.shape[2]).transpose(1, 2).softmax(1)
        # the logits may be float32 where the head has half precision
        return self.conv(bins.to(self.conv.weight.dtype)).flatten(1, 2)


class Head(Branch):
    """P3, P4, P5 to ``boxes``, ``[b, 64, h, w]`` a level, and ``classes``, ``[b, classes, h, w]`` a level (logits).

    The 64 box channels are the logits of 16 distances for each of left, top, right, bottom.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], classes: int) -> None:
        super().__init__(channels, strides, 4 * BINS, classes, box_bias=1.0)
        self.distance = ExpectedDistance()


class YOLO11(Detector):
    """YOLO11 in one of its sizes."""

    family = "yolo11"
    anchor_offset = 0.5
    preprocess = Preprocess("rgb", 1 / 255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "letterbox-center", 114)
    selections: Mapping[str, Selection] = {"one_to_many": Selection(0.001, 0.7, True, 30000, 300)}
    loss_counts_images = True
    assign = TaskAlignedAssigner(topk=10)
    head: Head

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        size: Size = FAMILY.sizes[recipe.model]
        self.backbone = backbone = Backbone(size, residual_pyramid=False)
        self.neck = neck = Neck(
            backbone.channels, size, block=C3k if size.nested else Bottleneck, last=C3k, last_repeats=size.repeats
        )
        self.head = Head(neck.channels, self.strides, recipe.classes)
        set_norms(self)

    def boxes(self, raw: Raw, size: tuple[int, int]) -> Tensor:
        return self._boxes(raw["boxes"])

    def scores(self, raw: Raw) -> Tensor:
        return flatten_levels(raw["classes"]).sigmoid()

    def distributions(self, raw: Raw) -> Tensor:
        return flatten_levels(raw["boxes"]).unflatten(-1, (4, BINS))

    def _boxes(self, maps: Sequence[Tensor]) -> Tensor:
        """x1, y1, x2, y2 in pixels ``[b, n, 4]`` from the raw box maps."""
        distances = self.head.distance(torch.cat([level.flatten(2) for level in maps], 2)).transpose(1, 2)
        centers, strides = anchor_points(maps, self.strides, 0.5)
        return ltrb_to_xyxy(distances, centers) * strides

    def loss(self, raw: Raw, targets: Targets, size: tuple[int, int], phase: Phase) -> dict[str, Tensor]:
        """``box`` (CIoU), ``classes`` and ``distribution`` (of the distances of the box sides)."""
        maps = [to_float32(level) for level in raw["boxes"]]
        with torch.autocast(maps[0].device.type, enabled=False):  # the expected distance is a convolution
            boxes = self._boxes(maps)
        centers, strides = anchor_points(maps, self.strides, 0.5)
        aligned = task_aligned_losses(flatten_levels(raw["classes"]), boxes, centers * strides, targets, self.assign)
        bins = flatten_levels(maps)[aligned.images, aligned.cells].reshape(-1, 4, BINS)
        distances = xyxy_to_ltrb(centers[aligned.cells], aligned.truth / strides[aligned.cells])
        distances = distances.clamp(0, LARGEST_DISTANCE)
        distribution_loss = (distribution_focal(bins, distances).mean(-1) * aligned.shares).sum()
        return {
            "box": BOX_WEIGHT * len(targets) * aligned.box_loss,
            "classes": CLASS_WEIGHT * len(targets) * aligned.class_loss,
            "distribution": DISTRIBUTION_WEIGHT * len(targets) * distribution_loss,
        }

    def official_outputs(self, image: Tensor) -> dict[str, Tensor]:
        maps = self.features(image)
        boxes, scores = self.decode(self.head(maps), (image.shape[-2], image.shape[-1]))
        decoded = torch.cat([xyxy_to_cxcywh(boxes), scores], 2).transpose(1, 2)
        return {**dict(zip(("neck_p3", "neck_p4", "neck_p5"), maps, strict=True)), "decoded": decoded}


FAMILY = Family(
    name="yolo11",
    title="YOLO11",
    sizes={f"yolo11{letter}": size for letter, size in SIZES.items()},
    make=YOLO11,
    landmark=r"model\.22\.m\.0\.cv3\.conv\.weight",
    count_classes=count_classes,
    renames=(
        (r"^head\.boxes\.", "model.23.cv2."),
        (r"^head\.classes\.", "model.23.cv3."),
        (r"^head\.distance\.", "model.23.dfl."),
        *RENAMES,
    ),
    recipe="yolo11",
)
