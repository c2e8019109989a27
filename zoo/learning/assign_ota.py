"""Assignment of cells to objects by cost: SimOTA and AlignedOTA, the simplified forms of OTA.

A cell (or an anchor of a cell) is a candidate if it is near an object of its image. An object takes its k cheapest
candidates, k being the sum of its best IoUs (dynamic k), and a cell that several objects take is assigned the one it is
cheapest for. Objects and cells of several images are processed at once, without gradients. The result does not depend
on the device: of equal costs the lower index comes first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.learning.losses import iou_pairwise, to_float32
from zoo.learning.targets import Targets

OVERLAPS_SUMMED = 10
"""Number of an object's best IoUs whose sum is its number of cells (dynamic k)."""
FAR = 1e5
"""Added to the cost of a cell that is a candidate for another object only, so that it is taken last.

DAMO-YOLO's code adds 1e8 and YOLOX's 1e6. Float32 then cannot tell apart costs closer than 8 or 0.06, and an object too
small to contain a cell gets an arbitrary one; with 1e5 it gets the cheapest, to 0.01.
"""
PAIRS = 1 << 24
"""Pairs of cell and object processed together: bounds the memory, 64 MiB a matrix."""

Costs = Callable[[slice, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class Assignment:
    """The object assigned to every cell of every image."""

    objects: Tensor
    """int64 ``[b, n]``: index of the object within its image, -1 for none."""
    ious: Tensor
    """float32 ``[b, n]``: IoU of the cell's predicted box and its object; 0 without object."""

    @property
    def positive(self) -> Tensor:
        """Mask ``[b, n]`` of the cells with an object."""
        return self.objects >= 0

    def positives(self, targets: Targets) -> Positives:
        """The cells with an object, sorted by image and cell."""
        rows, cells = self.positive.nonzero(as_tuple=True)
        counts = [len(labels) for labels in targets.labels]
        starts = torch.tensor([0, *counts[:-1]], device=rows.device).cumsum(0)
        objects = starts[rows] + self.objects[rows, cells]
        boxes, labels = torch.cat(targets.boxes), torch.cat(targets.labels)
        return Positives(rows, cells, boxes[objects], labels[objects], self.ious[rows, cells])


@dataclass(frozen=True, slots=True)
class Positives:
    """The ``p`` cells of a batch with an object."""

    rows: Tensor
    """Image index, int64 ``[p]``."""
    cells: Tensor
    """Index of the cell within its image, int64 ``[p]``."""
    boxes: Tensor
    """Ground-truth box, ``[p, 4]``."""
    labels: Tensor
    """Ground-truth class, int64 ``[p]``."""
    ious: Tensor
    """IoU of predicted and ground-truth box, ``[p]``."""

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, values: Tensor) -> Tensor:
        """The positives' rows ``[p, ...]`` of ``values`` ``[b, n, ...]``."""
        return values.flatten(0, 1)[self.rows * values.shape[1] + self.cells]


@torch.no_grad()
def aligned_ota(
    boxes: Tensor, logits: Tensor, anchors: Tensor, strides: Tensor, targets: Targets, one_to_one: bool = False
) -> Assignment:
    """DAMO-YOLO's AlignedOTA (Xu et al. 2022), for predicted ``boxes`` ``[b, n, 4]`` in pixels and class ``logits``
    ``[b, n, c]`` of cells at ``anchors`` ``[n, 2]`` (pixels) with ``strides`` ``[n, 1]``.

    A candidate lies in a box or within 2.5 cells of its center in x and in y; an object's own candidates satisfy both.
    The cost is the quality focal loss with the IoU as quality, minus 3 times the logarithm of the IoU. ``one_to_one``
    assigns each object one cell by the same costs, pairs in order of increasing cost.
    """

    def costs(images: slice, truth: Tensor, labels: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        in_box = _within(anchors, truth[..., :2], truth[..., 2:]) & valid[..., None]
        center, reach = (truth[..., :2] + truth[..., 2:]) / 2, 2.5 * strides
        near = _near(anchors, center, reach) & valid[..., None]
        overlaps = iou_pairwise(truth, boxes[images])
        values = to_float32(logits[images])
        scores = values.sigmoid()
        background = F.softplus(values) * scores.square()
        # for the true class, quality focal loss replaces the background term in the sum over classes
        chosen = _of_classes(values, labels)
        entropy = F.softplus(chosen) - chosen * overlaps
        quality = entropy * (overlaps - chosen.sigmoid()).square()
        cost = background.sum(-1)[:, None] - _of_classes(background, labels) + quality
        cost -= 3 * (overlaps + 1e-7).log()
        candidate = (in_box | near).any(1)
        return cost.add_(~(in_box & near), alpha=FAR), overlaps, candidate

    return _assign(costs, targets, len(anchors), anchors.device, one_to_one)


@torch.no_grad()
def sim_ota(
    boxes: Tensor, logits: Tensor, objectness: Tensor, centers: Tensor, strides: Tensor, targets: Targets
) -> Assignment:
    """YOLOX's SimOTA (Ge et al. 2021), for predicted ``boxes`` ``[b, n, 4]`` in pixels, class ``logits`` ``[b, n, c]``
    and ``objectness`` logits ``[b, n, 1]`` of cells at ``centers`` ``[n, 2]`` (pixels) with ``strides`` ``[n, 1]``.

    A candidate lies within 1.5 cells of an object's center in x and in y. The cost is the binary cross entropy of the
    scores (root of objectness times class) to the true class, minus 3 times the logarithm of the IoU.
    """

    def costs(images: slice, truth: Tensor, labels: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        near = _near(centers, (truth[..., :2] + truth[..., 2:]) / 2, 1.5 * strides) & valid[..., None]
        overlaps = iou_pairwise(truth, boxes[images])
        cost = _root_score_entropy(logits[images], objectness[images], labels) - 3 * (overlaps + 1e-8).log()
        return cost.add_(~near, alpha=FAR), overlaps, near.any(1)

    return _assign(costs, targets, len(centers), centers.device, False)


@torch.no_grad()
def anchor_ota(boxes: Tensor, logits: Tensor, objectness: Tensor, exists: Tensor, targets: Targets) -> Assignment:
    """YOLOv7's SimOTA among candidate anchors: every object may take every candidate of its image.

    ``boxes`` ``[b, n, 4]`` are predicted, in pixels, class ``logits`` ``[b, n, c]`` and ``objectness`` logits
    ``[b, n, 1]``; ``exists`` ``[b, n]`` marks the candidates. The cost is SimOTA's.
    """

    def costs(images: slice, truth: Tensor, labels: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        overlaps = iou_pairwise(truth, boxes[images])
        cost = _root_score_entropy(logits[images], objectness[images], labels) - 3 * (overlaps + 1e-8).log()
        return cost, overlaps, exists[images]

    return _assign(costs, targets, exists.shape[1], exists.device, False)


def _root_score_entropy(logits: Tensor, objectness: Tensor, labels: Tensor) -> Tensor:
    """Binary cross entropy ``[b, m, n]`` of the scores (root of objectness times class) to each object's class."""
    log_score = (F.logsigmoid(to_float32(logits)) + F.logsigmoid(to_float32(objectness))) / 2
    # a score that rounds to 1 would give the logarithm of 0
    log_rest = (-torch.expm1(log_score)).log().clamp(min=-100)
    return _of_classes(log_rest - log_score.clamp(min=-100), labels) - log_rest.sum(-1)[:, None]


def _assign(costs: Costs, targets: Targets, cells: int, device: torch.device, one_to_one: bool) -> Assignment:
    """The assignment by ``costs``, a chunk of images at a time.

    ``costs(images, boxes, labels, valid)`` gives cost and IoU ``[b, m, n]`` and the candidate cells ``[b, n]``.
    """
    all_boxes, all_labels, all_valid = targets.padded()
    most = all_labels.shape[1]
    objects = torch.full((len(targets), cells), -1, dtype=torch.int64, device=device)
    ious = torch.zeros(len(targets), cells, device=device)
    step = max(PAIRS // max(most * cells, 1), 1)
    for start in range(0, len(targets) if most and cells else 0, step):
        images = slice(start, start + step)
        valid = all_valid[images]
        cost, overlap, candidate = costs(images, all_boxes[images], all_labels[images], valid)
        # cells that overflowed are no candidates; the losses show the overflow
        possible = candidate[:, None] & valid[..., None] & cost.isfinite()
        cost = cost.masked_fill_(~possible, torch.inf)
        overlap = overlap.masked_fill_(~possible, 0)
        taken = one_to_one_assignment(cost) if one_to_one else dynamic_k_assignment(cost, overlap)
        objects[images] = torch.where(taken.any(1), taken.to(torch.uint8).argmax(1), -1)
        ious[images] = (overlap * taken).sum(1)
    return Assignment(objects, ious)


def dynamic_k_assignment(cost: Tensor, overlap: Tensor) -> Tensor:
    """Mask ``[b, m, n]`` of assigned pairs, from costs and IoUs ``[b, m, n]``; an infinite cost excludes a pair.

    An object takes as many cells as the sum of its ten best IoUs, rounded down, at least one; a cell keeps at most
    one object.
    """
    limit = min(OVERLAPS_SUMMED, cost.shape[-1])
    counts = overlap.topk(limit, -1).values.sum(-1).floor().clamp(1, limit).long()
    taken = topk_smallest(cost, counts, limit) & cost.isfinite()
    several = taken.sum(1, keepdim=True) > 1
    cheapest = _indices(cost, 1) == cost.argmin(1, keepdim=True)
    return torch.where(several, cheapest, taken)


def topk_smallest(values: Tensor, counts: Tensor, most: int) -> Tensor:
    """Mask of the ``counts`` ``[...]`` (1 to ``most``) smallest of ``values`` ``[..., n]``; ties go to the first."""
    last = values.topk(most, -1, largest=False, sorted=True).values.gather(-1, counts[..., None] - 1)
    below, level = values < last, values == last
    room = counts[..., None] - below.sum(-1, keepdim=True)
    return below | (level & (level.cumsum(-1, dtype=torch.int32) <= room))


def one_to_one_assignment(cost: Tensor) -> Tensor:
    """Mask ``[b, m, n]`` of one-to-one pairs from ``cost`` ``[b, m, n]``; an infinite cost excludes a pair.

    The result is that of the greedy loop, which takes pairs in order of increasing cost. Here every object requests
    its cheapest cell, a cell accepts the object it is cheapest for, and the rejected objects request another one.
    """
    cost = cost.clone()
    while True:
        requested = (_indices(cost, 2) == cost.argmin(2, keepdim=True)) & cost.isfinite()
        winner = cost.masked_fill(~requested, torch.inf).argmin(1, keepdim=True)
        accepted = requested & (_indices(cost, 1) == winner)
        if torch.equal(accepted, requested):
            return accepted
        cost.masked_fill_(requested & ~accepted, torch.inf)


def _indices(like: Tensor, dim: int) -> Tensor:
    """0, 1, 2, ... along ``dim`` of ``like`` ``[b, m, n]``."""
    places = torch.arange(like.shape[dim], device=like.device)
    return places[:, None] if dim == 1 else places


def _within(points: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Mask ``[b, m, n]`` of the points ``[n, 2]`` strictly between corners ``low`` and ``high`` ``[b, m, 2]``."""
    x, y = points.unbind(-1)
    inside_x = (x > low[..., 0, None]) & (x < high[..., 0, None])
    return inside_x & (y > low[..., 1, None]) & (y < high[..., 1, None])


def _near(points: Tensor, centers: Tensor, reach: Tensor) -> Tensor:
    """Mask ``[b, m, n]`` of points ``[n, 2]`` within ``reach`` ``[n, 1]`` of centers ``[b, m, 2]`` in x and y."""
    x, y = points.unbind(-1)
    far = reach[:, 0]
    return ((x - centers[..., 0, None]).abs() < far) & ((y - centers[..., 1, None]).abs() < far)


def _of_classes(values: Tensor, labels: Tensor) -> Tensor:
    """The ``values`` ``[b, n, c]`` of each object's class ``labels`` ``[b, m]``, as ``[b, m, n]``."""
    return values.transpose(1, 2).gather(1, labels[..., None].expand(-1, -1, values.shape[1]))
