"""Which detections hit a true box, and precision, recall and F1 over the score threshold.

COCO's rule at one IoU: best score first, each detection takes the free true box of its class and image that it overlaps
most. What is matched at a threshold therefore is what is matched without one, cut at the threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distill.data.dataset import DataSet, Picture
from distill.train.confusion import box_ious

MIN_IOU = 0.5
THRESHOLDS = np.linspace(0.0, 1.0, 101)
"""Score thresholds of the curves."""
HIT, FALSE, IGNORED = 1, 0, -1
"""What became of a detection; ignored are those in a crowd region."""


@dataclass(frozen=True, eq=False)
class Matches:
    """Detections and true boxes of a data set, one entry each; crowd regions are no true boxes."""

    classes: int
    image: np.ndarray
    """int64 ``[detections]``: index of the picture."""
    label: np.ndarray
    """int64 ``[detections]``."""
    score: np.ndarray
    """float64 ``[detections]``."""
    kind: np.ndarray
    """int64 ``[detections]``: ``HIT``, ``FALSE`` or ``IGNORED``."""
    true_image: np.ndarray
    """int64 ``[objects]``: index of the picture."""
    true_label: np.ndarray
    """int64 ``[objects]``."""
    found_score: np.ndarray
    """float64 ``[objects]``: score of the detection that hit it; -1 where none did."""


@dataclass(frozen=True, eq=False)
class ThresholdCurves:
    """Per class over ``THRESHOLDS``; NaN where there is nothing to compute from."""

    precision: np.ndarray
    """float64 ``[classes, 101]``; NaN above the best score."""
    recall: np.ndarray
    """float64 ``[classes, 101]``; NaN for a class without objects."""
    f1: np.ndarray
    """float64 ``[classes, 101]``; NaN for a class without objects."""

    @property
    def mean_f1(self) -> np.ndarray:
        """float64 ``[101]``: mean over the classes that have objects; zeros where none has."""
        known = ~np.isnan(self.f1[:, 0])
        return self.f1[known].mean(0) if known.any() else np.zeros(len(THRESHOLDS))

    @property
    def best(self) -> int:
        """Index of the threshold with the largest mean F1; of 0.25 where nothing is found at any."""
        return int(self.mean_f1.argmax()) if self.mean_f1.any() else 25

    @property
    def best_threshold(self) -> float:
        """The score threshold with the largest mean F1."""
        return float(THRESHOLDS[self.best])


def match(data: DataSet, results: Sequence[dict[str, Any]]) -> Matches:
    """Match ``results``, in COCO's result format, with the true boxes of ``data``."""
    by_image: dict[int, list[dict[str, Any]]] = {}
    for row in results:
        by_image.setdefault(row["image_id"], []).append(row)
    labels = {category: label for label, category in enumerate(data.classes.original_ids)}
    found: list[tuple[int, int, float, int]] = []
    true: list[tuple[int, int, float]] = []
    for index, picture in enumerate(data.pictures):
        rows = sorted(by_image.get(picture.id, []), key=lambda row: -row["score"])
        kinds, found_scores = _match_picture(picture, rows, [labels[row["category_id"]] for row in rows])
        found += [(index, labels[r["category_id"]], r["score"], kind) for r, kind in zip(rows, kinds, strict=True)]
        objects = zip(picture.labels.tolist(), found_scores.tolist(), picture.crowd.tolist(), strict=True)
        true += [(index, label, score) for label, score, crowd in objects if not crowd]
    detections, boxes = np.array(found, float).reshape(-1, 4), np.array(true, float).reshape(-1, 3)
    return Matches(
        len(data.classes), detections[:, 0].astype(int), detections[:, 1].astype(int), detections[:, 2],
        detections[:, 3].astype(int), boxes[:, 0].astype(int), boxes[:, 1].astype(int), boxes[:, 2],
    )  # fmt: skip


def _match_picture(
    picture: Picture, rows: list[dict[str, Any]], labels: list[int]
) -> tuple[list[int], np.ndarray]:
    """Of one picture: the kind of every detection (best first), and the score that found each box ``[boxes]``."""
    found = np.full(len(picture.labels), -1.0)
    free, kinds = ~picture.crowd, []
    for ious, row, label in zip(box_ious(picture, rows), rows, labels, strict=True):
        same = picture.labels == label
        candidates = np.where(free & same, ious, 0.0)
        if len(candidates) and candidates.max() >= MIN_IOU:
            taken = int(candidates.argmax())
            free[taken], found[taken] = False, row["score"]
            kinds.append(HIT)
        else:
            kinds.append(IGNORED if (ious[picture.crowd & same] >= MIN_IOU).any() else FALSE)
    return kinds, found


def threshold_curves(matches: Matches) -> ThresholdCurves:
    """Precision, recall and F1 of every class over the score threshold."""
    shape = (matches.classes, len(THRESHOLDS))
    precision, recall, f1 = (np.full(shape, np.nan) for _ in range(3))
    for label in range(matches.classes):
        own = matches.label == label
        hits = _counts_from(matches.score[own & (matches.kind == HIT)])
        false = _counts_from(matches.score[own & (matches.kind == FALSE)])
        objects = int((matches.true_label == label).sum())
        given = hits + false
        precision[label, given > 0] = (hits / np.maximum(given, 1))[given > 0]
        if objects:
            recall[label] = hits / objects
            f1[label] = 2 * hits / (given + objects)
    return ThresholdCurves(precision, recall, f1)


def _counts_from(scores: np.ndarray) -> np.ndarray:
    """How many of ``scores`` ``[n]`` reach each threshold, int64 ``[101]``."""
    return len(scores) - np.searchsorted(np.sort(scores), THRESHOLDS, side="left")


def picture_counts(matches: Matches, pictures: int, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Objects found, objects missed and false detections of every picture at a score threshold, each ``[pictures]``."""
    reached = matches.found_score >= threshold
    false = (matches.kind == FALSE) & (matches.score >= threshold)
    return (
        np.bincount(matches.true_image[reached], minlength=pictures),
        np.bincount(matches.true_image[~reached], minlength=pictures),
        np.bincount(matches.image[false], minlength=pictures),
    )
