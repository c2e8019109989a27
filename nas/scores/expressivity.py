"""``expressivity``: entropy of principal components by resolution (Lee and Ham, AZ-NAS, CVPR 2024)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nas.scores.forward import observing_score
from nas.scores.score import Observer
from search_spaces.graph import Graph, level_strides
from search_spaces.ops import CONV_KINDS, Op

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 16
MOST_POSITIONS = 4096
"""Positions of a feature map, over all images, from which its principal components are computed."""


class Expressivity(Observer):
    """Sum over resolutions of the largest entropy that any convolution's output at that resolution reaches.

    The entropy (nats) is that of the principal components' shares of variance.
    """

    def __init__(self, graph: Graph, px: int) -> None:
        self.strides = level_strides(graph, px)
        self.best: dict[int, float] = {}

    def __call__(self, index: int, op: Op, before: Tensor, after: Tensor) -> None:
        import torch

        stride = self.strides[index]
        if op.kind not in CONV_KINDS or not stride:
            return
        bound = math.log(after.shape[1])
        if bound <= self.best.get(stride, -1.0):
            return
        points = after.permute(0, 2, 3, 1).flatten(0, 2)
        points = points[:: -(-len(points) // MOST_POSITIONS)].double()
        points = points - points.mean(0)
        share = torch.linalg.eigvalsh(points.T @ points).clamp_min(0)
        share = share / share.sum().clamp_min(1e-300)
        entropy = float(torch.special.entr(share).sum())
        self.best[stride] = max(entropy, self.best.get(stride, 0.0))

    def value(self) -> float:
        return math.fsum(self.best.values())


EXPRESSIVITY = observing_score(
    "expressivity", "entropy of principal components by resolution (AZ-NAS, CVPR 2024)", BATCH,
    lambda graph, px, seed: Expressivity(graph, px),
)  # fmt: skip
