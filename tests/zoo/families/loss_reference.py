"""Losses by slow NumPy loops, written from the papers' formulas and sharing no code with the zoo.

TOOD (Feng et al. 2021), SimOTA (Ge et al. 2021), AlignedOTA (Xu et al. 2022), CIoU (Zheng et al. 2020), GIoU
(Rezatofighi et al. 2019), quality and distribution focal loss (Li et al. 2020), varifocal loss (Zhang et al. 2021),
DETR's matching (Carion et al. 2020). Boxes are x1, y1, x2, y2 in pixels unless said otherwise; everything is float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
STRIDES = (8, 16, 32)


def cells(size: tuple[int, int], offset: float) -> tuple[Array, Array]:
    """Points ``[n, 2]`` in pixels, ``offset`` cells from the corners of their cells, and strides ``[n]``."""
    points, strides = [], []
    for stride in STRIDES:
        for row in range(size[0] // stride):
            for column in range(size[1] // stride):
                points.append(((column + offset) * stride, (row + offset) * stride))
                strides.append(stride)
    return np.array(points, float), np.array(strides, float)


def flat(levels: Sequence[Any]) -> Array:
    """Maps ``[b, c, h, w]`` of the levels as ``[b, n, c]``."""
    return np.concatenate(
        [np.asarray(level).reshape(*level.shape[:2], -1).transpose(0, 2, 1) for level in levels], 1
    ).astype(float)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-np.asarray(x, float)))


def entropy(logit: float, goal: float) -> float:
    """Binary cross entropy of a logit."""
    return max(logit, 0) - logit * goal + math.log1p(math.exp(-abs(logit)))


def overlap(a: Array, b: Array, kind: str = "iou") -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    inter = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    iou = inter / union
    wide, high = max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])
    if kind == "giou":
        return iou - (wide * high - union) / (wide * high)
    if kind == "ciou":
        apart = (a[0] + a[2] - b[0] - b[2]) ** 2 / 4 + (a[1] + a[3] - b[1] - b[3]) ** 2 / 4
        turn = math.atan((b[2] - b[0]) / (b[3] - b[1])) - math.atan((a[2] - a[0]) / (a[3] - a[1]))
        v = 4 / math.pi**2 * turn**2
        return iou - apart / (wide**2 + high**2) - (v * v / (1 - iou + v) if v else 0)
    return iou


def task_aligned(
    scores: Array, boxes: Array, points: Array, truth: Array, labels: Array, topk: int, kept: int | None
) -> tuple[Array, Array]:
    """Object (-1: none) and target quality of every cell of one image."""
    m, n = len(truth), len(points)
    inside, ious, aligned = np.zeros((m, n), bool), np.zeros((m, n)), np.zeros((m, n))
    for j, box in enumerate(truth):
        low, high = box[:2].copy(), box[2:].copy()
        for axis in range(2):
            if high[axis] - low[axis] < 8:
                middle = (low[axis] + high[axis]) / 2
                low[axis], high[axis] = middle - 8, middle + 8
        for i, point in enumerate(points):
            if (point > low).all() and (point < high).all():
                inside[j, i] = True
                ious[j, i] = max(overlap(boxes[i], box, "ciou"), 0)
                aligned[j, i] = scores[i, labels[j]] ** 0.5 * ious[j, i] ** 6
    taken = np.zeros((m, n), bool)
    for j in range(m):
        order = sorted(np.flatnonzero(inside[j]), key=lambda i: (-aligned[j, i], i))
        taken[j, order[:topk]] = True
    for i in np.flatnonzero(taken.sum(0) > 1):
        taken[:, i] = False
        taken[int(ious[:, i].argmax()), i] = True
    if kept is not None:
        for j in range(m):
            order = sorted(np.flatnonzero(taken[j]), key=lambda i: (-aligned[j, i], i))
            taken[j, order[kept:]] = False
    objects, quality = np.full(n, -1), np.zeros(n)
    for j in range(m):
        if taken[j].any():
            best, most = (aligned[j] * taken[j]).max(), (ious[j] * taken[j]).max()
            for i in np.flatnonzero(taken[j]):
                objects[i], quality[i] = j, aligned[j, i] * most / (best + 1e-9)
    return objects, quality


def dynamic_k(cost: Array, ious: Array, candidate: Array) -> Array:
    """Object of every cell (-1: none), from costs and overlaps ``[m, n]``."""
    m, n = cost.shape
    taken = np.zeros((m, n), bool)
    usable = np.flatnonzero(candidate)
    for j in range(m):
        count = max(int(sum(sorted((ious[j, i] for i in usable), reverse=True)[:10])), 1)
        taken[j, sorted(usable, key=lambda i: (cost[j, i], i))[:count]] = True
    objects = np.full(n, -1)
    for i in range(n):
        takers = np.flatnonzero(taken[:, i])
        if len(takers):
            objects[i] = takers[0] if len(takers) == 1 else int(cost[:, i].argmin())
    return objects


def distances(bins: Array) -> Array:
    """Expected distances ``[..., 4]`` from logits ``[..., 4 * bins]``."""
    table = bins.reshape(*bins.shape[:-1], 4, -1)
    shares = np.exp(table - table.max(-1, keepdims=True))
    return (shares / shares.sum(-1, keepdims=True) * np.arange(table.shape[-1])).sum(-1)


def focal_distribution(logits: Array, reach: float) -> float:
    """Cross entropy to the two bins beside ``reach``."""
    logs = logits - logits.max() - math.log(np.exp(logits - logits.max()).sum())
    low = min(int(reach), len(logits) - 2)
    return float(-logs[low] * (low + 1 - reach) - logs[low + 1] * (reach - low))


def yolo11(
    raw: dict[str, Any], truth: list[Array], labels: list[Array], size: tuple[int, int], bins: int, topk: int = 10,
    kept: int | None = None,
) -> dict[str, float]:  # fmt: skip
    """YOLO11's losses, or with ``bins`` 1 those of a branch of YOLO26, before the factor of the batch's images."""
    points, strides = cells(size, 0.5)
    sides, logits = flat(raw["boxes"]), flat(raw["classes"])
    reach = (distances(sides) if bins > 1 else sides) * strides[:, None]
    boxes = np.concatenate([points - reach[..., :2], points + reach[..., 2:]], -1)
    found = [
        task_aligned(sigmoid(logits[b]), boxes[b], points, truth[b], labels[b], topk, kept) for b in range(len(truth))
    ]
    total = max(sum(quality.sum() for _, quality in found), 1.0)
    sums = {"box": 0.0, "classes": 0.0, "distribution": 0.0, "l1": 0.0}
    for b, (objects, quality) in enumerate(found):
        for i in range(len(points)):
            j = objects[i]
            for kind in range(logits.shape[2]):
                goal = quality[i] if j >= 0 and labels[b][j] == kind else 0.0
                sums["classes"] += entropy(logits[b, i, kind], goal) / total
            if j < 0:
                continue
            weight, box = quality[i] / total, truth[b][j]
            sums["box"] += weight * (1 - overlap(boxes[b, i], box, "ciou"))
            wanted = np.array([*(points[i] - box[:2]), *(box[2:] - points[i])])
            if bins > 1:
                for side, value in enumerate(np.clip(wanted / strides[i], 0, bins - 1.01)):
                    row = sides[b, i, side * bins : (side + 1) * bins]
                    sums["distribution"] += weight * focal_distribution(row, value) / 4
            else:
                sums["l1"] += weight * float((abs(reach[b, i] - wanted) / np.array([size[1], size[0]] * 2)).mean())
    return {
        "box": 7.5 * sums["box"], "classes": 0.5 * sums["classes"],
        **({"distribution": 1.5 * sums["distribution"]} if bins > 1 else {"l1": 1.5 * sums["l1"]}),
    }  # fmt: skip


def yolox(raw: dict[str, Any], truth: list[Array], labels: list[Array], size: tuple[int, int]) -> dict[str, float]:
    """YOLOX's losses with L1."""
    corners, strides = cells(size, 0.0)
    centers = corners + strides[:, None] / 2
    offsets, objectness, logits = (flat(raw[name]) for name in ("boxes", "objectness", "classes"))
    middle = offsets[..., :2] * strides[:, None] + corners
    half = np.exp(offsets[..., 2:]) * strides[:, None] / 2
    boxes = np.concatenate([middle - half, middle + half], -1)
    sums, count = {"box": 0.0, "objectness": 0.0, "classes": 0.0, "l1": 0.0}, 0
    for b, (own, kinds) in enumerate(zip(truth, labels, strict=True)):
        m, n = len(own), len(corners)
        cost, ious, near = np.zeros((m, n)), np.zeros((m, n)), np.zeros((m, n), bool)
        for j in range(m):
            for i in range(n):
                near[j, i] = (abs(centers[i] - (own[j, :2] + own[j, 2:]) / 2) < 1.5 * strides[i]).all()
                ious[j, i] = overlap(own[j], boxes[b, i])
                score = np.sqrt(sigmoid(logits[b, i]) * sigmoid(objectness[b, i, 0]))
                cost[j, i] = -sum(math.log(s if kind == kinds[j] else 1 - s) for kind, s in enumerate(score))
                cost[j, i] += -3 * math.log(ious[j, i] + 1e-8) + (0 if near[j, i] else 1e6)
        objects = dynamic_k(cost, ious, near.any(0)) if m else np.full(n, -1)
        for i, j in enumerate(objects):
            sums["objectness"] += entropy(objectness[b, i, 0], float(j >= 0))
            if j < 0:
                continue
            count += 1
            sums["box"] += 5 * (1 - ious[j, i] ** 2)
            for kind in range(logits.shape[2]):
                sums["classes"] += entropy(logits[b, i, kind], ious[j, i] if kind == kinds[j] else 0.0)
            center, extent = (own[j, :2] + own[j, 2:]) / 2, own[j, 2:] - own[j, :2]
            wanted = np.concatenate([(center - corners[i]) / strides[i], np.log(extent / strides[i])])
            sums["l1"] += float(abs(offsets[b, i] - wanted).sum())
    return {name: value / max(count, 1) for name, value in sums.items()}


