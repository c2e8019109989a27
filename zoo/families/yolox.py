"""YOLOX: CSP backbone, PAFPN and a decoupled anchor-free head (Ge et al., "YOLOX: Exceeding YOLO Series in 2021").

Nano is the one size with depth-wise 3x3 convolutions; all others differ in depth and width alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.boxes import anchor_points, cxcywh_to_xyxy, flatten_levels, xyxy_to_cxcywh
from zoo.detector import Detector, Raw, Recipe
from zoo.families.family import Family
from zoo.images import Preprocess
from zoo.layers import SPP, ConvBNAct, Focus, SkippableBlock, set_batch_norms
from zoo.learning.assign_ota import sim_ota
from zoo.learning.batch_share import count_over_batch
from zoo.learning.losses import box_iou, in_ignored, to_float32, zero_if_finite
from zoo.learning.targets import Phase, Targets
from zoo.nms import Selection

PRIOR = 0.01
"""Initial objectness and class probability."""


@dataclass(frozen=True, slots=True)
class Size:
    """One size: multipliers of depth and width, and whether 3x3 convolutions are depth-wise and then 1x1."""

    depth: float
    width: float
    depthwise: bool = False

    def channels(self, full: int) -> int:
        """Channels where the full-width network has ``full``."""
        return int(full * self.width)

    @property
    def blocks(self) -> int:
        """Bottlenecks in a short stage; the long ones have three times as many."""
        return max(round(3 * self.depth), 1)

    @property
    def conv(self) -> Callable[..., nn.Module]:
        """Maker of the 3x3 convolutions, called as ``(cin, cout, k, s)``."""
        return DepthwiseConv if self.depthwise else ConvBNAct


SIZES = {
    "yolox-nano": Size(0.33, 0.25, depthwise=True),
    "yolox-tiny": Size(0.33, 0.375),
    "yolox-s": Size(0.33, 0.50),
    "yolox-m": Size(0.67, 0.75),
    "yolox-l": Size(1.00, 1.00),
    "yolox-x": Size(1.33, 1.25),
}
"""Model name to its settings."""


class DepthwiseConv(nn.Sequential):
    """Depth-wise kxk convolution, then 1x1; batch norm and SiLU after both."""

    def __init__(self, cin: int, cout: int, k: int, s: int = 1) -> None:
        super().__init__()
        self.dconv = ConvBNAct(cin, cin, k, s, g=cin)
        self.pconv = ConvBNAct(cin, cout)


class Bottleneck(SkippableBlock):
    """1x1 and 3x3 at constant width ``c``; the input is added when ``shortcut``."""

    branch_parts = ("conv1", "conv2")

    def __init__(self, c: int, shortcut: bool, conv: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.conv1 = ConvBNAct(c, c)
        self.conv2 = conv(c, c, 3)
        self.shortcut = shortcut

    @property
    def skippable(self) -> bool:
        return self.shortcut

    def forward(self, x: Tensor) -> Tensor:
        if self.skipped:
            return x
        y = self.conv2(self.conv1(x))
        return y + x if self.shortcut else y


class CSP(nn.Module):
    """Two 1x1 branches of half width, ``n`` bottlenecks on the first, concatenated and mixed: ``cin`` to ``cout``."""

    def __init__(self, cin: int, cout: int, n: int, shortcut: bool, conv: Callable[..., nn.Module]) -> None:
        super().__init__()
        half = cout // 2
        self.conv1 = ConvBNAct(cin, half)
        self.conv2 = ConvBNAct(cin, half)
        self.conv3 = ConvBNAct(2 * half, cout)
        self.m = nn.Sequential(*(Bottleneck(half, shortcut, conv) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(torch.cat([self.m(self.conv1(x)), self.conv2(x)], 1))


class Backbone(nn.Module):
    """``[b, 3, h, w]`` to C3, C4, C5 of 256, 512, 1024 channels times the width."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        c1, c2, c3, c4, c5 = (size.channels(c) for c in (64, 128, 256, 512, 1024))
        n, conv = size.blocks, size.conv
        self.stem = Focus(3, c1)
        self.stage2 = nn.Sequential(conv(c1, c2, 3, 2), CSP(c2, c2, n, True, conv))
        self.stage3 = nn.Sequential(conv(c2, c3, 3, 2), CSP(c3, c3, 3 * n, True, conv))
        self.stage4 = nn.Sequential(conv(c3, c4, 3, 2), CSP(c4, c4, 3 * n, True, conv))
        self.stage5 = nn.Sequential(conv(c4, c5, 3, 2), SPP(c5, c5), CSP(c5, c5, n, False, conv))

    def forward(self, image: Tensor) -> list[Tensor]:
        c3 = self.stage3(self.stage2(self.stem(image)))
        c4 = self.stage4(c3)
        return [c3, c4, self.stage5(c4)]


