"""One query for one object, at the least total cost: the assignment of DETR (Carion et al. 2020) with a focal class cost.

The cost of a pair is a weighted sum of the focal cost of the object's class (Deformable DETR, Zhu et al. 2021), the L1
distance of the boxes and the negative GIoU. The settings are RT-DETR's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from zoo.boxes import cxcywh_to_xyxy
from zoo.learning.losses import iou_pairwise, to_float32

UNUSABLE = 1e9
"""Cost of a pair whose cost is not a finite number: it is taken last, and the loss then shows what went wrong."""


class Pairs(NamedTuple):
    """Matched queries and objects, four index tensors int64 ``[p]``, ordered by layer, image and query."""

    layers: Tensor
    images: Tensor
    queries: Tensor
    objects: Tensor
    """Counted through all images of the batch."""


@dataclass(frozen=True, slots=True)
class SetMatch:
    """The weights of the cost, and the form of its class part."""

    class_weight: float = 2.0
    l1_weight: float = 5.0
    giou_weight: float = 2.0
    alpha: float = 0.25
    gamma: float = 2.0

    def cost(self, logits: Tensor, boxes: Tensor, labels: Tensor, truth: Tensor) -> Tensor:
        """Costs ``[..., q, m]`` of ``logits`` ``[..., q, classes]`` and ``boxes`` ``[..., q, 4]`` for m objects.

        All boxes are cx, cy, w, h in 0..1.
        """
        logits, boxes = to_float32(logits), to_float32(boxes)
        score = logits[..., labels].sigmoid()
        present = self.alpha * (1 - score).pow(self.gamma) * -(score + 1e-8).log()
        absent = (1 - self.alpha) * score.pow(self.gamma) * -(1 - score + 1e-8).log()
        l1 = (boxes[..., :, None, :] - truth).abs().sum(-1)
        giou = iou_pairwise(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(truth), "giou")
        return self.class_weight * (present - absent) + self.l1_weight * l1 - self.giou_weight * giou

    @torch.no_grad()
    def __call__(self, logits: Tensor, boxes: Tensor, labels: tuple[Tensor, ...], truth: tuple[Tensor, ...]) -> Pairs:
        """Match every layer's queries by themselves: ``logits`` ``[k, b, q, classes]``, ``boxes`` ``[k, b, q, 4]``.

        ``labels`` and ``truth`` are of each image. Of more objects than queries the dearest stay without one.
        """
        from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

        k, b, q, _ = logits.shape
        costs = [self.cost(logits[:, i], boxes[:, i], labels[i], truth[i]) for i in range(b)]
        # one copy to the host for the whole batch
        flat = torch.cat([cost.flatten() for cost in costs]).nan_to_num(UNUSABLE, UNUSABLE, UNUSABLE).cpu()
        tables = [
            part.reshape(k, q, len(one)).numpy()
            for part, one in zip(flat.split([cost.numel() for cost in costs]), labels, strict=True)
        ]
        found: list[Tensor] = []
        for layer in range(k):
            before = 0
            for image, table in enumerate(tables):
                queries, objects = (torch.from_numpy(x) for x in linear_sum_assignment(table[layer]))
                places = torch.tensor([[layer], [image]]).expand(2, len(queries))
                found.append(torch.cat([places, queries[None], objects[None] + before]))
                before += table.shape[2]
        return Pairs(*torch.cat(found, 1).to(logits.device))
