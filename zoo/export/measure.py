"""The gap of an exported network to torch, measured on synthetic scenes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import torch
from torch import Tensor

from zoo.detector import Detector
from zoo.export.deployed import end2end_detections
from zoo.export.formats.format import Runner
from zoo.export.gap import OutputGap, dense_gaps, rows_gap, worst
from zoo.export.options import ExportOptions
from zoo.export.scenes import prepared_scenes
from zoo.nms import select

SCENES = 4
"""Scenes that the gap is measured on, or one batch if that is larger."""


def measure_gap(reference: Detector, runner: Runner, options: ExportOptions) -> dict[str, OutputGap]:
    """Largest gaps of an exported network to ``reference`` over ``SCENES`` scenes."""
    gaps: list[dict[str, OutputGap]] = []
    for image in _inputs(reference, options):
        with torch.no_grad():
            decoded = reference.decode(reference(image), (image.shape[-2], image.shape[-1]))
        gaps.append(batch_gaps(reference, decoded, runner(image), max(image.shape[-2:]), options))
    return worst(gaps)


def batch_gaps(
    reference: Detector,
    decoded: tuple[Tensor, Tensor],
    outputs: Mapping[str, Tensor],
    side: int,
    options: ExportOptions,
) -> dict[str, OutputGap]:
    """Largest gaps of the ``outputs`` of an exported network for one batch to what ``reference`` decoded for it.

    ``boxes`` and ``scores`` are compared with the reference's. ``detections`` are compared with what torch selects from
    the same boxes and scores: a box that rounding lifts over a threshold is no fault of the selection.

    Args:
        decoded: the reference's boxes ``[b, n, 4]`` and scores ``[b, n, classes]``.
        side: the longer side of the input in pixels.
    """
    boxes, scores = decoded
    has_boxes = "boxes" in outputs
    gaps: list[dict[str, OutputGap]] = []
    if has_boxes:
        ranked = boxes.shape[1] == reference.selection.max_detections
        exported = (outputs["boxes"], outputs["scores"])
        gaps.append(dense_gaps((boxes, scores), exported, side, options.allowed, ranked))
        if any(gap.fault for gap in gaps[-1].values()):
            return gaps[-1]
        boxes, scores = exported
    if options.form == "decoded":
        return worst(gaps)
    expected, most = _expected_detections(reference, boxes, scores, options)
    detections = outputs["detections"]
    if len(detections) != len(expected):
        fault = f"detections of {len(detections)} images where there were {len(expected)}"
        gaps.append({"detections": OutputGap.broken(fault)})
        return worst(gaps)
    for i, (ours, theirs) in enumerate(zip(expected, detections, strict=True)):
        if has_boxes:
            gap = rows_gap(ours, theirs, side, most, (boxes[i], scores[i]))
        else:
            gap = rows_gap(ours, theirs, side, most, slack=options.allowed)
        gaps.append({"detections": gap})
    return worst(gaps)


def _expected_detections(
    reference: Detector, boxes: Tensor, scores: Tensor, options: ExportOptions
) -> tuple[list[Tensor], int | None]:
    """What torch selects from boxes and scores, ``[k, 6]`` an image, and the length at which the list is cut."""
    most = reference.selection.max_detections
    if options.form == "end2end":
        # With fewer boxes than max_detections the list is full, and cut, as well.
        most = boxes.shape[1] if most is None else min(most, boxes.shape[1])
        return list(end2end_detections(reference, boxes, scores)), most
    # max_candidates saves time in torch and is not in the file.
    selected = select(boxes, scores, dataclasses.replace(reference.selection, max_candidates=None))
    return [torch.cat([d.boxes, d.scores[:, None], d.labels[:, None].to(d.boxes)], 1) for d in selected], most


def _inputs(detector: Detector, options: ExportOptions) -> list[Tensor]:
    """The batches that the gap is measured on; the last one of a file with open sides has another size."""
    runs = math.ceil(SCENES / options.batch)
    images = prepared_scenes(detector, options.batch, options.height, options.width, runs)
    if options.dynamic:
        batch = options.batch if options.form == "nms" else options.batch + 1
        other_size = prepared_scenes(detector, batch, options.height + 32, options.width + 64, 1, seed=1)
        images[-1:] = [*images[-1:][: runs == 1], *other_size]
    return images
