"""Task-aligned assignment of cells to objects (TOOD, Feng et al. 2021).

A cell's alignment with an object is ``score ** alpha * iou ** beta``: its score of the object's class and the IoU of
its box with the object's. An object is assigned the best aligned of the cells inside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.learning.assign_ota import one_to_one_assignment, topk_smallest
from zoo.learning.losses import box_iou, to_float32
from zoo.learning.targets import Targets


@dataclass(frozen=True, slots=True)
class TaskAssignment:
    """The object and the target score of every cell of a batch."""

    objects: Tensor
    """int64 ``[b, n]``: index into the objects of all images of the batch, -1 for background."""
    qualities: Tensor
    """``[b, n]``, 0..1: target score of the object's class; 0 in the background.

    An object's best aligned cell has the largest IoU of its cells, the others less in proportion to their alignment.
    """


@dataclass(frozen=True, slots=True)
class TaskAlignedAssigner:
    """The assigner and its options; the defaults are TOOD's form with the exponents of the YOLO families."""

    topk: int = 10
    """Cells an object may be assigned."""
    alpha: float = 0.5
    beta: float = 6.0
    one_to_one: bool = False
    """Assign one cell to each object, pairs in order of decreasing alignment; ``topk`` is not used."""
    least_px: float = 0.0
    """Shorter sides count as this long (pixels) to find the cells inside an object, so that tiny ones have some."""

    @torch.no_grad()
    def __call__(self, scores: Tensor, boxes: Tensor, centers: Tensor, targets: Targets) -> TaskAssignment:
        """From ``scores`` ``[b, n, classes]`` in 0..1, ``boxes`` ``[b, n, 4]`` and ``centers`` ``[n, 2]`` in pixels.

        A cell chosen by several objects keeps the one it overlaps most. Ties go to the first object or cell.
        """
        b, n, _ = scores.shape
        truth, labels = torch.cat(targets.boxes), torch.cat(targets.labels)
        counts = torch.tensor([len(labels_of_image) for labels_of_image in targets.labels], device=truth.device)
        images = torch.arange(b, device=truth.device).repeat_interleave(counts, output_size=len(labels))
        within = self._within(truth, centers)
        objects, cells = within.nonzero(as_tuple=True)
        overlaps = box_iou(to_float32(boxes[images[objects], cells]), truth[objects])
        chosen_scores = to_float32(scores[images[objects], cells, labels[objects]])
        alignments = chosen_scores.pow(self.alpha) * overlaps.pow(self.beta)

        slots = images[objects] * n + cells
        if self.one_to_one:
            places = torch.cat([torch.arange(count, device=truth.device) for count in map(len, targets.labels)])
            at = (images[objects], places[objects], cells)
            costs = alignments.new_full((b, max(map(len, targets.labels)), n), torch.inf)
            costs[at] = -alignments
            chosen = one_to_one_assignment(costs)[at] if costs.numel() else torch.zeros_like(cells, dtype=torch.bool)
        else:
            table = alignments.new_full(within.shape, -1.0)
            table[objects, cells] = alignments
            chosen = largest(table, self.topk)[objects, cells]
            rivals = overlaps.masked_fill(~chosen, -torch.inf)
            chosen &= best_of(slots, rivals, objects, b * n)
        objects, slots, overlaps, alignments = (x[chosen] for x in (objects, slots, overlaps, alignments))

        most_aligned, most_overlap = (
            x.new_zeros(len(truth)).scatter_reduce(0, objects, x, "amax") for x in (alignments, overlaps)
        )
        shares = alignments / most_aligned[objects].clamp(min=torch.finfo(alignments.dtype).tiny)
        assigned = torch.full((b * n,), -1, dtype=torch.int64, device=truth.device)
        assigned[slots] = objects
        qualities = alignments.new_zeros(b * n)
        qualities[slots] = shares * most_overlap[objects]
        return TaskAssignment(assigned.reshape(b, n), qualities.reshape(b, n))

    def _within(self, truth: Tensor, centers: Tensor) -> Tensor:
        """Mask ``[m, n]`` of the ``centers`` ``[n, 2]`` strictly inside the (extended) boxes ``truth`` ``[m, 4]``."""
        middle, half = (truth[:, :2] + truth[:, 2:]) / 2, (truth[:, 2:] - truth[:, :2]) / 2
        short = half * 2 < self.least_px
        low = torch.where(short, middle - self.least_px / 2, truth[:, :2])
        high = torch.where(short, middle + self.least_px / 2, truth[:, 2:])
        x, y = to_float32(centers).unbind(-1)
        return (x > low[:, :1]) & (x < high[:, :1]) & (y > low[:, 1:]) & (y < high[:, 1:])


def largest(values: Tensor, count: int) -> Tensor:
    """Mask of the ``count`` largest of each row of ``values`` ``[m, n]`` without negatives; ties go to the first."""
    count = min(count, values.shape[1])
    counts = torch.full(values.shape[:1], count, device=values.device)
    return topk_smallest(-values, counts, count) & (values >= 0)


def best_of(slots: Tensor, values: Tensor, order: Tensor, count: int) -> Tensor:
    """Mask ``[p]`` of the entry with the largest value in every slot (0 to ``count - 1``).

    Ties go to the entry that is first in ``order``.
    """
    best = values.new_full((count,), -torch.inf).scatter_reduce(0, slots, values, "amax")
    wins = values == best[slots]
    last = torch.iinfo(order.dtype).max
    first = order.new_full((count,), last).scatter_reduce(0, slots, order.masked_fill(~wins, last), "amin")
    return wins & (order == first[slots])
