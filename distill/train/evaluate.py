"""How well a detector finds what is there: detections in COCO's result form, and pycocotools' verdict on them.

Scores are kept to five decimals and boxes to hundredths of a pixel, so that the last bits of a sum, which change with
the batch size, do not change an answer.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill.data.classes import check_same
from distill.data.dataset import DataSet, Picture
from workbench.errors import BadInput, missing_package
from zoo.detector import Detector
from zoo.nms import Detections, Selection

MOST_PER_IMAGE = 100
"""Detections an image that COCO's AP looks at."""
CONFUSION_IOU = 0.5
CONFUSION_SCORE = 0.25
STATISTICS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large")
"""In pycocotools' order; shares from 0 to 1."""
RECALLS = 101
"""Points of a precision-recall curve."""


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """What an evaluation found. A figure is None where the data have nothing to judge it by."""

    images: int
    summary: dict[str, float | None]
    """``STATISTICS`` by name."""
    per_class: dict[str, dict[str, float | None]]
    """Class name to ``ap`` and ``ap50``, and ``objects``."""
    confusion: np.ndarray
    """int64 ``[classes + 1, classes + 1]``: true class (last row: nothing there) by found class (last column: missed)."""
    precision: np.ndarray
    """float ``[classes, 101]``: precision by recall at IoU 0.5; -1 where a class has no object."""

    @property
    def ap(self) -> float:
        """AP at IoU 0.50:0.95, 0 where there is nothing to find."""
        return self.summary["ap"] or 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"images": self.images, **self.summary, "per_class": self.per_class, "confusion": self.confusion.tolist()}


def check_classes(detector: Detector, data: DataSet) -> None:
    """Refuse a detector that counts classes otherwise than the data do; the category is named."""
    check_same(detector.info.class_names, data.classes, "the model", f"the data ({data.name})")


def detect(
    detector: Detector, data: DataSet, *, input_px: int | None = None, batch: int = 8, device: str = "cpu",
    selection: Selection | None = None, shard: tuple[int, int] = (0, 1), workers: int | None = None,
    log: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Detections on every picture in COCO's result form: ``image_id``, ``category_id``, ``bbox`` (x, y, w, h), ``score``.

    ``shard`` (k, n) takes every n-th picture from the k-th on, so that several processes can share the work.
    """
    from distill.data.feed.loader import evaluation_batches

    check_classes(detector, data)
    number, of = shard
    if not 0 <= number < of:
        raise BadInput(f"shard {number} of {of} must be from 0 to {of - 1}")
    mine = DataSet(data.root, data.name, data.classes, data.pictures[number::of])
    side = input_px or detector.info.input_px
    place = torch.device(device)
    detector.eval().to(place)
    results: list[dict[str, Any]] = []
    for prepared in evaluation_batches(mine, detector.preprocess, side, batch, workers=workers):
        found = detector.predict(prepared.image.to(place), selection)
        for one, placement, index in zip(found, prepared.placements, prepared.indices, strict=True):
            picture = mine.pictures[index]
            results += as_results(Detections(placement.to_image(one.boxes.cpu()), one.scores.cpu(), one.labels.cpu()), picture, data)
        log(f"{len(results)} detections on {prepared.indices[-1] + 1} of {len(mine)} images")
    return results


def as_results(found: Detections, picture: Picture, data: DataSet) -> list[dict[str, Any]]:
    """One picture's detections (boxes in its own pixels) in COCO's result form, best first."""
    rows = []
    columns = (values[:MOST_PER_IMAGE].tolist() for values in (found.boxes, found.scores, found.labels))
    for (x1, y1, x2, y2), score, label in zip(*columns, strict=True):
        rows.append({
            "image_id": picture.id, "category_id": data.classes.original_ids[label],
            "bbox": [round(x1, 2), round(y1, 2), round(x2 - x1, 2), round(y2 - y1, 2)], "score": round(score, 5),
        })  # fmt: skip
    return rows


def read_results(file: str | Path, data: DataSet) -> list[dict[str, Any]]:
    """Detections from a file in COCO's result form; a wrong entry is named."""
    try:
        rows = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"cannot read results {str(file)!r}: {' '.join(str(error).split())}") from error
    if not isinstance(rows, list):
        raise BadInput(f"results {str(file)!r} must be a list of detections, not {type(rows).__name__}")
    images, categories = {p.id for p in data.pictures}, set(data.classes.original_ids)
    for number, row in enumerate(rows):
        where = f"results {str(file)!r}, entry {number}"
        if not isinstance(row, dict) or not {"image_id", "category_id", "bbox", "score"} <= row.keys():
            raise BadInput(f"{where} must have image_id, category_id, bbox and score")
        if row["image_id"] not in images:
            raise BadInput(f"{where}: image_id {row['image_id']!r:.60} is not in the data")
        if row["category_id"] not in categories:
            raise BadInput(f"{where}: category_id {row['category_id']!r:.60} is not in the data, which has {', '.join(map(str, sorted(categories)[:12]))}")
        numbers = [*row["bbox"], row["score"]] if isinstance(row["bbox"], list) else []
        if len(numbers) != 5 or not all(isinstance(n, (int, float)) and math.isfinite(n) for n in numbers):
            raise BadInput(f"{where}: bbox must be four numbers and score one")
    return rows


