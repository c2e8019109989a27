"""Box and anchor-point geometry that the families share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def anchor_points(maps: Sequence[Tensor], strides: Sequence[int], offset: float) -> tuple[Tensor, Tensor]:
    """Anchor points ``[n, 2]`` (x, y in cells plus ``offset``) and strides ``[n, 1]`` of all levels, row by row.

    ``maps`` are one tensor ``[..., h, w]`` a level.
    """
    centers, widths = [], []
    for level, stride in zip(maps, strides, strict=True):
        h, w = level.shape[-2:]
        xs = torch.arange(w, device=level.device, dtype=level.dtype) + offset
        ys = torch.arange(h, device=level.device, dtype=level.dtype) + offset
        y, x = torch.meshgrid(ys, xs, indexing="ij")
        centers.append(torch.stack([x, y], -1).reshape(-1, 2))
        widths.append(torch.full((h * w, 1), float(stride), device=level.device, dtype=level.dtype))
    return torch.cat(centers), torch.cat(widths)


def flatten_levels(maps: Sequence[Tensor]) -> Tensor:
    """Level maps ``[b, c, h, w]`` as one ``[b, n, c]``, levels in order, cells row by row."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in maps], 1)


def ltrb_to_xyxy(distances: Tensor, points: Tensor) -> Tensor:
    """Distances left, top, right, bottom ``[..., n, 4]`` from ``points`` ``[n, 2]`` as x1, y1, x2, y2, same unit."""
    return torch.cat([points - distances[..., :2], points + distances[..., 2:]], -1)


def xyxy_to_ltrb(points: Tensor, boxes: Tensor) -> Tensor:
    """Distances left, top, right, bottom ``[p, 4]`` from ``points`` ``[p, 2]`` to the sides of ``boxes`` ``[p, 4]``."""
    return torch.cat([points - boxes[:, :2], boxes[:, 2:] - points], -1)


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """cx, cy, w, h ``[..., 4]`` as x1, y1, x2, y2."""
    center, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([center - half, center + half], -1)


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """x1, y1, x2, y2 ``[..., 4]`` as cx, cy, w, h."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) / 2, high - low], -1)
