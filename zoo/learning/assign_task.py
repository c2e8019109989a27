"""Which cells learn which object by how well they do both tasks: task-aligned assignment (TOOD, Feng et al. 2021).

A cell's alignment with an object is ``score ** alpha * overlap ** beta``, of the score it gives the object's class and
the overlap of its box with the object's. The cells inside an object that are best aligned with it learn it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.learning.assign_ota import one_each, topk_smallest
from zoo.learning.losses import box_iou, to_float32
from zoo.learning.targets import Targets


@dataclass(frozen=True, slots=True)
class Assigned:
    """What every cell of a batch learns."""

    objects: Tensor
    """int64 ``[b, n]``: which of the batch's objects, counted through all images, or -1 for background."""
    qualities: Tensor
    """``[b, n]``, 0..1: the score that a cell is to give its object's class. 0 in the background.

    An object's best aligned cell has the largest overlap of its cells, the others less in proportion to their alignment.
    """


@dataclass(frozen=True, slots=True)
class TaskAligned:
    """The rule and its settings; the defaults are TOOD's form with the exponents of the YOLO families."""

    topk: int = 10
    """Cells an object may choose."""
    alpha: float = 0.5
    beta: float = 6.0
    one_to_one: bool = False
    """One cell an object instead, and one object a cell: pairs are taken by falling alignment. ``topk`` is not used."""
    least_px: float = 0.0
    """Sides shorter than this count as this long when cells inside an object are looked for, so that tiny ones have some."""

    @torch.no_grad()
    def __call__(self, scores: Tensor, boxes: Tensor, centres: Tensor, targets: Targets) -> Assigned:
        """From ``scores`` ``[b, n, classes]`` in 0..1, ``boxes`` ``[b, n, 4]`` and ``centres`` ``[n, 2]`` in pixels.

        A cell that several objects choose learns the one it overlaps most. Among equals the first object or cell wins.
        """
        b, n, _ = scores.shape
        truth, labels = torch.cat(targets.boxes), torch.cat(targets.labels)
        counts = torch.tensor([len(one) for one in targets.labels], device=truth.device)
        images = torch.arange(b, device=truth.device).repeat_interleave(counts, output_size=len(labels))
        within = self._within(truth, centres)
        objects, cells = within.nonzero(as_tuple=True)
        overlaps = box_iou(to_float32(boxes[images[objects], cells]), truth[objects])
        alignments = to_float32(scores[images[objects], cells, labels[objects]]).pow(self.alpha) * overlaps.pow(self.beta)

        slots = images[objects] * n + cells
        if self.one_to_one:
            places = torch.cat([torch.arange(len(one), device=truth.device) for one in targets.labels])
            at = (images[objects], places[objects], cells)
            costs = alignments.new_full((b, max(map(len, targets.labels)), n), torch.inf)
            costs[at] = -alignments
            chosen = one_each(costs)[at] if costs.numel() else torch.zeros_like(cells, dtype=torch.bool)
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
        found = Assigned(
            torch.full((b * n,), -1, dtype=torch.int64, device=truth.device), alignments.new_zeros(b * n)
        )
        found.objects[slots] = objects
        found.qualities[slots] = shares * most_overlap[objects]
        return Assigned(found.objects.reshape(b, n), found.qualities.reshape(b, n))

    def _within(self, truth: Tensor, centres: Tensor) -> Tensor:
        """Which ``centres`` lie strictly inside which box of ``truth`` ``[m, 4]``, lengthened as told: bool ``[m, n]``."""
        middle, half = (truth[:, :2] + truth[:, 2:]) / 2, (truth[:, 2:] - truth[:, :2]) / 2
        long = half * 2 < self.least_px
        low = torch.where(long, middle - self.least_px / 2, truth[:, :2])
        high = torch.where(long, middle + self.least_px / 2, truth[:, 2:])
        x, y = to_float32(centres).unbind(-1)
        return (x > low[:, :1]) & (x < high[:, :1]) & (y > low[:, 1:]) & (y < high[:, 1:])


def largest(values: Tensor, count: int) -> Tensor:
    """Where the ``count`` largest of each row of ``values`` ``[m, n]`` are, bool; of equal ones the first. None below 0."""
    count = min(count, values.shape[1])
    wanted = torch.full(values.shape[:1], count, device=values.device)
    return topk_smallest(-values, wanted, count) & (values >= 0)


def best_of(slots: Tensor, values: Tensor, order: Tensor, count: int) -> Tensor:
    """Of entries ``[p]`` that share a slot (0 to ``count - 1``) the one of the largest value, and of equal ones the one
    that is first in ``order``: bool ``[p]``.
    """
    best = values.new_full((count,), -torch.inf).scatter_reduce(0, slots, values, "amax")
    wins = values == best[slots]
    none = torch.iinfo(order.dtype).max
    first = order.new_full((count,), none).scatter_reduce(0, slots, order.masked_fill(~wins, none), "amin")
    return wins & (order == first[slots])
