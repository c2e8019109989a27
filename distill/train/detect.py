"""Detections of a detector on a data set, in COCO's result format.

Scores are rounded to five decimals and boxes to hundredths of a pixel, so that the last bits of a sum, which change
with the batch size, do not change the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from distill.data.classes import check_same
from distill.data.dataset import DataSet, Picture
from distill.data.feed.evaluation_batches import evaluation_batches
from workbench.doors.json import read_json
from workbench.errors import BadInput
from zoo.detector import Detector
from zoo.nms import Detections, Selection

if TYPE_CHECKING:
    from zoo.export.exported import ExportedDetector

MOST_BYTES = 2**30
"""Largest file of results."""
MAX_PER_CLASS = 100
"""Detections of a class in an image that COCO's AP looks at."""


@dataclass(frozen=True, slots=True)
class DetectOptions:
    """How to run a detector over a data set. None of them but ``input_px`` and ``selection`` changes a detection."""

    input_px: int | None = None
    """Side of the input; None is the detector's own."""
    batch: int = 8
    device: str = "cpu"
    selection: Selection | None = None
    """Score threshold and NMS; None is the detector's own."""
    workers: int | None = None
    """Processes that read images."""
    shard: tuple[int, int] = (0, 1)
    """(k, n) takes every n-th image from the k-th on, so that several processes can share the work."""


def check_classes(detector: Detector | ExportedDetector, data: DataSet) -> None:
    """Refuse a detector whose class map is not the data's; the error names the category."""
    check_same(detector.info.class_names, data.classes, "the model", f"the data ({data.name})")


def detect(
    detector: Detector | ExportedDetector, data: DataSet, options: DetectOptions | None = None,
    log: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Detections with ``image_id``, ``category_id``, ``bbox`` (x, y, w, h in pixels of the image) and ``score``."""
    options = options or DetectOptions()
    check_classes(detector, data)
    part, parts = options.shard
    if not 0 <= part < parts:
        raise BadInput(f"shard {part} of {parts} must be from 0 to {parts - 1}")
    shard = DataSet(data.root, data.name, data.classes, data.pictures[part::parts])
    input_px = options.input_px or detector.info.input_px
    device = torch.device(options.device)
    detector.eval().to(device)
    rows: list[dict[str, Any]] = []
    for batch in evaluation_batches(shard, detector.preprocess, input_px, options.batch, workers=options.workers):
        predictions = detector.predict(batch.image.to(device), options.selection)
        for detections, placement, index in zip(predictions, batch.placements, batch.indices, strict=True):
            boxes = placement.to_image(detections.boxes.cpu())
            in_image = Detections(boxes, detections.scores.cpu(), detections.labels.cpu())
            rows += coco_results(in_image, shard.pictures[index], data)
        log(f"{len(rows)} detections on {batch.indices[-1] + 1} of {len(shard)} images")
    return rows


def coco_results(detections: Detections, picture: Picture, data: DataSet) -> list[dict[str, Any]]:
    """One image's detections (boxes in its own pixels) in COCO's result format, best first.

    How many an image may have is the detector's selection: 300 for most families, as in their official evaluations.
    """
    columns = (values.tolist() for values in (detections.boxes, detections.scores, detections.labels))
    counts = [0] * len(data.classes)
    rows = []
    for (x1, y1, x2, y2), score, label in zip(*columns, strict=True):
        counts[label] += 1
        if counts[label] <= MAX_PER_CLASS:
            box = [round(x1, 2), round(y1, 2), round(x2 - x1, 2), round(y2 - y1, 2)]
            category = data.classes.original_ids[label]
            rows.append({"image_id": picture.id, "category_id": category, "bbox": box, "score": round(score, 5)})
    return rows


def read_results(file: str | Path, data: DataSet) -> list[dict[str, Any]]:
    """Detections from a file in COCO's result format; the first invalid entry is named."""
    rows = read_json(file, "results", MOST_BYTES)
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
            known = ", ".join(map(str, sorted(categories)[:12]))
            raise BadInput(f"{where}: category_id {row['category_id']!r:.60} is not in the data, which has {known}")
        numbers = [*row["bbox"], row["score"]] if isinstance(row["bbox"], list) else []
        if len(numbers) != 5 or not all(isinstance(n, (int, float)) and math.isfinite(n) for n in numbers):
            raise BadInput(f"{where}: bbox must be four numbers and score one")
    return rows
