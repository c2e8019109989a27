"""``nas.evaluate``: COCO AP of a checkpoint on one's own data."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.api.arguments import Text, text_of, texts_of
from workbench.console import Progress
from workbench.errors import BadInput, missing_package
from workbench.files import write_atomic
from workbench.tables import Result, Table

if TYPE_CHECKING:
    from distill.train.evaluate import EvaluationResult
    from zoo.detector import Detector
    from zoo.export.exported import ExportedDetector


CONFUSION_TITLE = "true class by detected class (last column: missed; last row: detected where nothing is)"


@dataclass(frozen=True)
class EvaluateResult(Result):
    """Detections on a split and their AP. A shard has detections alone."""

    evaluation: EvaluationResult | None
    """AP, AR, per class figures and the confusion matrix; None for a shard."""
    detections: list[dict[str, Any]]
    """In COCO's result form."""
    class_names: tuple[str, ...]
    images: int
    shard: tuple[int, int]
    seconds: float
    out: str | None
    """File of the detections, where one was written."""
    detected: bool
    """Whether detections were made here, not read from files."""
    licence: str = ""
    """One line about weights in the lineage that restrict commercial use; empty without any."""

    @property
    def evaluated(self) -> EvaluationResult:
        """The evaluation, which a shard does not have."""
        if self.evaluation is None:
            part = f"part {self.shard[0]} of {self.shard[1]}"
            raise BadInput(f"{part} is not evaluated: evaluate the files of all parts with results")
        return self.evaluation

    @property
    def ap(self) -> float:
        """AP at IoU 0.50:0.95, 0 to 1."""
        return self.evaluated.ap

    def to_table(self) -> Table:
        """AP and AR."""
        rows = [[name.upper().replace("_", " "), value] for name, value in self.evaluated.summary.items()]
        return Table(["", "value"], rows)

    def per_class_table(self) -> Table:
        """AP of every class."""
        return Table(*self.evaluated.to_table())

    def confusion_table(self) -> Table:
        """The confusion matrix: true class by detected class."""
        labels = [*self.class_names, "nothing"]
        rows = [[label, *map(int, row)] for label, row in zip(labels, self.evaluated.confusion, strict=True)]
        return Table(["", *labels], rows)

    def to_dict(self) -> dict[str, Any]:
        """What ``nas eval --json`` prints."""
        counts: dict[str, Any] = {"detections": len(self.detections), "seconds": self.seconds, "out": self.out}
        counts |= {"licence": self.licence} if self.licence else {}
        return (self.evaluation.to_dict() if self.evaluation is not None else {}) | counts

    def text(self, per_class: bool = False, confusion: bool = False) -> str:
        """The tables asked for, and what was done."""
        count = len(self.detections)
        if self.evaluation is None:
            part = f"{count} detections on part {self.shard[0]} of {self.shard[1]}"
            written = part + (f", written to {self.out}" if self.out else "")
            return "\n".join([written, *([self.licence] if self.licence else [])])
        lines = [str(self.to_table())]
        lines += [f"\n{self.per_class_table()}"] if per_class else []
        lines += [f"\n{CONFUSION_TITLE}\n{self.confusion_table()}"] if confusion else []
        if self.detected:
            ms = 1000 * self.seconds / max(self.images, 1)
            lines.append(f"\n{self.images} images, {count} detections, {ms:.1f} ms an image with loading and selection")
        lines += [self.licence] if self.licence else []
        return "\n".join([*lines, f"wrote {self.out}"] if self.out else lines)

    def __str__(self) -> str:
        return self.text()


def evaluate(
    model: Text, data: Text, *, split: str = "val", input_px: int | None = None, batch: int = 8, device: str = "cpu",
    data_workers: int | None = None, shard: str = "0/1", results: Text | Sequence[Text] | None = None,
    branch: str | None = None, out: Text | None = None, quiet: bool = False,
) -> EvaluateResult:  # fmt: skip
    """Detect on a split of the data and compute COCO's AP, by class, with the confusion matrix.

    Args:
        model: a checkpoint, or a file of ``nas export``, which its own runtime runs.
        data: COCO JSON, YOLO text folders or Pascal VOC.
        split: of the data.
        input_px: side of the square input in pixels; None takes the checkpoint's.
        batch: images a run; it does not change the result.
        device: ``cpu`` or ``cuda``.
        data_workers: processes that load images; None tunes the number.
        shard: ``K/N``: only every N-th image from the K-th on, without an evaluation.
        results: files of detections to evaluate instead of detecting.
        branch: of a head that has two: ``one_to_one`` or ``one_to_many``; None takes the checkpoint's.
        out: file for the detections in COCO's result form.
    """
    try:
        from distill.data.formats.readers import open_data
        from distill.prepare import check_device
        from distill.train.detect import DetectOptions, detect, read_results
        from distill.train.evaluate import evaluate_detections
        from zoo.weights.licence import notice
    except ModuleNotFoundError as error:
        raise missing_package("evaluating", error.name, "train") from error
    check_device(device)
    if batch < 1:
        raise BadInput(f"--batch {batch} must be at least 1")
    part = shard_of(shard)
    dataset = open_data(text_of(data), split)
    began = time.perf_counter()
    licence = ""
    if results:
        detections = [row for file in texts_of(results) for row in read_results(file, dataset)]
    else:
        detector = _predictor(text_of(model), branch, input_px, device)
        licence = notice(detector.info.provenance, detector.info.lineage)
        progress = Progress(quiet)
        options = DetectOptions(input_px, batch, device, workers=data_workers, shard=part)
        detections = detect(detector, dataset, options, progress.show)
        progress.done()
    seconds = time.perf_counter() - began
    if out:
        write_atomic(Path(out), json.dumps(detections))
    return EvaluateResult(
        evaluate_detections(dataset, detections) if part[1] == 1 else None, detections,
        tuple(dataset.classes.names), len(dataset), part, seconds, text_of(out) if out else None, not results, licence,
    )  # fmt: skip


def _predictor(model: str, branch: str | None, input_px: int | None, device: str) -> Detector | ExportedDetector:
    """The detector of a checkpoint, or an exported file in its runtime."""
    from zoo.export.exported import is_exported, open_exported_detector
    from zoo.resolve import resolve_detector

    if is_exported(model):
        if branch is not None or device != "cpu":
            raise BadInput("an exported file has one branch and is run on the CPU: leave --branch and --device out")
        return open_exported_detector(model, input_px)
    detector, trained = resolve_detector(model)
    if not trained:
        way_out = "train it first (nas train), or give a checkpoint"
        raise BadInput(f"{model!r} has no trained weights: {way_out}")
    if branch:
        detector.choose_branch(branch)
    return detector


def shard_of(text: str) -> tuple[int, int]:
    """``K/N`` as two numbers."""
    first, slash, second = text.partition("/")
    if not slash or not first.isdigit() or not second.isdigit() or int(second) < 1 or int(first) >= int(second):
        raise BadInput(f"--shard {text!r} must be K/N with K from 0 to N - 1, for instance 0/4")
    return int(first), int(second)
