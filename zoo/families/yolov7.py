"""YOLOv7, YOLOv7-X and YOLOv7-tiny: E-ELAN backbone and neck, and an anchor-based head with implicit knowledge.

Written from the papers (Wang et al., "YOLOv7: Trainable bag-of-freebies", 2022; "You Only Learn One Representation",
2021), from the names and shapes of the published tensors and from the published layer graphs.

Modules stand at the numbers of the official files (``backbone.stage3.mix.24.conv.weight`` is
``model.24.conv.weight``).

Training. An object's candidates are, in every level, the anchors within a factor of four of its sides, in the cell of
its center and in the two cells nearest to it. SimOTA chooses among all candidates of an image: an object may take those
of another one, and an anchor that is the candidate of two objects counts twice, as in the official code. Losses are
means over candidates, weighted 0.05 (CIoU), 0.7 (objectness, to the overlap; levels 4, 1, 0.4) and 0.3 (classes), for
640 px and 80 classes; YOLOv7-tiny has 0.05, 1 and 0.5. Losses and gradients equal those measured on the official code
for YOLOv7. Our choice: a network of one class has a class loss too, because its score is objectness times class. The
official script multiplies the weights by 3 / levels, which is 1 here.
These sizes have no auxiliary head.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.boxes import anchor_points, cxcywh_to_xyxy
from zoo.detector import Detector, Raw, Recipe
from zoo.families.family import Family
from zoo.families.parts.yolov7_layers import (
    TINY_ANCHORS_PX,
    Backbone,
    Elan,
    Neck,
    Numbers,
    Size,
    TinyBackbone,
    TinyNeck,
    numbered,
)
from zoo.images import Preprocess
from zoo.layers import kernel_and_bias, merged_conv, set_batch_norms
from zoo.learning.assign_ota import anchor_ota
from zoo.learning.batch_share import count_over_batch, sum_over_batch
from zoo.learning.losses import box_iou, in_ignored, to_float32
from zoo.learning.targets import Phase, Targets
from zoo.nms import Selection

OBJECTS = 8
"""Objects in an image of 640x640, as a fresh head expects them in each level."""
LEVEL_WEIGHTS = (4.0, 1.0, 0.4)
"""Of the objectness of P3, P4, P5."""
WEIGHTS_PX, WEIGHTS_CLASSES = 640, 80
"""Input side and number of classes of the published weights: objectness scales with the area, classes with number."""
ANCHOR_FACTOR = 4.0
"""An anchor fits an object if the ratio of their sides is less than this, both ways."""
SIZES = {
    "yolov7-tiny": Size(
        16, Elan(2, 1, act="leaky_relu"), Elan(2, 1, act="leaky_relu"), rep_convs=False, tiny=True,
        anchors_px=TINY_ANCHORS_PX, objectness_weight=1.0, class_weight=0.5,
    ),
    "yolov7": Size(32, Elan(4, 2), Elan(4, 1, 0.5), rep_convs=True),
    "yolov7x": Size(40, Elan(6, 2), Elan(6, 2), rep_convs=False),
}  # fmt: skip
"""Model name to its settings."""


class ImplicitConv(nn.Module):
    """1x1 convolution between two learned vectors that do not depend on the image: ``scale * conv(x + shift)``."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, 1)
        self.shift: nn.Parameter | None = nn.Parameter(torch.empty(1, cin, 1, 1))
        self.scale: nn.Parameter | None = nn.Parameter(torch.empty(1, cout, 1, 1))
        nn.init.normal_(self.shift, 0.0, 0.02)
        nn.init.normal_(self.scale, 1.0, 0.02)

    def forward(self, x: Tensor) -> Tensor:
        if self.shift is None or self.scale is None:
            return self.conv(x)
        return self.scale * self.conv(x + self.shift)

    def fold(self) -> None:
        """Both vectors into the convolution."""
        if self.shift is None or self.scale is None:
            return
        kernel, bias = kernel_and_bias(self.conv, nn.Identity())
        scale, shift = self.scale.detach().double().flatten(), self.shift.detach().double().flatten()
        bias = (bias + kernel.flatten(1) @ shift) * scale
        self.conv = merged_conv(self.conv, [(kernel * scale[:, None, None, None], bias)])
        self.shift = self.scale = None


