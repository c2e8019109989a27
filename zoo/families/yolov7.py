"""YOLOv7 and YOLOv7-X: E-ELAN backbone and neck, and an anchor-based head with implicit knowledge.

Written from the papers (Wang et al., "YOLOv7: Trainable bag-of-freebies", 2022; "You Only Learn One Representation",
2021), from the names and shapes of the published tensors and from the published layer graphs.

The official files number all layers in order of execution, those without weights too. Our modules stand at the same
numbers (``backbone.stage3.mix.24.conv.weight`` is ``model.24.conv.weight``), taken one after another while building.

Training. An object's candidates are, in every level, the anchors within a factor of four of its sides, in the cell of
its center and in the two cells nearest to it. SimOTA chooses among all candidates of an image: an object may take those
of another one, and an anchor that is the candidate of two objects counts twice, as in the official code. Losses are
means over candidates, weighted 0.05 (CIoU), 0.7 (objectness, to the overlap; levels 4, 1, 0.4) and 0.3 (classes), for
640 px and 80 classes. Losses and gradients equal those measured on the official code. Our choice: a network of one
class has a class loss too, because its score is objectness times class. The official script multiplies the weights by
3 / levels, which is 1 here.
These sizes have no auxiliary head.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.boxes import anchor_points, cxcywh_to_xyxy
from zoo.detector import Detector, Raw, Recipe
from zoo.families.family import Family
from zoo.images import Preprocess
from zoo.layers import ConvBNAct, RepConv, kernel_and_bias, merged_conv, set_batch_norms
from zoo.learning.assign_ota import anchor_ota
from zoo.learning.batch_share import count_over_batch, sum_over_batch
from zoo.learning.losses import box_iou, in_ignored, to_float32
from zoo.learning.targets import Phase, Targets
from zoo.nms import Selection

ANCHORS_PX = (
    ((12, 16), (19, 36), (40, 28)),
    ((36, 75), (76, 55), (72, 146)),
    ((142, 110), (192, 243), (459, 401)),
)
"""Width and height of the three anchors of every level, for COCO at 640."""
POOLS = (5, 9, 13)
"""Sides of the spatial pyramid's max pools."""
OBJECTS = 8
"""Objects in an image of 640x640, as a fresh head expects them in each level."""
BOX_WEIGHT, OBJECTNESS_WEIGHT, CLASS_WEIGHT = 0.05, 0.7, 0.3
LEVEL_WEIGHTS = (4.0, 1.0, 0.4)
"""Of the objectness of P3, P4, P5."""
WEIGHTS_PX, WEIGHTS_CLASSES = 640, 80
"""Input side and number of classes of the published weights: objectness scales with the area, classes with number."""
ANCHOR_FACTOR = 4.0
"""An anchor fits an object if the ratio of their sides is less than this, both ways."""
@dataclass(frozen=True, slots=True)
class Elan:
    """How a stage aggregates: ``layers`` 3x3 convolutions in a row, every ``every``-th of which is concatenated, of
    ``ratio`` times the width of the two 1x1 branches.
    """

    layers: int
    every: int
    ratio: float = 1.0


@dataclass(frozen=True, slots=True)
class Size:
    """One size. ``width`` is the stem's; all widths follow from it but those inside the stages, which do not grow."""

    width: int
    backbone: Elan
    neck: Elan
    rep_convs: bool
    """Whether the last 3x3 convolutions have a 1x1 branch in training."""


SIZES = {
    "yolov7": Size(32, Elan(4, 2), Elan(4, 1, 0.5), rep_convs=True),
    "yolov7x": Size(40, Elan(6, 2), Elan(6, 2), rep_convs=False),
}
"""Model name to its settings."""
BACKBONE_BRANCHES = (64, 128, 256, 256)
"""Width of the branches of stages 2 to 5."""

Numbers = Iterator[int]
"""The next official layer numbers."""


def _numbered(numbers: Numbers, *layers: nn.Module) -> dict[str, nn.Module]:
    """The layers by their numbers, which they take in order."""
    return {str(next(numbers)): layer for layer in layers}


