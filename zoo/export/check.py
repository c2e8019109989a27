"""Checks of export options against a detector and a format, before anything is written."""

from __future__ import annotations

import math
from pathlib import Path

from workbench.errors import BadInput, unknown_name
from zoo.detector import Detector
from zoo.export.formats import FORMATS, get_format
from zoo.export.options import FORMS, LAYOUTS, OPSETS, TOLERANCE, ExportOptions


def check_options(detector: Detector, format_name: str, options: ExportOptions) -> None:
    """Raise ``BadInput`` if the detector cannot be exported like this."""
    if options.form not in FORMS:
        raise unknown_name("form of export", options.form, FORMS)
    if options.layout not in LAYOUTS:
        raise unknown_name("layout", options.layout, LAYOUTS)
    if options.layout != LAYOUTS[0] and format_name != "onnx":
        raise BadInput(f"--layout {options.layout} is one of ONNX files: use --format onnx, not {format_name}")
    if options.form == "end2end" and not detector.end2end:
        raise _needs_nms(detector)
    if options.form == "nms":
        _check_nms(detector, format_name, options)
    if options.opset not in OPSETS:
        raise BadInput(f"opset {options.opset} must be one of {OPSETS.start} to {OPSETS.stop - 1}")
    step = detector.strides[-1]
    if min(options.height, options.width) < 64 or options.height % step or options.width % step:
        raise BadInput(
            f"input of {options.height} x {options.width} pixels: both sides must be multiples of {step} from 64 up"
        )
    if options.batch < 1:
        raise BadInput(f"batch {options.batch} must be at least 1")
    if options.tolerance is not None and not 0 <= options.tolerance < math.inf:
        raise BadInput(f"tolerance {options.tolerance} must be a number from 0 up, such as {TOLERANCE:g}")
    if options.half and not get_format(format_name).half:
        raise BadInput(f"--half: {format_name} files are written in FP32; use {_formats_with('half')}")
    if options.int8 and options.half:
        raise BadInput("--int8 and --half contradict each other: give one of them")
    if options.int8 and not get_format(format_name).int8:
        raise BadInput(f"--int8: {format_name} files are not written in INT8; use {_formats_with('int8')}")
    if options.fp32_layers and not (options.half or options.int8):
        layers = ", ".join(options.fp32_layers)
        raise BadInput(f"layers kept in FP32 ({layers}): without --half or --int8 all of them are")
    if options.fp32_layers and options.half and not get_format(format_name).mixed:
        raise BadInput(
            f"layers kept in FP32: all layers of {format_name} files are in FP16 or none; use {_formats_with('mixed')}"
        )
    if options.batch > 1 and not get_format(format_name).batches:
        raise BadInput(f"batch {options.batch}: {format_name} networks take one image; use --batch 1")
    if options.dynamic:
        _check_dynamic(detector, format_name, options)


def check_path(path: Path, format_name: str) -> None:
    """Raise ``BadInput`` if a file of this format cannot have this name."""
    suffix = get_format(format_name).suffix
    if path.is_dir():
        inside = str(path / ("model" + suffix))
        raise BadInput(f"--out {str(path)!r} is a folder: name a file in it, such as {inside!r}")
    if not path.name.lower().endswith(suffix):
        renamed = str(path.with_name(path.stem + suffix))
        raise BadInput(
            f"--out {str(path)!r}: the name of a file in format {format_name} ends in {suffix}: {renamed!r}"
        )


def _needs_nms(detector: Detector) -> BadInput:
    """The error for ``end2end`` of a detector that needs NMS."""
    name = detector.recipe.model
    nms_free = next((branch for branch, rule in detector.selections.items() if rule.iou_threshold is None), None)
    if nms_free is not None and not detector.fused:
        return BadInput(
            f"the branch {detector.branch} of {name} needs NMS: export it with --nms, or the other one with "
            f"--branch {nms_free}"
        )
    return BadInput(f"{name} needs NMS: export it with --nms, or train an NMS-free head (head: one_to_one: true)")


def _check_nms(detector: Detector, format_name: str, options: ExportOptions) -> None:
    if detector.end2end:
        selections = detector.selections.items()
        other = next((branch for branch, rule in selections if rule.iou_threshold is not None), None)
        hint = ""
        if other is not None and not detector.fused:
            hint = f", or its other branch with --branch {other} --nms"
        raise BadInput(f"{detector.recipe.model} is NMS-free: export it with --end2end{hint}")
    if not get_format(format_name).nms:
        raise BadInput(
            f"--nms: {format_name} has no suppression operator here; use {_formats_with('nms')}, or leave it to your "
            "own code"
        )
    if options.batch != 1:
        raise BadInput(f"--nms with batch {options.batch}: suppression inside the file is written for batch 1")


def _check_dynamic(detector: Detector, format_name: str, options: ExportOptions) -> None:
    if not get_format(format_name).dynamic:
        raise BadInput(f"--dynamic: {format_name} files are written for one size; use {_formats_with('dynamic')}")
    cells = sum(options.height * options.width // stride**2 for stride in detector.strides)
    most = detector.selection.max_detections
    if detector.end2end and most is not None and cells < most:
        raise BadInput(
            f"--dynamic at {options.height} x {options.width} pixels: the file would give {cells} detections at every "
            f"size, for want of more cells; {detector.recipe.model} gives {most} from 128 x 128 pixels up"
        )


def _formats_with(ability: str) -> str:
    return " or ".join(name for name, file_format in FORMATS.items() if getattr(file_format, ability))
