"""``report.html`` and its pictures in ``report/``, from a training's folder and its data."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.data.overview import split_counts
from distill.report.advice import advice
from distill.report.matching import ThresholdCurves, match, threshold_curves
from distill.report.page import Page
from distill.report.pictures import as_jpeg, batch_sheets, best_and_worst, jpeg, png
from distill.report.plots import confusion_png, curves_png, labels_png, thresholds_png
from distill.report.training import Training, best_detections, open_training_data, read_training
from distill.train.evaluate import EvaluationResult, evaluate_detections
from distill.train.hooks.results_csv import RESULTS, results_csv
from distill.train.plots import detections_png, precision_recall_png
from distill.train.run import make_loader
from distill.train.run_context import RunSettings, TrainData
from workbench.doors.yaml import yaml_text
from workbench.files import write_atomic

REPORT, PICTURES = "report.html", "report"
MOSAIC = 12
"""Validation pictures of the mosaic."""
SETTINGS = ("optimizer", "lr", "epochs", "batch", "accumulate", "augmentation", "weight_decay", "precision")
"""Settings of the recipe that the report shows first; all are below."""


@dataclass(frozen=True, eq=False)
class Findings:
    """What the report is about: a training and how its best weights do on the validation data."""

    training: Training
    data: TrainData
    result: EvaluationResult
    detections: list[dict[str, Any]]
    curves: ThresholdCurves

    @property
    def threshold(self) -> float:
        """The score threshold with the largest mean F1."""
        return self.curves.best_threshold


def write_report(
    folder: Path, data: TrainData | None = None, log: Callable[[str], None] = lambda text: None
) -> Path:
    """Write ``report.html``, ``report/*.png`` and ``results.csv`` into a training's folder; the page's path.

    ``data`` are opened again where they are not given.
    """
    training = read_training(folder)
    data = data or open_training_data(training)
    detections = best_detections(training, data.val, log)
    log("writing the report")
    matches = match(data.val, detections)
    result = evaluate_detections(data.val, detections)
    findings = Findings(training, data, result, detections, threshold_curves(matches))
    write_atomic(folder / RESULTS, results_csv(training.history))
    page = _opening(findings)
    _curves(page, findings)
    _classes(page, findings)
    good, poor = best_and_worst(data.val, detections, matches, findings.threshold)
    _pictures(page, findings, good, poor)
    _data(page, findings)
    _settings(page, training)
    write_atomic(folder / REPORT, page.html())
    return folder / REPORT


def _opening(findings: Findings) -> Page:
    """Title, figures and what to do next."""
    training, result = findings.training, findings.result
    settings, f1 = training.settings, findings.curves.mean_f1[findings.curves.best]
    lead = (
        f"{settings['model']} trained for {len(training.history)} epochs on {Path(settings['data']).name} at "
        f"{settings['input_px']} px; figures are of epoch {training.best_epoch}, the best, on {result.images} "
        "validation images."
    )
    page = Page(training.folder.resolve().name, lead)
    page.figures({
        "AP (IoU 0.50 to 0.95)": _share(result.summary["ap"]), "AP50": _share(result.summary["ap50"]),
        f"mean F1, at score {findings.threshold:.2f}": f"{f1:.3f}",
    })  # fmt: skip
    page.section("What to do next")
    for sentence in advice(training.history, training.best_epoch, result):
        page.text(sentence)
    page.commands(next_commands(training, findings.threshold))
    return page


def next_commands(training: Training, threshold: float) -> list[tuple[str, str]]:
    """What one does after a training, each with its command."""
    best, data = shlex.quote(str(training.folder / "best.safetensors")), shlex.quote(training.settings["data"])
    return [
        ("Look at pictures of your own, at the threshold with the largest F1",
         f"nas predict {best} PHOTOS --score {max(threshold, 0.01):.2f}"),
        ("Export, with the gap in AP measured", f"nas export {best} --format onnx --verify {data}"),
        ("Compare with published detectors", f"nas compare {shlex.quote(str(training.folder))}"),
    ]  # fmt: skip


def _curves(page: Page, findings: Findings) -> None:
    training, names = findings.training, findings.data.val.classes.names
    page.section("Curves")
    _add(page, findings, "curves", curves_png(training.history, training.best_epoch),
         "Losses, AP and learning rate over the epochs", f"A row an epoch in {RESULTS}.")  # fmt: skip
    _add(page, findings, "f1", thresholds_png(findings.curves, names),
         "F1, precision and recall over the score threshold",
         f"At IoU 0.5. Mean F1 is largest at score {findings.threshold:.2f} (dashed).")  # fmt: skip
    _add(page, findings, "precision-recall", precision_recall_png(findings.result, names), "Precision over recall")


def _classes(page: Page, findings: Findings) -> None:
    result, curves, at = findings.result, findings.curves, findings.curves.best
    page.section("Classes", f"Precision, recall and F1 at IoU 0.5 and score {findings.threshold:.2f}.")
    rows = [
        [name, metrics["objects"], metrics["ap"], metrics["ap50"],
         *(_known(values[label, at]) for values in (curves.precision, curves.recall, curves.f1))]
        for label, (name, metrics) in enumerate(result.per_class.items())
    ]  # fmt: skip
    page.table(["class", "objects", "AP", "AP50", "precision", "recall", "F1"], rows)
    _add(page, findings, "confusion", confusion_png(result.confusion, list(result.per_class)), "Confusion matrix",
         "Detections from score 0.25 on, each with the true box that it overlaps most (IoU 0.5). Last column: missed; "
         "last row: found where nothing is.")  # fmt: skip


def _pictures(page: Page, findings: Findings, good: list[Any], poor: list[Any]) -> None:
    halves = f"Left: true boxes. Right: found, from score {findings.threshold:.2f} on."
    folder = findings.training.folder / PICTURES
    for title, name, shown in (("Worst pictures", "worst", poor), ("Best pictures", "best", good)):
        page.section(title, halves if shown else "None.")
        page.gallery([(jpeg(one.image), one.caption) for one in shown])
        for number, one in enumerate(shown, start=1):
            write_atomic(folder / f"{name}-{number}.png", png(one.image))
    mosaic = detections_png(findings.data.val, findings.detections, MOSAIC, findings.threshold)
    page.section("Validation mosaic", "True boxes above, found ones below.")
    write_atomic(folder / "validation.png", mosaic)
    page.picture(as_jpeg(mosaic), "Validation pictures with true and found boxes")


def _data(page: Page, findings: Findings) -> None:
    training, data = findings.training, findings.data
    page.section("Data")
    header = ["split", "images", "without objects", "objects", "clipped boxes", "dropped boxes"]
    rows = []
    for name, split in (("train", data.train), ("val", data.val)):
        counts = split_counts(split)
        handled = counts["handled"]
        rows.append([name, counts["images"], counts["empty"], counts["objects"],
                     handled.get("outside", 0), handled.get("degenerate", 0)])  # fmt: skip
    page.table(header, rows)
    _add(page, findings, "labels", labels_png(data.train), "Labels of the training data",
         "Training data: objects by class, where they are, how large, and how many an image has.")  # fmt: skip
    settings = training.settings
    run = RunSettings(settings["input_px"], settings["seed"], data_workers=0)
    with make_loader(data, training.detector().preprocess, training.recipe, run) as loader:
        for number, sheet in enumerate(batch_sheets(loader, data.train.classes.names), start=1):
            text = f"Training batch {number} as the network saw it"
            write_atomic(training.folder / PICTURES / f"batch-{number}.png", png(sheet))
            page.picture(jpeg(sheet), text, f"{text}, up to 16 of its images.")


def _settings(page: Page, training: Training) -> None:
    settings, machine = training.settings, training.machine
    page.section("Settings and machine")
    rows = [[name, str(settings[name])] for name in ("model", "weights", "data", "input_px", "seed", "device")]
    rows += [[name, str(settings["recipe"][name])] for name in SETTINGS if name in settings["recipe"]]
    rows += [["machine", machine_text(machine)]] if machine else []
    rows += [[f"version of {name}", str(version)] for name, version in settings.get("versions", {}).items()]
    rows += [["note", note] for note in training.notes]
    page.table(["setting", "value"], rows)
    page.folded("All settings", yaml_text(settings))


def machine_text(machine: dict[str, Any]) -> str:
    """``2 CPUs (NAME)``, with the GPU where there is one."""
    gpu = f"{machine['gpu']}, " if machine.get("gpu") else ""
    processes = f", {machine['processes']} processes" if machine.get("processes", 1) > 1 else ""
    return f"{gpu}{machine['cpus']} CPUs ({machine['cpu']}){processes}"


def _add(page: Page, findings: Findings, name: str, image: bytes, description: str, caption: str = "") -> None:
    """Put a PNG on the page and beside it."""
    write_atomic(findings.training.folder / PICTURES / f"{name}.png", image)
    page.picture(image, description, caption)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
