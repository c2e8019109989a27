"""Does a detector learn? Sixteen drawn pictures, learned by heart, and the AP50 on the very same pictures."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from zoo.detector import Detector
from zoo.images import prepare
from zoo.learning.losses import iou_pairwise
from zoo.learning.targets import Phase, Targets, total
from zoo.nms import Detections

CLASSES = 3
"""Disks, rectangles and triangles."""
CLOSING = 0.8
"""Share of the steps after which training closes."""


def shapes(count: int, side: int, seed: int = 0) -> tuple[list[np.ndarray], Targets]:
    """Pictures ``uint8 [side, side, 3]`` of one to four shapes each, apart from one another, and their boxes.

    Colours and places are random; the class is the shape alone.
    """
    random = np.random.RandomState(seed)
    pictures, boxes, labels = [], [], []
    for _ in range(count):
        ground = random.randint(0, 90, 3)
        canvas = Image.fromarray((ground + random.randint(0, 40, (side, side, 1))).astype(np.uint8))
        pen = ImageDraw.Draw(canvas)
        placed: list[tuple[int, int, int, int]] = []
        for _ in range(random.randint(1, 5)):
            width, height = (int(v) for v in random.randint(side // 8, side // 2, 2))
            x, y = int(random.randint(0, side - width)), int(random.randint(0, side - height))
            box = (x, y, x + width, y + height)
            if not any(
                box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3] for other in placed
            ):
                placed.append(box)
        kinds = [int(kind) for kind in random.randint(0, CLASSES, len(placed))]
        for (x1, y1, x2, y2), kind in zip(placed, kinds, strict=True):
            # the drawn end is a pixel inside the box's, which lies between pixels
            x2, y2 = x2 - 1, y2 - 1
            colour = tuple(int(v) for v in random.randint(120, 256, 3))
            if kind == 0:
                pen.ellipse((x1, y1, x2, y2), fill=colour)
            elif kind == 1:
                pen.rectangle((x1, y1, x2, y2), fill=colour)
            else:
                pen.polygon([(x1, y2), (x2, y2), ((x1 + x2) // 2, y1)], fill=colour)
        pictures.append(np.asarray(canvas))
        boxes.append(torch.tensor(placed, dtype=torch.float32).reshape(-1, 4))
        labels.append(torch.tensor(kinds, dtype=torch.int64))
    return pictures, Targets(tuple(boxes), tuple(labels), tuple(torch.zeros(0, 4) for _ in boxes))


def ap50(found: list[Detections], targets: Targets, classes: int) -> float:
    """Mean over the classes that occur of the area below precision (made falling) over recall, at IoU 0.5.

    Detections are taken by falling score over all pictures; each takes the free object that it overlaps most.
    """
    means = []
    for kind in range(classes):
        true = [boxes[labels == kind] for boxes, labels in zip(targets.boxes, targets.labels, strict=True)]
        objects = sum(map(len, true))
        if not objects:
            continue
        free = [torch.ones(len(boxes), dtype=torch.bool) for boxes in true]
        rows = [
            (float(score), at, box)
            for at, one in enumerate(found)
            for score, box, label in zip(one.scores, one.boxes, one.labels, strict=True)
            if int(label) == kind
        ]
        hits = [_takes(box, true[at], free[at]) for _, at, box in sorted(rows, key=lambda row: -row[0])]
        right = np.cumsum(hits) if hits else np.zeros(0)
        precision = right / np.arange(1, len(hits) + 1)
        falling = np.maximum.accumulate(precision[::-1])[::-1]
        means.append(float((falling * np.asarray(hits, dtype=float)).sum()) / objects)
    return float(np.mean(means))


def _takes(box: Tensor, true: Tensor, free: Tensor) -> bool:
    if not free.any():
        return False
    overlaps = torch.where(free, iou_pairwise(box[None], true)[0], -1.0)
    best = int(overlaps.argmax())
    if overlaps[best] < 0.5:
        return False
    free[best] = False
    return True


def overfit(
    detector: Detector, steps: int, *, side: int = 160, images: int = 16, batch: int = 8, rate: float = 2e-3,
    clip: float = 10.0, seed: int = 0,
) -> float:  # fmt: skip
    """AP50 on ``images`` pictures of ``side`` pixels after ``steps`` steps of AdamW on ``batch`` of them each.

    ``images`` is a multiple of ``batch``. The rate warms up over the first tenth and falls along a cosine. ``detector``
    has ``CLASSES`` classes.
    """
    torch.manual_seed(seed)
    pictures, targets = shapes(images, side, seed)
    every, _ = prepare(pictures, side, detector.preprocess)
    order: list[int] = []
    optimizer = torch.optim.AdamW(detector.parameters(), lr=rate, weight_decay=1e-4)
    detector.train()
    for step in range(steps):
        progress = step / steps
        warm = min((step + 1) / max(steps // 10, 1), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2)
        if step * batch % images == 0:
            order = torch.randperm(images).tolist()
        chosen = order[step * batch % images :][:batch]
        some = Targets(
            *(tuple(column[at] for at in chosen) for column in (targets.boxes, targets.labels, targets.ignored))
        )
        raw = detector.training_raw(detector.features(every[chosen]), some)
        losses = detector.loss(raw, some, (side, side), Phase(progress, progress >= CLOSING))
        optimizer.zero_grad()
        total(losses).backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), clip)
        optimizer.step()
    settle(detector, every, targets)
    detector.eval()
    return ap50(detector.predict(every), targets, detector.classes)


def settle(detector: Detector, every: Tensor, targets: Targets) -> None:
    """Take the statistics of batch norms anew: in some hundred steps their slow averages do not catch up with the
    weights."""
    detector.train()
    norms = [part for part in detector.modules() if isinstance(part, nn.BatchNorm2d) and part.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # one plain mean over the passes that follow
    with torch.no_grad():
        detector.training_raw(detector.features(every), targets)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