class Aggregation(nn.ModuleDict):
    """E-ELAN: two 1x1 branches, 3x3 convolutions on the second, concatenation, 1x1; ``cin`` to ``cout``."""

    def __init__(self, numbers: Numbers, elan: Elan, cin: int, branch: int, cout: int) -> None:
        inner = int(branch * elan.ratio)
        row = [ConvBNAct(inner if i else branch, inner, 3) for i in range(elan.layers)]
        super().__init__(_numbered(numbers, ConvBNAct(cin, branch), ConvBNAct(cin, branch), *row))
        next(numbers)  # the concatenation
        taken = [branch, *[inner] * elan.layers][:: -elan.every]
        self.update(_numbered(numbers, ConvBNAct(branch + sum(taken), cout)))
        self.every = elan.every

    def forward(self, x: Tensor) -> Tensor:
        shortcut, *row, mix = self.values()
        grown = [x]
        for layer in row:
            grown.append(layer(grown[-1]))
        return mix(torch.cat([*grown[: 0 : -self.every], shortcut(x)], 1))


class Downsampling(nn.ModuleDict):
    """Half the side by two branches of ``branch`` channels each: max pool and 1x1, and 1x1 and strided 3x3.

    Gives both concatenated, with ``beside`` behind them.
    """

    def __init__(self, numbers: Numbers, cin: int, branch: int) -> None:
        next(numbers)  # the max pool
        super().__init__(
            _numbered(numbers, ConvBNAct(cin, branch), ConvBNAct(cin, branch), ConvBNAct(branch, branch, 3, 2))
        )
        next(numbers)  # the concatenation

    def forward(self, x: Tensor, *beside: Tensor) -> Tensor:
        pooled, narrow, strided = self.values()
        return torch.cat([strided(narrow(x)), pooled(F.max_pool2d(x, 2, 2)), *beside], 1)


class Upsampling(nn.ModuleDict):
    """1x1 to ``c`` channels and twice the side, concatenated behind a 1x1 of the finer map."""

    def __init__(self, numbers: Numbers, cin: int, c: int, cin_finer: int) -> None:
        super().__init__(_numbered(numbers, ConvBNAct(cin, c)))
        next(numbers)  # the upsampling
        self.update(_numbered(numbers, ConvBNAct(cin_finer, c)))
        next(numbers)  # the concatenation

    def forward(self, x: Tensor, finer: Tensor) -> Tensor:
        narrow, lateral = self.values()
        return torch.cat([lateral(finer), F.interpolate(narrow(x), scale_factor=2, mode="nearest")], 1)