class Neck(nn.Module):
    """C3, C4, C5 to P3, P4, P5 of the same shapes: top down by upsampling, then bottom up by strided convolutions."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        c3, c4, c5 = (size.channels(c) for c in (256, 512, 1024))
        n, conv = size.blocks, size.conv
        self.lateral5 = ConvBNAct(c5, c4)
        self.top_down4 = CSP(2 * c4, c4, n, False, conv)
        self.lateral4 = ConvBNAct(c4, c3)
        self.top_down3 = CSP(2 * c3, c3, n, False, conv)
        self.down3 = conv(c3, c3, 3, 2)
        self.bottom_up4 = CSP(2 * c3, c4, n, False, conv)
        self.down4 = conv(c4, c4, 3, 2)
        self.bottom_up5 = CSP(2 * c4, c5, n, False, conv)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        c3, c4, c5 = features
        side5 = self.lateral5(c5)
        side4 = self.lateral4(self.top_down4(torch.cat([_upsample(side5), c4], 1)))
        p3 = self.top_down3(torch.cat([_upsample(side4), c3], 1))
        p4 = self.bottom_up4(torch.cat([self.down3(p3), side4], 1))
        p5 = self.bottom_up5(torch.cat([self.down4(p4), side5], 1))
        return [p3, p4, p5]


class Head(nn.Module):
    """P3, P4, P5 to lists of one map a level: ``boxes`` ``[b, 4, h, w]`` (offsets of the center from the cell's corner
    in cells, logarithms of width and height in cells), ``objectness`` ``[b, 1, h, w]`` and ``classes``
    ``[b, classes, h, w]``, both before the sigmoid.
    """

    def __init__(self, size: Size, classes: int) -> None:
        super().__init__()
        width = size.channels(256)
        levels = [size.channels(c) for c in (256, 512, 1024)]

        def branch() -> nn.Module:
            return nn.Sequential(size.conv(width, width, 3), size.conv(width, width, 3))

        self.stems = nn.ModuleList(ConvBNAct(c, width) for c in levels)
        self.class_convs = nn.ModuleList(branch() for _ in levels)
        self.box_convs = nn.ModuleList(branch() for _ in levels)
        self.class_preds = nn.ModuleList(nn.Conv2d(width, classes, 1) for _ in levels)
        self.box_preds = nn.ModuleList(nn.Conv2d(width, 4, 1) for _ in levels)
        self.objectness_preds = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in levels)
        for pred in (*self.class_preds, *self.objectness_preds):
            nn.init.constant_(pred.bias, math.log(PRIOR / (1 - PRIOR)))

    def forward(self, features: Sequence[Tensor]) -> Raw:
        raw: dict[str, list[Tensor]] = {"boxes": [], "objectness": [], "classes": []}
        for i, feature in enumerate(features):
            x = self.stems[i](feature)
            raw["classes"].append(self.class_preds[i](self.class_convs[i](x)))
            x = self.box_convs[i](x)
            raw["boxes"].append(self.box_preds[i](x))
            raw["objectness"].append(self.objectness_preds[i](x))
        return raw


class YOLOX(Detector):
    """YOLOX of any size."""

    family = "yolox"
    anchor_offset = 0.5
    preprocess = Preprocess(order="bgr", scale=1.0, resize="letterbox-corner")
    selections: Mapping[str, Selection] = {
        "one_to_many": Selection(
            score_threshold=0.01, iou_threshold=0.65, multi_label=False, max_candidates=None, max_detections=None
        )
    }

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        size = SIZES[recipe.model]
        self.backbone = Backbone(size)
        self.neck = Neck(size)
        self.head = Head(size, recipe.classes)
        set_batch_norms(self, eps=1e-3, momentum=0.03)

    def boxes(self, raw: Raw, size: tuple[int, int]) -> Tensor:
        return cxcywh_to_xyxy(self._cxcywh(raw))

    def scores(self, raw: Raw) -> Tensor:
        """Objectness times class probability."""
        objectness, classes = self._probabilities(raw)
        return objectness * classes

    def loss(self, raw: Raw, targets: Targets, size: tuple[int, int], phase: Phase) -> dict[str, Tensor]:
        """``box`` (1 - IoU squared, weight 5), ``objectness`` and ``classes`` (binary cross entropy) and, while
        ``phase.closing``, ``l1`` (L1 on the raw boxes).

        Cells are assigned by SimOTA; the target score of the true class is the IoU of the predicted box. All losses are
        sums divided by the number of positive cells, at least 1.
        """
        maps = {name: [to_float32(level) for level in levels] for name, levels in raw.items()}
        corners, cell = anchor_points(maps["boxes"], self.strides, 0.0)
        offsets, objectness, logits = (flatten_levels(maps[name]) for name in ("boxes", "objectness", "classes"))
        boxes = cxcywh_to_xyxy(_in_pixels(offsets, corners, cell))
        centers = (corners + 0.5) * cell
        assignment = sim_ota(boxes, logits, objectness, centers, cell, targets)
        positives = assignment.positives(targets)
        count = max(count_over_batch(len(positives)), 1)

        supervised = assignment.positive | ~in_ignored(centers, targets)
        entropy = F.binary_cross_entropy_with_logits(objectness[..., 0], assignment.positive.float(), reduction="none")
        overlaps = box_iou(positives.select(boxes), positives.boxes)
        target_scores = F.one_hot(positives.labels, self.classes) * positives.ious[:, None]
        class_entropy = F.binary_cross_entropy_with_logits(positives.select(logits), target_scores, reduction="sum")
        losses = {
            "box": 5 * (1 - overlaps.square()).sum() / count + zero_if_finite(offsets, logits),
            "objectness": (entropy * supervised).sum() / count,
            "classes": class_entropy / count,
        }
        if phase.closing:
            positive_cell = cell[positives.cells]
            true = xyxy_to_cxcywh(positives.boxes) / positive_cell
            target_offsets = torch.cat([true[:, :2] - corners[positives.cells], true[:, 2:].clamp(min=1e-8).log()], -1)
            losses["l1"] = (positives.select(offsets) - target_offsets).abs().sum() / count
        return losses

    def official_outputs(self, image: Tensor) -> dict[str, Tensor]:
        """``neck_p3`` to ``neck_p5``, and ``decoded`` ``[b, n, 5 + classes]``: cx, cy, w, h, objectness, classes."""
        features = self.features(image)
        raw = self.head(features)
        named = {f"neck_p{level}": feature for level, feature in zip((3, 4, 5), features, strict=True)}
        return {**named, "decoded": torch.cat([self._cxcywh(raw), *self._probabilities(raw)], -1)}

    def _cxcywh(self, raw: Raw) -> Tensor:
        """Boxes cx, cy, w, h ``[b, n, 4]`` in input pixels."""
        corners, strides = anchor_points(raw["boxes"], self.strides, 0.0)
        return _in_pixels(flatten_levels(raw["boxes"]), corners, strides)

    @staticmethod
    def _probabilities(raw: Raw) -> tuple[Tensor, Tensor]:
        """Objectness ``[b, n, 1]`` and classes ``[b, n, classes]``."""
        return flatten_levels(raw["objectness"]).sigmoid(), flatten_levels(raw["classes"]).sigmoid()


def _in_pixels(offsets: Tensor, corners: Tensor, strides: Tensor) -> Tensor:
    """Raw boxes ``[b, n, 4]`` of cells at ``corners`` as cx, cy, w, h in input pixels."""
    return torch.cat([(offsets[..., :2] + corners) * strides, offsets[..., 2:].exp() * strides], -1)


def _upsample(x: Tensor) -> Tensor:
    """Twice the height and width."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


FAMILY = Family(
    name="yolox",
    title="YOLOX",
    sizes=SIZES,
    make=YOLOX,
    landmark=r"backbone\.backbone\.stem\.conv\.conv\.weight",
    count_classes=lambda shapes: shapes["head.cls_preds.0.weight"][0],
    renames=(
        (r"^backbone\.", "backbone.backbone."),
        (r"^neck\.", "backbone."),
        (r"\.stage(\d)\.", r".dark\1."),
        (r"\.lateral5\.", ".lateral_conv0."),
        (r"\.lateral4\.", ".reduce_conv1."),
        (r"\.top_down(\d)\.", r".C3_p\1."),
        (r"\.down3\.", ".bu_conv2."),
        (r"\.down4\.", ".bu_conv1."),
        (r"\.bottom_up4\.", ".C3_n3."),
        (r"\.bottom_up5\.", ".C3_n4."),
        (r"\.class_", ".cls_"),
        (r"\.box_", ".reg_"),
        (r"\.objectness_", ".obj_"),
    ),
    recipe="yolox",
)