def damo_yolo(
    raw: dict[str, Any], truth: list[Array], labels: list[Array], size: tuple[int, int], bins: int
) -> dict[str, float]:
    """DAMO-YOLO's losses."""
    points, strides = cells(size, 0.0)
    sides, logits = flat(raw["boxes"]), flat(raw["classes"])
    reach = distances(sides) * strides[:, None]
    boxes = np.concatenate([points - reach[..., :2], points + reach[..., 2:]], -1)
    sums, count, norm = {"quality": 0.0, "box": 0.0, "distribution": 0.0}, 0, 0.0
    for b, (own, kinds) in enumerate(zip(truth, labels, strict=True)):
        m, n = len(own), len(points)
        cost, ious, within, near = (np.zeros((m, n), kind) for kind in (float, float, bool, bool))
        for j in range(m):
            for i in range(n):
                within[j, i] = (points[i] > own[j, :2]).all() and (points[i] < own[j, 2:]).all()
                near[j, i] = (abs(points[i] - (own[j, :2] + own[j, 2:]) / 2) < 2.5 * strides[i]).all()
                ious[j, i] = overlap(own[j], boxes[b, i])
                for kind, logit in enumerate(logits[b, i]):
                    goal = ious[j, i] if kind == kinds[j] else 0.0
                    cost[j, i] += entropy(logit, goal) * abs(goal - sigmoid(logit)) ** 2
                cost[j, i] += -3 * math.log(ious[j, i] + 1e-7) + (0 if within[j, i] and near[j, i] else 1e8)
        objects = dynamic_k(cost, ious, (within | near).any(0)) if m else np.full(n, -1)
        for i, j in enumerate(objects):
            for kind, logit in enumerate(logits[b, i]):
                goal = ious[j, i] if j >= 0 and kind == kinds[j] else 0.0
                sums["quality"] += entropy(logit, goal) * abs(goal - sigmoid(logit)) ** 2
            if j < 0:
                continue
            weight = float(sigmoid(logits[b, i]).max())
            count, norm = count + 1, norm + weight
            sums["box"] += 2 * weight * (1 - overlap(boxes[b, i], own[j], "giou"))
            wanted = np.concatenate([points[i] - own[j, :2], own[j, 2:] - points[i]]) / strides[i]
            for side, value in enumerate(np.clip(wanted, 0, bins - 1 - 0.1)):
                row = sides[b, i, side * bins : (side + 1) * bins]
                sums["distribution"] += 0.25 * weight * focal_distribution(row, value) / 4
    quality = sums.pop("quality") / max(count, 1)
    return {"quality": quality, **{name: value / max(norm, 1.0) for name, value in sums.items()}}