def evaluate_detections(data: DataSet, results: Sequence[dict[str, Any]]) -> EvaluationResult:
    """pycocotools' AP of ``results`` on ``data``, by class too, and a confusion matrix."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ModuleNotFoundError as error:
        raise missing_package("evaluating", error.name, "coco") from error
    names = data.classes.names
    nothing: dict[str, float | None] = dict.fromkeys(STATISTICS)
    # pycocotools prints as it works.
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = data.to_coco()
        truth.createIndex()
        precision = np.full((len(names), RECALLS), -1.0)
        by_class: dict[str, dict[str, float | None]] = {name: {"ap": None, "ap50": None, "objects": 0} for name in names}
        if results and len(data):
            judged = COCOeval(truth, truth.loadRes([dict(one) for one in results]), "bbox")
            judged.params.imgIds = sorted(truth.getImgIds())
            judged.evaluate()
            judged.accumulate()
            judged.summarize()
            nothing = {name: _known(value) for name, value in zip(STATISTICS, judged.stats, strict=True)}
            # [thresholds, recalls, classes, areas, detections]; categories are in the order of their ids.
            table = judged.eval["precision"][:, :, :, 0, -1]
            order = {int(category): place for place, category in enumerate(judged.params.catIds)}
            for number, (name, category) in enumerate(zip(names, data.classes.original_ids, strict=True)):
                column = table[:, :, order[category]]
                precision[number] = column[0]
                by_class[name] = {"ap": _mean(column), "ap50": _mean(column[0]), "objects": 0}
        elif any(len(p.labels) for p in data.pictures):
            nothing = dict.fromkeys(STATISTICS, 0.0)
    counts = np.bincount(np.concatenate([p.labels[~p.crowd] for p in data.pictures] or [np.zeros(0, int)]), minlength=len(names))
    for name, count in zip(names, counts.tolist(), strict=True):
        by_class[name]["objects"] = count
        if count and by_class[name]["ap"] is None:
            by_class[name] |= {"ap": 0.0, "ap50": 0.0}
    return EvaluationResult(len(data), nothing, by_class, confusion(data, results), precision)


def confusion(data: DataSet, results: Sequence[dict[str, Any]]) -> np.ndarray:
    """True by found classes: detections above ``CONFUSION_SCORE`` take the free true box they overlap most, best first."""
    from pycocotools import mask

    size = len(data.classes)
    table = np.zeros((size + 1, size + 1), dtype=np.int64)
    by_image: dict[int, list[dict[str, Any]]] = {}
    for one in results:
        if one["score"] >= CONFUSION_SCORE:
            by_image.setdefault(one["image_id"], []).append(one)
    numbers = {category: number for number, category in enumerate(data.classes.original_ids)}
    for picture in data.pictures:
        found = sorted(by_image.get(picture.id, []), key=lambda one: -one["score"])
        corners = picture.boxes.astype(np.float64)
        true = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
        overlap = np.zeros((len(found), len(true)))
        if found and len(true):
            overlap = np.asarray(mask.iou([one["bbox"] for one in found], true.tolist(), picture.crowd.astype(np.uint8).tolist()))
        free = ~picture.crowd
        for row, one in zip(overlap, found, strict=True):
            label = numbers[one["category_id"]]
            candidates = np.where(free, row, 0.0)
            if len(candidates) and candidates.max() >= CONFUSION_IOU:
                taken = int(candidates.argmax())
                free[taken] = False
                table[picture.labels[taken], label] += 1
            elif not len(row) or not (row[picture.crowd] >= CONFUSION_IOU).any():
                table[size, label] += 1
        for missed in picture.labels[free & ~picture.crowd]:
            table[missed, size] += 1
    return table


def _known(value: float) -> float | None:
    """pycocotools says -1 where there was nothing to judge."""
    return None if value < 0 else float(value)


def _mean(values: np.ndarray) -> float | None:
    there = values[values > -1]
    return float(there.mean()) if there.size else None
