"""Export as a test: the file is compared with torch on a data set, and layers that FP16 breaks are repaired.

Torch and the file, run by its own runtime, see the same prepared images. Their AP and the gap between their outputs
decide whether the file drifts. If it does, a minimal set of layers that need FP32 is searched for, and the file is
exported with these in FP32 and checked again.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.data.dataset import DataSet
from distill.train.detect import check_classes
from distill.train.evaluate import EvaluationResult
from distill.verify.check import FileCheck, check_file
from distill.verify.comparison import image_batches
from distill.verify.layer_search import LayerSearch
from workbench.console import table
from workbench.errors import BadInput
from workbench.tables import Result
from zoo.detector import Detector
from zoo.export.formats import get_format
from zoo.export.options import ExportOptions
from zoo.export.write import export

AP_TOLERANCE, HALF_AP_TOLERANCE = 0.001, 0.005
"""Largest change of AP that passes, with FP32 and with FP16 weights."""


@dataclass(frozen=True, slots=True)
class VerifiedExport(Result):
    """An exported file and its checks."""

    check: FileCheck
    """Of the file as it is now."""
    first: FileCheck
    """Of the file before the repair; the same if there was none."""
    repaired: tuple[str, ...] = ()
    """Layers that were put into FP32."""
    trials: int = 0
    note: str = ""
    """Why nothing was repaired although the file drifted."""

    @property
    def drifts(self) -> bool:
        """Whether the file failed its check."""
        return bool(self.check.reasons)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "images": self.check.comparison.images,
            **self.check.comparison.to_dict(),
            "ap_tolerance": self.check.ap_tolerance,
            "ap_tells": self.check.ap_is_informative,
            "repaired": list(self.repaired),
            "trials": self.trials,
            "before_repair": self.first.comparison.to_dict() if self.repaired else None,
            "note": self.note,
            "reasons": list(self.check.reasons),
            "drifts": self.drifts,
        }

    def to_table(self) -> tuple[list[str], list[list[Any]]]:
        """Header and rows: AP and the largest gap of torch, of the file, and of the file before its repair."""
        files = [("file before the repair", self.first.comparison)] if self.repaired else []
        files.append(("file", self.check.comparison))
        rows: list[list[Any]] = [["torch", *_ap_cells(self.check.comparison.torch), "-"]]
        for name, comparison in files:
            rows.append([name, *_ap_cells(comparison.file), f"{comparison.largest_gap:.1e}"])
        return [" ", "AP", "AP50", "largest gap"], rows

    def __str__(self) -> str:
        kind = "loss" if self.check.loss_only else "change"
        lines = [table(*self.to_table()), "", f"a {kind} of AP up to {self.check.ap_tolerance:g} is allowed"]
        if not self.check.ap_is_informative and not self.check.loss_only:
            lines.append("AP says nothing here: torch's own is not above that, so the gap on these images decides")
        if self.repaired:
            lines.append(f"repaired: {', '.join(self.repaired)} in FP32 (found in {self.trials} trials)")
            if self.check.loss_only:
                lines[-1] = f"kept out of INT8, {len(self.repaired)} of them: {lines[-1].removeprefix('repaired: ')}"
        elif self.note:
            lines.append(f"not repaired: {self.note}")
        lines += [f"DRIFTS: {reason}" for reason in self.check.reasons] or ["verified"]
        return "\n".join(lines)


def export_verified(
    detector: Detector,
    path: str | Path,
    format_name: str,
    options: ExportOptions,
    data: DataSet,
    ap_tolerance: float | None = None,
    log: Callable[[str], None] = lambda text: None,
) -> VerifiedExport:
    """Write ``detector`` as ``zoo.export.write.export`` does, check the file on ``data``, and repair it if it drifts.

    The repair exports once more with a minimal set of layers in FP32; that file stays, whatever its check says.
    ``ap_tolerance`` None takes the default of the precision.
    """
    check_classes(detector, data)
    if not len(data):
        raise BadInput(f"split {data.name!r} of {data.root} has no pictures: there is nothing to verify on")
    allowed = (HALF_AP_TOLERANCE if options.half else AP_TOLERANCE) if ap_tolerance is None else ap_tolerance
    if not 0 <= allowed < math.inf:
        raise BadInput(f"AP tolerance {allowed} must be a number from 0 up, such as {AP_TOLERANCE:g}")
    file = export(detector, path, format_name, options, log)
    first = check_file(detector, file, format_name, options, data, allowed, log)
    if not first.reasons:
        return VerifiedExport(first, first)
    if not options.half or not get_format(format_name).mixed:
        note = "all layers of this file are in FP32 already, so there is none to put into a higher precision"
        if options.half:
            note = f"all layers of {format_name} files have one precision, so none can be put into FP32 alone"
        return VerifiedExport(first, first, note=note + _divergence_note(detector, first, format_name, options, data))
    search = LayerSearch(detector, format_name, options, data, first, log)
    layers = search.minimal_layers()
    if not layers:
        note = search.note + _divergence_note(detector, first, format_name, options, data)
        return VerifiedExport(first, first, trials=search.trials, note=note)
    log(f"exporting again with {len(layers)} of {len(search.layers)} layers in FP32")
    repaired = dataclasses.replace(options, fp32_layers=(*options.fp32_layers, *layers))
    file = export(detector, path, format_name, repaired, log)
    check = check_file(detector, file, format_name, repaired, data, allowed, log)
    return VerifiedExport(check, first, layers, search.trials)


def _divergence_note(
    detector: Detector, check: FileCheck, format_name: str, options: ExportOptions, data: DataSet
) -> str:
    """Where a file that cannot be repaired diverges from torch, as the end of a sentence; empty if unknown."""
    hardest = check.comparison.hardest[: options.batch]
    batch = next(image_batches(detector, data, hardest, options))
    file_format, file = get_format(format_name), check.file
    layer = file_format.first_divergence(detector, file.path, batch.image, file.tolerance)
    if layer is None:
        return ""
    if layer:
        return f"; the first layer that differs is {layer}"
    return "; its layers agree with torch, so the difference begins in decoding or selection"


def _ap_cells(result: EvaluationResult) -> list[str]:
    """AP and AP50, or dashes if there is nothing to detect."""
    values = (result.summary["ap"], result.summary["ap50"])
    return ["-" if value is None else f"{value:.4f}" for value in values]
