"""The confusion matrix of detections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from distill.data.dataset import DataSet, Picture

MIN_IOU = 0.5
MIN_SCORE = 0.25


def confusion_matrix(data: DataSet, results: Sequence[dict[str, Any]]) -> np.ndarray:
    """int64 ``[classes + 1, classes + 1]``: true class (last row: background) by predicted class (last: missed).

    Detections with a score of at least ``MIN_SCORE``, best first, match the free true box that they overlap most, by
    an IoU of at least ``MIN_IOU``. One in a crowd region counts for nothing.
    """
    size = len(data.classes)
    matrix = np.zeros((size + 1, size + 1), dtype=np.int64)
    by_image: dict[int, list[dict[str, Any]]] = {}
    for row in results:
        if row["score"] >= MIN_SCORE:
            by_image.setdefault(row["image_id"], []).append(row)
    labels = {category: label for label, category in enumerate(data.classes.original_ids)}
    for picture in data.pictures:
        detections = sorted(by_image.get(picture.id, []), key=lambda row: -row["score"])
        _count(matrix, picture, detections, labels)
    return matrix


def _count(matrix: np.ndarray, picture: Picture, detections: list[dict[str, Any]], labels: dict[int, int]) -> None:
    """Add one image's detections to ``matrix``."""
    background = len(matrix) - 1
    free = ~picture.crowd
    for ious, row in zip(box_ious(picture, detections), detections, strict=True):
        label = labels[row["category_id"]]
        candidates = np.where(free, ious, 0.0)
        if len(candidates) and candidates.max() >= MIN_IOU:
            match = int(candidates.argmax())
            free[match] = False
            matrix[picture.labels[match], label] += 1
        elif not len(ious) or not (ious[picture.crowd] >= MIN_IOU).any():
            matrix[background, label] += 1
    for label in picture.labels[free & ~picture.crowd]:
        matrix[label, background] += 1


def box_ious(picture: Picture, detections: list[dict[str, Any]]) -> np.ndarray:
    """IoU of every detection with every true box ``[detections, boxes]``; with a crowd region, COCO's."""
    from pycocotools import mask

    corners = picture.boxes.astype(np.float64)
    true = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
    if not detections or not len(true):
        return np.zeros((len(detections), len(true)))
    crowd = picture.crowd.astype(np.uint8).tolist()
    return np.asarray(mask.iou([row["bbox"] for row in detections], true.tolist(), crowd))
