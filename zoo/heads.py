"""ZeroHead: one classification and one box convolution a level, boxes as distributions; optionally NMS-free.

The NMS-free form has a second pair of convolutions a level that is trained with one box for one object, on detached
features (consistent dual assignment), while the first pair learns with many. Deployed, one pair remains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from search_spaces.architecture import Head
from zoo.detector import Raw, boxes_from_distances, flatten_levels, points

ONE_TO_MANY, ONE_TO_ONE = "one_to_many", "one_to_one"
PRIOR = 0.01
"""Score of every class at the start of training."""


class Scale(nn.Module):
    """Multiplication by one learned number."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class ZeroHead(nn.Module):
    """P3, P4, P5 to ``boxes`` (logits of ``[b, 4 * (reg_max + 1), h, w]``, side by side) and ``classes`` (logits)."""

    def __init__(self, cin: Sequence[int], head: Head) -> None:
        super().__init__()
        self.reg_max = head.reg_max
        self.cls = nn.ModuleList(nn.Conv2d(c, head.classes, head.k, padding=head.k // 2) for c in cin)
        self.box = nn.ModuleList(nn.Conv2d(c, 4 * (head.reg_max + 1), head.k, padding=head.k // 2) for c in cin)
        self.scales = nn.ModuleList(Scale() for _ in cin)
        for cls, box in zip(self.cls, self.box, strict=True):
            nn.init.normal_(cls.weight, std=0.01)  # type: ignore[arg-type]
            nn.init.normal_(box.weight, std=0.01)  # type: ignore[arg-type]
            nn.init.constant_(cls.bias, math.log(PRIOR / (1 - PRIOR)))  # type: ignore[arg-type]
            nn.init.zeros_(box.bias)  # type: ignore[arg-type]

    def forward(self, levels: Sequence[Tensor]) -> Raw:
        boxes = [scale(box(x)) for x, box, scale in zip(levels, self.box, self.scales, strict=True)]
        return {"boxes": boxes, "classes": [cls(x) for x, cls in zip(levels, self.cls, strict=True)]}


class DualZeroHead(nn.Module):
    """Two ZeroHeads: ``boxes`` and ``classes`` of the one-to-many head, ``one_to_one_...`` of the NMS-free one.

    In training the one-to-one head reads detached features: the other alone shapes backbone and neck.
    """

    def __init__(self, cin: Sequence[int], head: Head) -> None:
        super().__init__()
        self.one_to_many = ZeroHead(cin, head)
        self.one_to_one = ZeroHead(cin, head)

    def forward(self, levels: Sequence[Tensor]) -> Raw:
        single = self.one_to_one([x.detach() for x in levels] if self.training else levels)
        return self.one_to_many(levels) | {f"{ONE_TO_ONE}_{name}": maps for name, maps in single.items()}


def distances(boxes: Tensor, reg_max: int) -> Tensor:
    """Expected distances in cells ``[b, n, 4]`` from box logits ``[b, n, 4 * (reg_max + 1)]``."""
    b, n, _ = boxes.shape
    weights = boxes.reshape(b, n, 4, reg_max + 1).softmax(-1)
    return (weights * torch.arange(reg_max + 1, device=boxes.device, dtype=boxes.dtype)).sum(-1)


def decode_zero_head(boxes: Sequence[Tensor], classes: Sequence[Tensor], strides: Sequence[int], reg_max: int) -> tuple[Tensor, Tensor]:
    """Boxes ``[b, n, 4]`` (x1, y1, x2, y2 in pixels) and scores ``[b, n, classes]``; cells are anchored at their corner."""
    corners, cell = points(boxes, strides, 0.0)
    reach = distances(flatten_levels(boxes), reg_max) * cell
    return boxes_from_distances(reach, corners * cell), flatten_levels(classes).sigmoid()
