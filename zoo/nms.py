"""From scored boxes to detections: thresholds and non-maximum suppression, in plain torch.

Boxes are x1, y1, x2, y2 in pixels. The result is exactly that of the greedy loop over boxes by decreasing score; only
the order of the work differs. Half precision is converted to float32 first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.errors import BadInput

BLOCK, BLOCK_CPU = 1024, 256
"""Boxes processed in one step: a matter of caches on a CPU, of the number of kernels elsewhere."""
KEPT_TILE = 1024
"""Kept boxes compared with a block at a time: a matter of caches, and a bound on the memory."""
SMALLEST_GROUP = 16
"""Classes with up to this many boxes are processed together, then those with up to twice as many, and so on."""
PAIRS = 1 << 18
"""Pairs of boxes in one step over several classes."""
GROUPED_FROM = 800
"""From this number of boxes on, classes are processed separately."""


@dataclass(frozen=True, slots=True)
class Detections:
    """Detections of one image, best first: boxes ``[n, 4]`` in pixels, scores ``[n]``, labels ``[n]`` int64."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True)
class Selection:
    """How a family's official evaluation turns scored boxes into detections.

    A score must be greater than ``score_threshold``. ``multi_label`` takes every class of a box, else its best class
    only. The best ``max_candidates`` go into the suppression and the best ``max_detections`` come out; None means all.
    ``iou_threshold`` None means no suppression: an end-to-end family.
    """

    score_threshold: float
    iou_threshold: float | None
    multi_label: bool
    max_candidates: int | None
    max_detections: int | None

    def __post_init__(self) -> None:
        if self.iou_threshold is not None:
            _check_threshold(self.iou_threshold)
        for name in ("max_candidates", "max_detections"):
            most = getattr(self, name)
            if most is not None and most < 1:
                raise BadInput(f"{name} {most}: must be 1 or more; None means all")


@torch.no_grad()
def iou_matrix(a: Tensor, b: Tensor) -> Tensor:
    """IoU ``[..., n, m]`` of every box of ``a`` ``[..., n, 4]`` with every box of ``b`` ``[..., m, 4]``.

    0 where both boxes have no area.
    """
    # contiguous coordinates, for vector instructions
    ax1, ay1, ax2, ay2 = _to_float32(a).movedim(-1, 0).contiguous()[..., :, None].unbind()
    bx1, by1, bx2, by2 = _to_float32(b).movedim(-1, 0).contiguous()[..., None, :].unbind()
    width = torch.minimum(ax2, bx2).sub_(torch.maximum(ax1, bx1)).clamp_(min=0)
    inter = torch.minimum(ay2, by2).sub_(torch.maximum(ay1, by1)).clamp_(min=0).mul_(width)
    area_a = (ax2 - ax1).clamp_(min=0) * (ay2 - ay1).clamp_(min=0)
    area_b = (bx2 - bx1).clamp_(min=0) * (by2 - by1).clamp_(min=0)
    union = torch.add(area_a, area_b, out=width).sub_(inter)
    return inter.div_(union.clamp_(min=torch.finfo(union.dtype).tiny))


@torch.no_grad()
def nms(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float, max_kept: int | None = None
) -> Tensor:
    """Indices of the kept boxes ``[n, 4]`` by decreasing ``scores`` ``[n]``; of equal scores the lower index first.

    A box is suppressed when its IoU with a better kept box is greater than ``iou_threshold``; with ``labels`` ``[n]``,
    only kept boxes of its own label count. ``max_kept`` stops at this number.
    """
    _check_threshold(iou_threshold)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
        raise BadInput(f"boxes {list(boxes.shape)} and scores {list(scores.shape)}: must be [n, 4] and [n]")
    if labels is not None and labels.shape != scores.shape:
        raise BadInput(f"labels {list(labels.shape)}: must be {list(scores.shape)}, one a box")
    order = torch.sort(scores, descending=True, stable=True).indices
    boxes = _to_float32(boxes)[order]
    if labels is None:
        return order[_greedy(boxes, None, iou_threshold, max_kept)]
    labels = labels[order]
    if max_kept is not None or len(boxes) < GROUPED_FROM:
        return order[_greedy(boxes, labels, iou_threshold, max_kept)]
    return order[_greedy_by_label(boxes, labels, iou_threshold)]


@torch.no_grad()
def select(boxes: Tensor, scores: Tensor, selection: Selection) -> list[Detections]:
    """Detections of every image of a batch, from boxes ``[B, N, 4]`` in pixels and class scores ``[B, N, C]``.

    Of equal scores the earlier box comes first, and of one box the lower class.
    """
    if boxes.ndim != 3 or scores.ndim != 3 or boxes.shape != (*scores.shape[:2], 4):
        raise BadInput(f"boxes {list(boxes.shape)} and scores {list(scores.shape)}: must be [B, N, 4] and [B, N, C]")
    return [_select_one(*pair, selection) for pair in zip(_to_float32(boxes), _to_float32(scores), strict=True)]


def best_of_all(boxes: Tensor, scores: Tensor, most: int) -> Tensor:
    """The ``most`` best (box, class) pairs of every image as ``[B, most, 6]``: x1, y1, x2, y2, score, label.

    The selection inside exported NMS-free networks, where shapes must be static: fewer rows only if there are fewer
    boxes. Two steps, because only the ``most`` boxes with the best class can give one of the best pairs.
    """
    classes = scores.shape[-1]
    most = min(most, scores.shape[1])
    _, first = scores.amax(-1).topk(most, dim=1)
    boxes = boxes.gather(1, first[:, :, None].expand(-1, -1, 4))
    values, pair = scores.gather(1, first[:, :, None].expand(-1, -1, classes)).flatten(1).topk(most, dim=1)
    row = pair // classes
    found = boxes.gather(1, row[:, :, None].expand(-1, -1, 4))
    return torch.cat([found, values[:, :, None], (pair % classes)[:, :, None].to(boxes.dtype)], -1)


