"""Which cell learns which object: the assignments that pick a number of cells an object by cost (OTA's simple forms).

A cell is a candidate if it is near some object of its image. An object takes as many of the cheapest candidates as the
best overlaps sum up to, and a cell that several objects took learns the one it is cheapest for. Everything runs for all
objects and cells of several images at once, without a gradient, and answers the same on every device: of equal costs
the lower index comes first.
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
"""So many of an object's best overlaps are summed to say how many cells learn it."""
FAR = 1e5
"""Added to the cost of a cell that is a candidate for another object only, so that it is taken last.

DAMO-YOLO's code adds 1e8 and YOLOX's 1e6. Float32 then tells no costs apart that are nearer than 8 or 0.06, and an object
too small to hold a cell gets an arbitrary one; with 1e5 it gets the cheapest, to 0.01.
"""
PAIRS = 1 << 24
"""Pairs of cell and object that are looked at together: bounds the memory, 64 MiB a matrix."""

Costs = Callable[[slice, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class Assignment:
    """What every cell of every image learns."""

    objects: Tensor
    """int64 ``[b, n]``: the object's place among those of its image, -1 for none."""
    ious: Tensor
    """float32 ``[b, n]``: how well the cell's predicted box overlaps its object; 0 where it has none."""

    @property
    def positive(self) -> Tensor:
        """Which cells have an object, bool ``[b, n]``."""
        return self.objects >= 0

    def found(self, targets: Targets) -> Found:
        """The cells with an object, image by image, cell by cell."""
        rows, cells = self.positive.nonzero(as_tuple=True)
        counts = [len(labels) for labels in targets.labels]
        starts = torch.tensor([0, *counts[:-1]], device=rows.device).cumsum(0)
        objects = starts[rows] + self.objects[rows, cells]
        boxes, labels = torch.cat(targets.boxes), torch.cat(targets.labels)
        return Found(rows, cells, boxes[objects], labels[objects], self.ious[rows, cells])


@dataclass(frozen=True, slots=True)
class Found:
    """The ``p`` cells of a batch that learn an object."""

    rows: Tensor
    """Image of each, int64 ``[p]``."""
    cells: Tensor
    """Place of each among the cells of its image, int64 ``[p]``."""
    boxes: Tensor
    """True box of each, ``[p, 4]``."""
    labels: Tensor
    """True class of each, int64 ``[p]``."""
    ious: Tensor
    """How well its predicted box overlaps the true one, ``[p]``."""

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, values: Tensor) -> Tensor:
        """Their share of ``values`` ``[b, n, ...]``: ``[p, ...]``."""
        return values.flatten(0, 1)[self.rows * values.shape[1] + self.cells]


@torch.no_grad()
def aligned_ota(
    boxes: Tensor, logits: Tensor, anchors: Tensor, strides: Tensor, targets: Targets, one_to_one: bool = False
) -> Assignment:
    """DAMO-YOLO's AlignedOTA (Xu et al. 2022), for predicted ``boxes`` ``[b, n, 4]`` in pixels and class ``logits``
    ``[b, n, c]`` of cells at ``anchors`` ``[n, 2]`` (pixels) with ``strides`` ``[n, 1]``.

    A candidate lies in a box or within 2.5 cells of its centre in x and in y; an object's own candidates are both. The cost
    is the quality focal loss with the overlap as the true quality, plus 3 times the negative logarithm of the overlap.
    ``one_to_one`` gives each object one cell by the same costs: its cheapest, unless another object needs that more.
    """

    def costs(images: slice, true: Tensor, labels: Tensor, there: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        in_box = _within(anchors, true[..., :2], true[..., 2:]) & there[..., None]
        centre, reach = (true[..., :2] + true[..., 2:]) / 2, 2.5 * strides
        near = _near(anchors, centre, reach) & there[..., None]
        overlaps = iou_pairwise(true, boxes[images])
        some = to_float32(logits[images])
        scores = some.sigmoid()
        background = F.softplus(some) * scores.square()
        # of the true class: quality focal loss instead of the background's share that the sum over classes holds
        chosen = _of_classes(some, labels)
        entropy = F.softplus(chosen) - chosen * overlaps
        quality = entropy * (overlaps - chosen.sigmoid()).square()
        cost = background.sum(-1)[:, None] - _of_classes(background, labels) + quality
        cost -= 3 * (overlaps + 1e-7).log()
        candidate = (in_box | near).any(1)
        return cost.add_(~(in_box & near), alpha=FAR), overlaps, candidate

    return _assign(costs, targets, len(anchors), anchors.device, one_to_one)


@torch.no_grad()
def sim_ota(
    boxes: Tensor, logits: Tensor, objectness: Tensor, centres: Tensor, strides: Tensor, targets: Targets
) -> Assignment:
    """YOLOX's SimOTA (Ge et al. 2021), for predicted ``boxes`` ``[b, n, 4]`` in pixels, class ``logits`` ``[b, n, c]`` and
    ``objectness`` logits ``[b, n, 1]`` of cells at ``centres`` ``[n, 2]`` (pixels) with ``strides`` ``[n, 1]``.

    A candidate lies within 1.5 cells of an object's centre in x and in y. The cost is the binary cross entropy of the
    scores (root of objectness times class) to the true class, plus 3 times the negative logarithm of the overlap.
    """

    def costs(images: slice, true: Tensor, labels: Tensor, there: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        near = _near(centres, (true[..., :2] + true[..., 2:]) / 2, 1.5 * strides) & there[..., None]
        overlaps = iou_pairwise(true, boxes[images])
        log_score = (F.logsigmoid(to_float32(logits[images])) + F.logsigmoid(to_float32(objectness[images]))) / 2
        # a score that rounds to 1 leaves the logarithm of 0
        log_rest = (-torch.expm1(log_score)).log().clamp(min=-100)
        cost = _of_classes(log_rest - log_score.clamp(min=-100), labels) - log_rest.sum(-1)[:, None]
        cost -= 3 * (overlaps + 1e-8).log()
        return cost.add_(~near, alpha=FAR), overlaps, near.any(1)

    return _assign(costs, targets, len(centres), centres.device, False)


def _assign(costs: Costs, targets: Targets, cells: int, device: torch.device, one_to_one: bool) -> Assignment:
    """The assignment by ``costs``: for some images and their objects ``[b, m, ...]``, cost and overlap ``[b, m, n]`` and which
    cells are candidates ``[b, n]``."""
    every_box, every_label, every_there = targets.padded()
    most = every_label.shape[1]
    objects = torch.full((len(targets), cells), -1, dtype=torch.int64, device=device)
    ious = torch.zeros(len(targets), cells, device=device)
    step = max(PAIRS // max(most * cells, 1), 1)
    for start in range(0, len(targets) if most and cells else 0, step):
        images = slice(start, start + step)
        there = every_there[images]
        cost, overlap, candidate = costs(images, every_box[images], every_label[images], there)
        # what overflowed is nobody's candidate; the losses say that it did
        possible = candidate[:, None] & there[..., None] & cost.isfinite()
        cost = cost.masked_fill_(~possible, torch.inf)
        overlap = overlap.masked_fill_(~possible, 0)
        taken = one_each(cost) if one_to_one else cheapest_few(cost, overlap)
        objects[images] = torch.where(taken.any(1), taken.to(torch.uint8).argmax(1), -1)
        ious[images] = (overlap * taken).sum(1)
    return Assignment(objects, ious)


def cheapest_few(cost: Tensor, overlap: Tensor) -> Tensor:
    """Which cell learns which object, bool ``[b, m, n]``, from costs and overlaps ``[b, m, n]``; infinite is impossible.

    Each object takes the whole part of the sum of its ten best overlaps, at least one; a cell keeps one object at most.
    """
    some = min(OVERLAPS_SUMMED, cost.shape[-1])
    wanted = overlap.topk(some, -1).values.sum(-1).floor().clamp(1, some).long()
    taken = topk_smallest(cost, wanted, some) & cost.isfinite()
    several = taken.sum(1, keepdim=True) > 1
    cheapest = _places(cost, 1) == cost.argmin(1, keepdim=True)
    return torch.where(several, cheapest, taken)


def topk_smallest(values: Tensor, wanted: Tensor, most: int) -> Tensor:
    """Which of ``values`` ``[..., n]`` are the lowest ``wanted`` ``[...]`` (1 to ``most``), bool ``[..., n]``; of equal ones
    the first."""
    last = values.topk(most, -1, largest=False, sorted=True).values.gather(-1, wanted[..., None] - 1)
    below, level = values < last, values == last
    room = wanted[..., None] - below.sum(-1, keepdim=True)
    return below | (level & (level.cumsum(-1, dtype=torch.int32) <= room))


def one_each(cost: Tensor) -> Tensor:
    """Pairs of object and cell by rising cost, each of them once: bool ``[b, m, n]`` from ``[b, m, n]``; infinite is impossible.

    Objects ask for their cheapest cell; a cell keeps the one it is cheapest for, and the others ask elsewhere. What this
    ends with is what taking the pairs one after the other would give.
    """
    cost = cost.clone()
    while True:
        asked = (_places(cost, 2) == cost.argmin(2, keepdim=True)) & cost.isfinite()
        winner = cost.masked_fill(~asked, torch.inf).argmin(1, keepdim=True)
        kept = asked & (_places(cost, 1) == winner)
        if torch.equal(kept, asked):
            return kept
        cost.masked_fill_(asked & ~kept, torch.inf)


def _places(like: Tensor, dim: int) -> Tensor:
    """0, 1, 2, ... along ``dim`` of ``like`` ``[b, m, n]``."""
    places = torch.arange(like.shape[dim], device=like.device)
    return places[:, None] if dim == 1 else places


def _within(points: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Which points ``[n, 2]`` lie strictly between corners ``[b, m, 2]``, bool ``[b, m, n]``."""
    x, y = points.unbind(-1)
    inside_x = (x > low[..., 0, None]) & (x < high[..., 0, None])
    return inside_x & (y > low[..., 1, None]) & (y < high[..., 1, None])


def _near(points: Tensor, centres: Tensor, reach: Tensor) -> Tensor:
    """Which points ``[n, 2]`` are nearer than ``reach`` ``[n, 1]`` to centres ``[b, m, 2]`` in x and in y, bool ``[b, m, n]``."""
    x, y = points.unbind(-1)
    far = reach[:, 0]
    return ((x - centres[..., 0, None]).abs() < far) & ((y - centres[..., 1, None]).abs() < far)


def _of_classes(values: Tensor, labels: Tensor) -> Tensor:
    """Of ``values`` ``[b, n, c]`` those of each object's class ``[b, m]``, as ``[b, m, n]``."""
    return values.transpose(1, 2).gather(1, labels[..., None].expand(-1, -1, values.shape[1]))
