"""Task-aligned assignment of cells to objects (TOOD, Feng et al. 2021).

A cell's alignment with an object is ``score ** alpha * overlap ** beta``: its score of the object's class and the CIoU
(at least 0) of its box with the object's. An object is assigned the best aligned of the cells inside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.learning.assign_ota import topk_smallest
from zoo.learning.losses import box_iou, to_float32
from zoo.learning.targets import Targets

ALIGNMENT_EPS = 1e-9
"""Added to an object's best alignment where the others are divided by it."""


@dataclass(frozen=True, slots=True)
class TaskAssignment:
    """The object and the target score of every cell of a batch."""

    objects: Tensor
    """int64 ``[b, n]``: index into the objects of all images of the batch, -1 for background."""
    qualities: Tensor
    """``[b, n]``, 0..1: target score of the object's class; 0 in the background.

    An object's best aligned cell has the largest overlap of its cells, the others less in proportion to their
    alignment; where even the best alignment is not far above ``ALIGNMENT_EPS``, all have less.
    """


@dataclass(frozen=True, slots=True)
class TaskAlignedAssigner:
    """The assigner and its options; the defaults are TOOD's form with the exponents of the YOLO families."""

    topk: int = 10
    """Cells an object may be assigned."""
    alpha: float = 0.5
    beta: float = 6.0
    kept: int | None = None
    """Of the cells that an object has after conflicts are resolved, only so many of the best aligned stay (None: all).
    With 1 the assignment is one-to-one."""
    small_px: float = 8.0
    """Sides below this (pixels) count as ``small_as_px`` to find the cells inside an object, so that tiny ones have
    some."""
    small_as_px: float = 16.0

    @torch.no_grad()
    def __call__(self, scores: Tensor, boxes: Tensor, centers: Tensor, targets: Targets) -> TaskAssignment:
        """From ``scores`` ``[b, n, classes]`` in 0..1, ``boxes`` ``[b, n, 4]`` and ``centers`` ``[n, 2]`` in pixels.

        A cell chosen by several objects goes to the one it overlaps most, of all objects it is inside of. Ties go to
        the first object or cell.
        """
        b, n, _ = scores.shape
        truth, labels = torch.cat(targets.boxes), torch.cat(targets.labels)
        counts = torch.tensor([len(labels_of_image) for labels_of_image in targets.labels], device=truth.device)
        images = torch.arange(b, device=truth.device).repeat_interleave(counts, output_size=len(labels))
        within = self._within(truth, centers)
        objects, cells = within.nonzero(as_tuple=True)
        overlaps = box_iou(to_float32(boxes[images[objects], cells]), truth[objects], "ciou").clamp(min=0)
        chosen_scores = to_float32(scores[images[objects], cells, labels[objects]])
        alignments = chosen_scores.pow(self.alpha) * overlaps.pow(self.beta)

        slots = images[objects] * n + cells
        chosen = self._best(alignments, objects, cells, within.shape, self.topk)
        takers = torch.zeros(b * n, dtype=torch.int64, device=truth.device).scatter_add_(0, slots, chosen.long())
        chosen = torch.where(takers[slots] > 1, best_of(slots, overlaps, objects, b * n), chosen)
        if self.kept is not None:
            left = alignments.masked_fill(~chosen, -1.0)
            chosen &= self._best(left, objects, cells, within.shape, self.kept)
        objects, slots, overlaps, alignments = (x[chosen] for x in (objects, slots, overlaps, alignments))

        most_aligned, most_overlap = (
            x.new_zeros(len(truth)).scatter_reduce(0, objects, x, "amax") for x in (alignments, overlaps)
        )
        shares = alignments / (most_aligned[objects] + ALIGNMENT_EPS)
        assigned = torch.full((b * n,), -1, dtype=torch.int64, device=truth.device)
        assigned[slots] = objects
        qualities = alignments.new_zeros(b * n)
        qualities[slots] = shares * most_overlap[objects]
        return TaskAssignment(assigned.reshape(b, n), qualities.reshape(b, n))

    @staticmethod
    def _best(alignments: Tensor, objects: Tensor, cells: Tensor, shape: torch.Size, count: int) -> Tensor:
        """Mask ``[p]`` of the ``count`` best aligned pairs of each object; negative alignments are left out."""
        table = alignments.new_full(shape, -1.0)
        table[objects, cells] = alignments
        return largest(table, count)[objects, cells]

    def _within(self, truth: Tensor, centers: Tensor) -> Tensor:
        """Mask ``[m, n]`` of the ``centers`` ``[n, 2]`` strictly inside the (extended) boxes ``truth`` ``[m, 4]``."""
        middle, half = (truth[:, :2] + truth[:, 2:]) / 2, (truth[:, 2:] - truth[:, :2]) / 2
        short = half * 2 < self.small_px
        low = torch.where(short, middle - self.small_as_px / 2, truth[:, :2])
        high = torch.where(short, middle + self.small_as_px / 2, truth[:, 2:])
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
