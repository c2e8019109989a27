"""Bipartite matching of queries and objects: DETR (Carion et al. 2020) with a focal class cost.

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
"""Replaces a cost that is not finite: such a pair is matched last, and the loss shows the overflow."""


class MatchedPairs(NamedTuple):
    """Matched queries and objects: four index tensors int64 ``[p]``, sorted by layer, image and query."""

    layers: Tensor
    images: Tensor
    queries: Tensor
    objects: Tensor
    """Index into the objects of all images of the batch."""


@dataclass(frozen=True, slots=True)
class HungarianMatcher:
    """Hungarian matching; the fields are the weights of the cost, and the parameters of its focal class term."""

    class_weight: float = 2.0
    l1_weight: float = 5.0
    giou_weight: float = 2.0
    alpha: float = 0.25
    gamma: float = 2.0

    def cost(self, logits: Tensor, boxes: Tensor, labels: Tensor, truth: Tensor) -> Tensor:
        """Costs ``[..., q, m]`` of ``logits`` ``[..., q, classes]`` and ``boxes`` ``[..., q, 4]`` for m objects.

        Boxes are cx, cy, w, h in 0..1.
        """
        logits, boxes = to_float32(logits), to_float32(boxes)
        score = logits[..., labels].sigmoid()
        present = self.alpha * (1 - score).pow(self.gamma) * -(score + 1e-8).log()
        absent = (1 - self.alpha) * score.pow(self.gamma) * -(1 - score + 1e-8).log()
        l1 = (boxes[..., :, None, :] - truth).abs().sum(-1)
        giou = iou_pairwise(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(truth), "giou")
        return self.class_weight * (present - absent) + self.l1_weight * l1 - self.giou_weight * giou

    @torch.no_grad()
    def __call__(
        self, logits: Tensor, boxes: Tensor, labels: tuple[Tensor, ...], truth: tuple[Tensor, ...]
    ) -> MatchedPairs:
        """Match the queries of each layer separately: ``logits`` ``[k, b, q, classes]``, ``boxes`` ``[k, b, q, 4]``.

        ``labels`` and ``truth`` have one entry an image. With more objects than queries, the costliest stay unmatched.
        """
        from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

        k, b, q, _ = logits.shape
        costs = [self.cost(logits[:, i], boxes[:, i], labels[i], truth[i]) for i in range(b)]
        # one copy to the CPU for the whole batch
        flat = torch.cat([cost.flatten() for cost in costs]).nan_to_num(UNUSABLE, UNUSABLE, UNUSABLE).cpu()
        tables = [
            part.reshape(k, q, len(classes)).numpy()
            for part, classes in zip(flat.split([cost.numel() for cost in costs]), labels, strict=True)
        ]
        matches: list[Tensor] = []
        for layer in range(k):
            offset = 0
            for image, table in enumerate(tables):
                queries, objects = (torch.from_numpy(x) for x in linear_sum_assignment(table[layer]))
                indices = torch.tensor([[layer], [image]]).expand(2, len(queries))
                matches.append(torch.cat([indices, queries[None], objects[None] + offset]))
                offset += table.shape[2]
        return MatchedPairs(*torch.cat(matches, 1).to(logits.device))