def rtdetrv2_layer(
    logits: Array, boxes: Array, truth: list[Array], labels: list[Array], size: tuple[int, int]
) -> dict[str, float]:
    """Losses of one layer: ``logits`` ``[b, q, classes]``, ``boxes`` ``[b, q, 4]`` cx, cy, w, h in 0..1."""
    from scipy.optimize import linear_sum_assignment

    scale = np.array([size[1], size[0]] * 2, float)
    objects = max(sum(map(len, labels)), 1)
    sums = {"classes": 0.0, "l1": 0.0, "giou": 0.0}
    for b, (own, kinds) in enumerate(zip(truth, labels, strict=True)):
        true = [np.concatenate([(box[:2] + box[2:]) / 2, box[2:] - box[:2]]) / scale for box in own]
        corners = [np.concatenate([box[:2] - box[2:] / 2, box[:2] + box[2:] / 2]) for box in boxes[b]]
        wanted = [box / scale for box in own]
        cost = np.zeros((len(corners), len(own)))
        for q in range(len(corners)):
            for j in range(len(own)):
                p = float(sigmoid(logits[b, q, kinds[j]]))
                focal = -0.25 * (1 - p) ** 2 * math.log(p + 1e-8) + 0.75 * p**2 * math.log(1 - p + 1e-8)
                apart = float(abs(boxes[b, q] - true[j]).sum())
                cost[q, j] = 2 * focal + 5 * apart - 2 * overlap(corners[q], wanted[j], "giou")
        goal = np.zeros(logits.shape[1:])
        chosen = np.zeros(logits.shape[1:], bool)
        for q, j in zip(*linear_sum_assignment(cost), strict=True):
            goal[q, kinds[j]], chosen[q, kinds[j]] = overlap(corners[q], wanted[j]), True
            sums["l1"] += 5 * float(abs(boxes[b, q] - true[j]).sum()) / objects
            sums["giou"] += 2 * (1 - overlap(corners[q], wanted[j], "giou")) / objects
        for q in range(len(corners)):
            for kind, logit in enumerate(logits[b, q]):
                weight = goal[q, kind] if chosen[q, kind] else 0.75 * float(sigmoid(logit)) ** 2
                sums["classes"] += weight * entropy(logit, goal[q, kind]) / objects
    return sums