class Predictions(nn.Module):
    """The last convolution of every level, and the anchors ``[3 levels, 3, 2]``: width and height in cells."""

    def __init__(self, size: Size, classes: int, strides: Sequence[int]) -> None:
        super().__init__()
        channels = [8 * size.width, 16 * size.width, 32 * size.width]
        pixels = torch.tensor(size.anchors_px, dtype=torch.float32)
        self.register_buffer("anchors", pixels / torch.tensor(strides, dtype=torch.float32)[:, None, None])
        self.levels = nn.ModuleList()
        for c, stride in zip(channels, strides, strict=True):
            level = ImplicitConv(c, 3 * (5 + classes))
            with torch.no_grad():
                bias = level.conv.get_parameter("bias").view(3, 5 + classes)
                bias[:, 4].fill_(math.log(OBJECTS / (640 / stride) ** 2))
                bias[:, 5:].fill_(math.log(0.6 / (classes - 0.99)))
            self.levels.append(level)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        return [level(x) for level, x in zip(self.levels, features, strict=True)]


class Head(nn.Module):
    """P3, P4, P5 to ``maps``: one ``[b, 3 * (5 + classes), h, w]`` a level, before the sigmoid.

    For each of the three anchors in turn: offset of the center (x, y), size (w, h), objectness, classes.
    """

    def __init__(self, numbers: Numbers, size: Size, classes: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.predict = nn.ModuleDict(numbered(numbers, Predictions(size, classes, strides)))

    @property
    def anchors(self) -> Tensor:
        """``[3 levels, 3, 2]``: width and height in cells."""
        (predict,) = self.predict.values()
        return predict.get_buffer("anchors")

    def forward(self, features: Sequence[Tensor]) -> Raw:
        (predict,) = self.predict.values()
        return {"maps": predict(features)}


class Candidates(NamedTuple):
    """Candidate predictions of one level: p anchors, image by image; one is there once for each of its objects."""

    images: Tensor
    """int64 ``[p]``."""
    places: Tensor
    """int64 ``[p]``: index in the flattened ``[b, 3, h, w]`` of the level."""
    values: Tensor
    """Raw ``[p, 5 + classes]``."""
    boxes: Tensor
    """Predicted x1, y1, x2, y2 in pixels ``[p, 4]``."""


class YOLOv7(Detector):
    """YOLOv7 in one of its sizes."""

    family = "yolov7"
    preprocess = Preprocess(order="rgb", scale=1 / 255, resize="letterbox-center")
    selections: Mapping[str, Selection] = {
        "one_to_many": Selection(
            score_threshold=0.001, iou_threshold=0.65, multi_label=True, max_candidates=30000, max_detections=300
        )
    }
    loss_counts_images = True
    head: Head

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        size, numbers = SIZES[recipe.model], itertools.count()
        self.backbone = (TinyBackbone if size.tiny else Backbone)(numbers, size)
        self.neck = (TinyNeck if size.tiny else Neck)(numbers, size)
        self.head = Head(numbers, size, recipe.classes, self.strides)
        set_batch_norms(self, eps=1e-3, momentum=0.03)

    def boxes(self, raw: Raw, size: tuple[int, int]) -> Tensor:
        """Three boxes a cell, anchor by anchor."""
        return _boxes_of(self._predictions(raw))

    def scores(self, raw: Raw) -> Tensor:
        return _scores_of(self._predictions(raw))

    def decode(self, raw: Raw, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        predictions = self._predictions(raw)
        return _boxes_of(predictions), _scores_of(predictions)

    def official_outputs(self, image: Tensor) -> dict[str, Tensor]:
        """``head_in_p3`` to ``head_in_p5``, and ``decoded`` ``[b, n, 5 + classes]`` as ``_predictions``."""
        features = self.features(image)
        named = {f"head_in_p{level}": feature for level, feature in zip((3, 4, 5), features, strict=True)}
        return {**named, "decoded": self._predictions(self.head(features))}

    def _predictions(self, raw: Raw) -> Tensor:
        """``[b, n, 5 + classes]``: cx, cy, w, h in input pixels, objectness, classes; n is level by anchor by cell."""
        levels = []
        for i, (level, stride) in enumerate(zip(raw["maps"], self.strides, strict=True)):
            batch, rows, h, w = level.shape
            anchors = self.head.anchors[i][:, None]  # [3, 1, 2]
            values = level.reshape(batch, 3, rows // 3, h * w).transpose(2, 3).sigmoid()  # [b, 3, h * w, 5 + classes]
            corners, _ = anchor_points([level], [stride], -0.5)
            boxes = _boxes(values, corners, anchors, stride)
            levels.append(torch.cat([boxes, values[..., 4:]], -1).reshape(batch, 3 * h * w, rows // 3))
        return torch.cat(levels, 1)

    def loss(self, raw: Raw, targets: Targets, size: tuple[int, int], phase: Phase) -> dict[str, Tensor]:
        """``box`` (CIoU), ``objectness`` and ``classes`` (binary cross entropy), as the module's text says."""
        maps = [to_float32(level).unflatten(1, (3, 5 + self.classes)) for level in raw["maps"]]
        levels = [self._candidates(i, level, targets) for i, level in enumerate(maps)]
        assigned = _assigned_objects(levels, targets)
        truth, labels = torch.cat(targets.boxes), torch.cat(targets.labels)
        sums = {name: maps[0].new_zeros(()) for name in ("box", "objectness", "classes")}
        for level, objects, values, stride, weight in zip(
            levels, assigned, maps, self.strides, LEVEL_WEIGHTS, strict=True
        ):
            own = objects >= 0
            objects, chosen, places = objects[own], level.values[own], level.places[own]
            overlaps = box_iou(level.boxes[own], truth[objects], "ciou")
            count = max(count_over_batch(len(objects)), 1)
            sums["box"] = sums["box"] + (1 - overlaps).sum() / count
            goal = F.one_hot(labels[objects], self.classes).to(chosen.dtype)
            entropy = F.binary_cross_entropy_with_logits(chosen[:, 5:], goal, reduction="sum")
            sums["classes"] = sums["classes"] + entropy / (count * self.classes)

            objectness = values[:, :, 4]
            wanted = torch.zeros_like(objectness).flatten()
            wanted[places] = overlaps.detach().clamp(min=0)[_last_of_each(places, len(wanted))]
            centers, _ = anchor_points([objectness], [stride], 0.5)
            learned = ~in_ignored(centers * stride, targets)[:, None].expand(-1, 3, -1).reshape(-1)
            learned[places] = True
            entropy = F.binary_cross_entropy_with_logits(objectness.flatten(), wanted, reduction="none")
            supervised = sum_over_batch(learned.sum()).clamp(min=1)
            sums["objectness"] = sums["objectness"] + weight * entropy[learned].sum() / supervised
        area, own_size = size[0] * size[1] / WEIGHTS_PX**2, SIZES[self.recipe.model]
        return {
            "box": own_size.box_weight * len(targets) * sums["box"],
            "objectness": own_size.objectness_weight * area * len(targets) * sums["objectness"],
            "classes": own_size.class_weight * self.classes / WEIGHTS_CLASSES * len(targets) * sums["classes"],
        }

    def _candidates(self, level: int, values: Tensor, targets: Targets) -> Candidates:
        """Of one level, from its raw map ``[b, 3, 5 + classes, h, w]``."""
        stride, anchors = self.strides[level], to_float32(self.head.anchors[level])
        h, w = values.shape[-2:]
        boxes = torch.cat(targets.boxes) / stride
        counts = torch.tensor([len(labels) for labels in targets.labels], device=boxes.device)
        images = torch.arange(len(targets), device=boxes.device).repeat_interleave(counts, output_size=len(boxes))
        ratios = (boxes[:, None, 2:] - boxes[:, None, :2]) / anchors
        fits = torch.maximum(ratios, 1 / ratios).amax(-1) < ANCHOR_FACTOR  # [o, 3]

        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        ends = centers.new_tensor([w, h])
        left = (centers % 1 < 0.5) & (centers > 1)  # [o, 2]: the neighbor at the left, and the one above
        right = ((ends - centers) % 1 < 0.5) & (ends - centers > 1)
        near = torch.cat([torch.ones_like(left[:, :1]), left, right], 1)  # [o, 5]
        steps = centers.new_tensor([[0, 0], [-0.5, 0], [0, -0.5], [0.5, 0], [0, 0.5]])

        # in the official order, which decides between equals: by step, by anchor, by object; then by image
        step, which, objects = (near.T[:, None] & fits.T[None]).nonzero(as_tuple=True)
        order = images[objects].argsort(stable=True)
        step, which, objects = step[order], which[order], objects[order]
        # a center on the border of two cells is right of none: the step to the right ends in its own cell once more
        cells = (centers[objects] + steps[step]).floor().clamp(min=0).minimum(ends - 1).long()
        image, (x, y) = images[objects], cells.unbind(-1)
        picked = values[image, which, :, y, x]  # [p, 5 + classes]
        predicted = cxcywh_to_xyxy(_boxes(picked[:, :4].sigmoid(), cells - 0.5, anchors[which], stride))
        return Candidates(image, ((image * 3 + which) * h + y) * w + x, picked, predicted)


@torch.no_grad()
def _assigned_objects(levels: Sequence[Candidates], targets: Targets) -> list[Tensor]:
    """For each level, the object that every candidate learns, int64 ``[p]``: index into the objects of all images, or
    -1.
    """
    images, values, boxes = (
        torch.cat([getattr(level, name) for level in levels]) for name in ("images", "values", "boxes")
    )
    counts = torch.bincount(images, minlength=len(targets))
    order = images.argsort(stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[images[order]]
    most = int(counts.max()) if len(images) else 0

    def by_image(rows: Tensor) -> Tensor:
        """``rows`` ``[p, ...]`` as ``[b, n, ...]``."""
        padded = rows.new_zeros(len(targets), most, *rows.shape[1:])
        padded[images, place] = rows
        return padded

    exists = by_image(torch.ones_like(images, dtype=torch.bool))
    padded = by_image(values)
    taken = anchor_ota(by_image(boxes), padded[..., 5:], padded[..., 4:5], exists, targets).objects[images, place]
    objects = torch.tensor([0, *(len(labels) for labels in targets.labels)], device=images.device).cumsum(0)
    taken = torch.where(taken >= 0, taken + objects[images], -1)
    return list(taken.split([len(level.images) for level in levels]))


def _last_of_each(places: Tensor, count: int) -> Tensor:
    """For each of ``places`` ``[p]`` (0 to ``count - 1``), the last index at which its value stands, ``[p]``."""
    index = torch.arange(len(places), device=places.device)
    return index.new_zeros(count).scatter_reduce_(0, places, index, "amax", include_self=False)[places]


def _boxes(values: Tensor, corners: Tensor, anchors: Tensor, stride: int) -> Tensor:
    """cx, cy, w, h in pixels from ``values`` after the sigmoid; ``corners`` and ``anchors`` are in cells."""
    center = (values[..., :2] * 2 + corners) * stride
    extent = (values[..., 2:4] * 2) ** 2 * (anchors * stride)
    return torch.cat([center, extent], -1)


def _boxes_of(predictions: Tensor) -> Tensor:
    """Boxes ``[b, n, 4]`` of decoded ``predictions`` ``[b, n, 5 + classes]``."""
    return cxcywh_to_xyxy(predictions[..., :4])


def _scores_of(predictions: Tensor) -> Tensor:
    """Objectness times class probability ``[b, n, classes]`` of the same."""
    return predictions[..., 4:5] * predictions[..., 5:]


def _count_classes(shapes: Mapping[str, Sequence[int]]) -> int:
    """From the rows of the last convolution: 5 + classes for each of three anchors."""
    rows = next(shape[0] for name, shape in shapes.items() if re.fullmatch(r"model\.\d+\.m\.0\.weight", name))
    return rows // 3 - 5


FAMILY = Family(
    name="yolov7",
    title="YOLOv7",
    sizes=SIZES,
    make=YOLOv7,
    landmark=r"model\.\d+\.ia\.0\.implicit",
    count_classes=_count_classes,
    renames=(
        (r"^(?:backbone|neck|head)(?:\.[a-z]\w*)*\.(\d+)\.", r"model.\1."),
        (r"\.levels\.(\d)\.conv\.", r".m.\1."),
        (r"\.levels\.(\d)\.shift$", r".ia.\1.implicit"),
        (r"\.levels\.(\d)\.scale$", r".im.\1.implicit"),
        (r"\.dense\.conv\.", ".rbr_dense.0."),
        (r"\.dense\.bn\.", ".rbr_dense.1."),
        (r"\.point\.conv\.", ".rbr_1x1.0."),
        (r"\.point\.bn\.", ".rbr_1x1.1."),
    ),
    constants={r"model\.\d+\.anchor_grid": lambda value: bool((value > 0).all())},
    recipe="yolov7",
)
