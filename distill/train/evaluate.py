"""COCO metrics of detections, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distill.data.dataset import DataSet
from distill.train.confusion import confusion_matrix
from distill.train.detect import DetectOptions, detect
from workbench.console import table
from workbench.errors import missing_package
from zoo.detector import Detector

STATISTICS = (
    "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large",
    "ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large",
)  # fmt: skip
"""In pycocotools' order; values from 0 to 1."""
RECALLS = 101
"""Points of a precision-recall curve."""


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """Metrics of an evaluation. A metric is None where the data have no object it could be computed from."""

    images: int
    summary: dict[str, float | None]
    """``STATISTICS`` by name."""
    per_class: dict[str, dict[str, float | None]]
    """Class name to ``ap``, ``ap50`` and number of ``objects``."""
    confusion: np.ndarray
    """int64 ``[classes + 1, classes + 1]``: true class (last row: background) by predicted class (last: missed)."""
    precision: np.ndarray
    """float ``[classes, 101]``: precision by recall at IoU 0.5; -1 where a class has no object."""

    @property
    def ap(self) -> float:
        """AP at IoU 0.50:0.95; 0 where the data have no object."""
        return self.summary["ap"] or 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "images": self.images, **self.summary, "per_class": self.per_class, "confusion": self.confusion.tolist(),
        }  # fmt: skip

    def to_table(self) -> list[dict[str, Any]]:
        """One row a class with ``class``, ``ap``, ``ap50`` and ``objects``, for instance for ``pandas.DataFrame``."""
        return [{"class": name, **metrics} for name, metrics in self.per_class.items()]

    def __str__(self) -> str:
        rows = [[name.upper().replace("_", " "), value] for name, value in self.summary.items()]
        metrics = table(["", "value"], rows)
        classes = [[row["class"], row["ap"], row["ap50"], row["objects"]] for row in self.to_table()]
        return f"{self.images} images\n{metrics}\n\n{table(['class', 'AP', 'AP50', 'objects'], classes)}"


def evaluate(
    detector: Detector, data: DataSet, *, input_px: int | None = None, batch: int = 8, device: str = "cpu",
    data_workers: int | None = None, log: Callable[[str], None] = lambda text: None,
) -> EvaluationResult:  # fmt: skip
    """COCO metrics of ``detector`` on ``data``; the result does not depend on ``batch``.

    Args:
        input_px: Side of the network's input; None is the detector's own.
        batch: Images that are run at once.
        data_workers: Processes that read images; None chooses a number.
        log: Takes lines of progress.
    """
    options = DetectOptions(input_px, batch, device, workers=data_workers)
    return evaluate_detections(data, detect(detector, data, options, log))


def evaluate_detections(data: DataSet, results: Sequence[dict[str, Any]]) -> EvaluationResult:
    """COCO metrics of ``results`` (in COCO's result format) on ``data``, per class too, and a confusion matrix."""
    objects = np.bincount(
        np.concatenate([p.labels[~p.crowd] for p in data.pictures] or [np.zeros(0, int)]), minlength=len(data.classes)
    )
    summary, curves = _coco_metrics(data, results)
    precision = np.full((len(data.classes), RECALLS), -1.0)
    per_class: dict[str, dict[str, float | None]] = {}
    for label, (name, count) in enumerate(zip(data.classes.names, objects.tolist(), strict=True)):
        ap = ap50 = None
        if curves is not None:
            precision[label] = curves[label][0]
            ap, ap50 = _mean(curves[label]), _mean(curves[label][0])
        if count and ap is None:
            ap = ap50 = 0.0
        per_class[name] = {"ap": ap, "ap50": ap50, "objects": count}
    return EvaluationResult(len(data), summary, per_class, confusion_matrix(data, results), precision)


def _coco_metrics(
    data: DataSet, results: Sequence[dict[str, Any]]
) -> tuple[dict[str, float | None], list[np.ndarray] | None]:
    """The summary, and each class's precision ``[IoU thresholds, recalls]``; None without any detection."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ModuleNotFoundError as error:
        raise missing_package("evaluating", error.name, "coco") from error
    if not results or not len(data):
        has_objects = any(len(picture.labels) for picture in data.pictures)
        return dict.fromkeys(STATISTICS, 0.0 if has_objects else None), None
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it works
        truth = COCO()
        truth.dataset = data.to_coco()
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes([dict(row) for row in results]), "bbox")
        evaluation.params.imgIds = sorted(truth.getImgIds())
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # pycocotools gives -1 where there is no object
    summary = {
        name: None if value < 0 else float(value) for name, value in zip(STATISTICS, evaluation.stats, strict=True)
    }
    # [IoU thresholds, recalls, classes, areas, detections]; classes are in the order of their ids
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    order = {int(category): position for position, category in enumerate(evaluation.params.catIds)}
    return summary, [precision[:, :, order[category]] for category in data.classes.original_ids]


def _mean(precision: np.ndarray) -> float | None:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else None