class CSPPyramid(nn.Module):
    """SPPCSPC: a spatial pyramid between convolutions on one branch, a 1x1 on the other; ``cin`` to ``c``."""

    def __init__(self, cin: int, c: int) -> None:
        super().__init__()
        self.cv1 = ConvBNAct(cin, c)
        self.cv2 = ConvBNAct(cin, c)
        self.cv3 = ConvBNAct(c, c, 3)
        self.cv4 = ConvBNAct(c, c)
        self.cv5 = ConvBNAct((1 + len(POOLS)) * c, c)
        self.cv6 = ConvBNAct(c, c, 3)
        self.cv7 = ConvBNAct(2 * c, c)

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv4(self.cv3(self.cv1(x)))
        y = torch.cat([y, *(F.max_pool2d(y, k, 1, k // 2) for k in POOLS)], 1)
        return self.cv7(torch.cat([self.cv6(self.cv5(y)), self.cv2(x)], 1))


class Stage(nn.Module):
    """Half the side, then an aggregation; the first stage is entered at stride 4 and has no ``down``."""

    def __init__(self, numbers: Numbers, elan: Elan, cin: int, branch: int, cout: int, down: bool = True) -> None:
        super().__init__()
        self.down = Downsampling(numbers, cin, cin // 2) if down else nn.Identity()
        self.mix = Aggregation(numbers, elan, cin, branch, cout)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.down(x))


class Backbone(nn.Module):
    """``[b, 3, h, w]`` to C3, C4, C5 of 16, 32, 32 times the stem's width."""

    def __init__(self, numbers: Numbers, size: Size) -> None:
        super().__init__()
        c = size.width
        convs = ConvBNAct(3, c, 3), ConvBNAct(c, 2 * c, 3, 2), ConvBNAct(2 * c, 2 * c, 3), ConvBNAct(2 * c, 4 * c, 3, 2)
        self.stem = nn.ModuleDict(_numbered(numbers, *convs))
        b2, b3, b4, b5 = BACKBONE_BRANCHES
        self.stage2 = Stage(numbers, size.backbone, 4 * c, b2, 8 * c, down=False)
        self.stage3 = Stage(numbers, size.backbone, 8 * c, b3, 16 * c)
        self.stage4 = Stage(numbers, size.backbone, 16 * c, b4, 32 * c)
        self.stage5 = Stage(numbers, size.backbone, 32 * c, b5, 32 * c)

    def forward(self, image: Tensor) -> list[Tensor]:
        x = image
        for layer in self.stem.values():
            x = layer(x)
        c3 = self.stage3(self.stage2(x))
        c4 = self.stage4(c3)
        return [c3, c4, self.stage5(c4)]


class Neck(nn.Module):
    """C3, C4, C5 to P3, P4, P5 of 8, 16, 32 times the stem's width."""

    def __init__(self, numbers: Numbers, size: Size) -> None:
        super().__init__()
        c, elan = size.width, size.neck
        self.pyramid = nn.ModuleDict(_numbered(numbers, CSPPyramid(32 * c, 16 * c)))
        self.up4 = Upsampling(numbers, 16 * c, 8 * c, 32 * c)
        self.top_down4 = Aggregation(numbers, elan, 16 * c, 256, 8 * c)
        self.up3 = Upsampling(numbers, 8 * c, 4 * c, 16 * c)
        self.top_down3 = Aggregation(numbers, elan, 8 * c, 128, 4 * c)
        self.down4 = Downsampling(numbers, 4 * c, 4 * c)
        self.bottom_up4 = Aggregation(numbers, elan, 16 * c, 256, 8 * c)
        self.down5 = Downsampling(numbers, 8 * c, 8 * c)
        self.bottom_up5 = Aggregation(numbers, elan, 32 * c, 512, 16 * c)
        last = [_last_conv(size, cin) for cin in (4 * c, 8 * c, 16 * c)]
        self.last = nn.ModuleDict(_numbered(numbers, *last))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        c3, c4, c5 = features
        (pyramid,) = self.pyramid.values()
        top = pyramid(c5)
        middle = self.top_down4(self.up4(top, c4))
        p3 = self.top_down3(self.up3(middle, c3))
        p4 = self.bottom_up4(self.down4(p3, middle))
        p5 = self.bottom_up5(self.down5(p4, top))
        return [layer(x) for layer, x in zip(self.last.values(), (p3, p4, p5), strict=True)]


def _last_conv(size: Size, cin: int) -> nn.Module:
    """3x3 to twice the width, the last layer of a level before the head."""
    return RepConv(cin, 2 * cin, act="silu") if size.rep_convs else ConvBNAct(cin, 2 * cin, 3)


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

    def __init__(self, channels: Sequence[int], classes: int, strides: Sequence[int]) -> None:
        super().__init__()
        pixels = torch.tensor(ANCHORS_PX, dtype=torch.float32)
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
        channels = [8 * size.width, 16 * size.width, 32 * size.width]
        self.predict = nn.ModuleDict(_numbered(numbers, Predictions(channels, classes, strides)))

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
    """YOLOv7 and YOLOv7-X."""

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
        self.backbone = Backbone(numbers, size)
        self.neck = Neck(numbers, size)
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
        area = size[0] * size[1] / WEIGHTS_PX**2
        return {
            "box": BOX_WEIGHT * len(targets) * sums["box"],
            "objectness": OBJECTNESS_WEIGHT * area * len(targets) * sums["objectness"],
            "classes": CLASS_WEIGHT * self.classes / WEIGHTS_CLASSES * len(targets) * sums["classes"],
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