def _select_one(boxes: Tensor, scores: Tensor, selection: Selection) -> Detections:
    """Detections of one image, from boxes ``[N, 4]`` and scores ``[N, C]``."""
    classes = scores.shape[1]
    if selection.multi_label or not scores.numel():
        flat = scores.flatten()
        candidate = (flat > selection.score_threshold).nonzero()[:, 0]
        values, rows, labels = flat[candidate], candidate // max(classes, 1), candidate % max(classes, 1)
    else:
        best, label = scores.max(1)
        rows = (best > selection.score_threshold).nonzero()[:, 0]
        values, labels = best[rows], label[rows]
    most = selection.max_candidates if selection.iou_threshold is not None else _least(selection)
    first = _best(values, most)
    found, values, labels = boxes[rows[first]], values[first], labels[first]
    if selection.iou_threshold is not None:
        kept = nms(found, values, labels, selection.iou_threshold, selection.max_detections)
        found, values, labels = found[kept], values[kept], labels[kept]
    return Detections(found, values, labels)


def _least(selection: Selection) -> int | None:
    """The smaller of the two caps."""
    caps = [cap for cap in (selection.max_candidates, selection.max_detections) if cap is not None]
    return min(caps, default=None)


def _best(values: Tensor, most: int | None) -> Tensor:
    """Indices of the ``most`` greatest of ``values`` ``[n]``, greatest first; of equal ones the lower index first."""
    if most is None or most >= len(values):
        return torch.sort(values, descending=True, stable=True).indices
    # topk alone may take any of several equal values, so it only gives the smallest value that can be among them
    among = (values >= values.topk(most, sorted=False).values.min()).nonzero()[:, 0]
    return among[torch.sort(values[among], descending=True, stable=True).indices[:most]]


def _greedy(boxes: Tensor, labels: Tensor | None, threshold: float, max_kept: int | None) -> Tensor:
    """Ascending positions of the kept ones among ``boxes`` ``[n, 4]``, which are sorted best first.

    A block of boxes is first compared with those kept so far and then processed within itself.
    """
    places = torch.arange(len(boxes), device=boxes.device)
    kept = places[:0]
    for block in places.split(_block(boxes)):
        for better in kept.split(KEPT_TILE):
            if len(better):
                block = block[~_suppresses(boxes, labels, better, block, threshold).any(0)]
        if len(block):
            kept = torch.cat([kept, block[_greedy_mask(_suppresses(boxes, labels, block, block, threshold))]])
        if max_kept is not None and len(kept) >= max_kept:
            return kept[:max_kept]
    return kept


def _greedy_by_label(boxes: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """``_greedy`` within each label: pairs of different labels are never compared."""
    by_label = torch.sort(labels, stable=True)
    sizes = torch.unique_consecutive(by_label.values, return_counts=True)[1]
    starts = sizes.cumsum(0) - sizes
    kept = []
    least, most = 0, SMALLEST_GROUP
    while most <= _block(boxes):
        groups = ((sizes > least) & (sizes <= most)).nonzero()[:, 0]
        rank = torch.arange(most, device=boxes.device)
        for some in groups.split(max(PAIRS // most**2, 1)):
            filled = rank < sizes[some][:, None]
            places = by_label.indices[torch.where(filled, starts[some][:, None] + rank, 0)]
            # padding has no area and suppresses nothing
            padded = boxes[places].masked_fill_(~filled[:, :, None], 0)
            kept.append(places[_greedy_mask(iou_matrix(padded, padded) > threshold) & filled])
        least, most = most, 2 * most
    for start, size in torch.stack([starts, sizes], 1)[sizes > least].tolist():
        places = by_label.indices[start : start + size]
        kept.append(places[_greedy(boxes[places], None, threshold, None)])
    return torch.cat(kept).sort().values


def _suppresses(boxes: Tensor, labels: Tensor | None, better: Tensor, worse: Tensor, threshold: float) -> Tensor:
    """Whether each box of ``better`` ``[n]`` would suppress each of ``worse`` ``[m]``: bool ``[n, m]``."""
    over = iou_matrix(boxes[better], boxes[worse]) > threshold
    if labels is not None:
        over &= labels[better][:, None] == labels[worse]
    return over


def _greedy_mask(over: Tensor) -> Tensor:
    """Greedy mask of kept boxes ``[..., n]`` for ``over[..., i, j]``: box i, if kept, suppresses the later box j.

    After pass k the first k boxes are final; a pass that changes nothing has reached the only fixed point.
    """
    weights = over.triu_(1).float()
    keep = torch.ones_like(weights[..., :1, :])
    while True:
        after = (keep @ weights == 0).float()
        if torch.equal(after, keep):
            return keep[..., 0, :].bool()
        keep = after


def _block(boxes: Tensor) -> int:
    return BLOCK_CPU if boxes.device.type == "cpu" else BLOCK


def _to_float32(x: Tensor) -> Tensor:
    """``x`` in float32; float64 stays."""
    return x if x.dtype == torch.float64 else x.float()


def _check_threshold(threshold: float) -> None:
    if not 0 <= threshold <= 1:
        raise BadInput(f"IoU threshold {threshold}: must be from 0 to 1")
