"""Torch and an exported file on the same images of a data set: AP of both, and the gap of every output."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from distill.data.dataset import DataSet
from distill.data.feed.cache import Pictures
from distill.train.detect import coco_results
from distill.train.evaluate import EvaluationResult, evaluate_detections
from zoo.detector import Detector
from zoo.export.formats.format import Runner
from zoo.export.gap import OutputGap, worst
from zoo.export.measure import batch_gaps
from zoo.export.options import ExportOptions
from zoo.images import Placement, prepare
from zoo.nms import Detections, select


@dataclass(frozen=True, slots=True)
class FileComparison:
    """Torch and a file on the same images."""

    images: int
    torch: EvaluationResult
    file: EvaluationResult
    gaps: Mapping[str, OutputGap]
    """The largest gap of every output on these images."""
    hardest: tuple[int, ...]
    """Indices of the images, those with the largest gap first."""

    @property
    def largest_gap(self) -> float:
        """The largest relative gap of all outputs; infinite if one cannot be compared."""
        return largest_gap(self.gaps)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; an infinite gap is None beside its fault."""
        return {
            "ap": {"torch": self.torch.summary["ap"], "file": self.file.summary["ap"]},
            "ap50": {"torch": self.torch.summary["ap50"], "file": self.file.summary["ap50"]},
            "gaps": {name: gap.to_dict() for name, gap in self.gaps.items()},
        }


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """Prepared images ``image [b, 3, h, w]``; the last ones may be padding, without an index."""

    image: Tensor
    placements: tuple[Placement, ...]
    indices: tuple[int, ...]


def compare(
    detector: Detector,
    runner: Runner,
    options: ExportOptions,
    data: DataSet,
    log: Callable[[str], None] = lambda text: None,
) -> FileComparison:
    """Torch and an exported network on every image of ``data``, at the size in ``options``."""
    detector.eval().cpu()
    torch_results: list[dict[str, Any]] = []
    file_results: list[dict[str, Any]] = []
    gaps: list[dict[str, OutputGap]] = []
    gap_of_image: list[tuple[float, int]] = []
    for batch in image_batches(detector, data, range(len(data)), options):
        boxes_and_scores, outputs = decode(detector, batch.image), runner(batch.image)
        side = max(options.height, options.width)
        gaps.append(batch_gaps(detector, boxes_and_scores, outputs, side, options))
        gap_of_image += [(largest_gap(gaps[-1]), index) for index in batch.indices]
        torch_rows = _rows(select(*boxes_and_scores, detector.selection))
        file_rows = _file_rows(detector, outputs, options)
        for i, (placement, index) in enumerate(zip(batch.placements, batch.indices, strict=True)):
            for rows, results in ((torch_rows, torch_results), (file_rows, file_results)):
                if i < len(rows):
                    detections = _in_image(rows[i], placement, detector.classes)
                    results += coco_results(detections, data.pictures[index], data)
        log(f"torch and the file on {batch.indices[-1] + 1} of {len(data)} images")
    gap_of_image.sort(key=lambda entry: (-entry[0], entry[1]))
    hardest = tuple(index for _, index in gap_of_image)
    torch_ap, file_ap = evaluate_detections(data, torch_results), evaluate_detections(data, file_results)
    return FileComparison(len(data), torch_ap, file_ap, worst(gaps), hardest)


def file_ap(detector: Detector, runner: Runner, options: ExportOptions, data: DataSet) -> float:
    """AP of an exported network on ``data``, 0 to 1; 0 where its outputs cannot be compared or nothing is labelled."""
    results: list[dict[str, Any]] = []
    for batch in image_batches(detector, data, range(len(data)), options):
        rows = _file_rows(detector, runner(batch.image), options)
        for found, placement, index in zip(rows, batch.placements, batch.indices, strict=False):
            results += coco_results(_in_image(found, placement, detector.classes), data.pictures[index], data)
    return float(evaluate_detections(data, results).summary["ap"] or 0.0)


def image_batches(
    detector: Detector, data: DataSet, indices: Sequence[int], options: ExportOptions
) -> Iterator[ImageBatch]:
    """Images prepared as ``nas eval`` prepares them, in batches of the file's batch size."""
    images = Pictures(data, max(options.height, options.width), detector.preprocess, cache_bytes=0)
    size = (options.height, options.width)
    for start in range(0, len(indices), options.batch):
        chunk = tuple(indices[start : start + options.batch])
        image, placements = prepare([images.original(index) for index in chunk], size, detector.preprocess)
        padding = image[-1:].expand(options.batch - len(chunk), -1, -1, -1)
        yield ImageBatch(torch.cat([image, padding]), tuple(placements), chunk)


@torch.no_grad()
def decode(detector: Detector, image: Tensor) -> tuple[Tensor, Tensor]:
    """Torch's boxes ``[b, n, 4]`` and scores ``[b, n, classes]`` for a batch ``[b, 3, h, w]``."""
    return detector.decode(detector(image), (image.shape[-2], image.shape[-1]))


def largest_gap(gaps: Mapping[str, OutputGap]) -> float:
    """The largest relative gap of all outputs; infinite if there is none."""
    return max((gap.relative for gap in gaps.values()), default=math.inf)


def _rows(detections: Sequence[Detections]) -> list[Tensor]:
    """Detections of every image as ``[k, 6]``: x1, y1, x2, y2, score, label."""
    return [torch.cat([d.boxes, d.scores[:, None], d.labels[:, None].to(d.boxes)], 1) for d in detections]


def _file_rows(detector: Detector, outputs: Mapping[str, Tensor], options: ExportOptions) -> list[Tensor]:
    """A file's detections of every image, ``[k, 6]``; from a decoded file, torch selects them."""
    if options.form == "decoded":
        boxes, scores = outputs["boxes"], outputs["scores"]
        return _rows(select(boxes, scores, detector.selection)) if boxes.shape[:2] == scores.shape[:2] else []
    # An NMS-free file returns its best rows whatever their scores are.
    return [rows[rows[:, 4] > detector.selection.score_threshold] for rows in outputs["detections"]]


def _in_image(rows: Tensor, placement: Placement, classes: int) -> Detections:
    """Rows ``[k, 6]`` in pixels of the image, best first; invalid rows are left out here and show in the gap."""
    labels = rows[:, 5]
    valid = rows.isfinite().all(1) & (labels == labels.round()) & (labels >= 0) & (labels < classes)
    rows = rows[valid]
    rows = rows[rows[:, 4].sort(descending=True, stable=True).indices]
    return Detections(placement.to_image(rows[:, :4]), rows[:, 4], rows[:, 5].long())
