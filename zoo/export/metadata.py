"""What an exported file says of itself: its metadata, and the values of its contract."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import asdict
from typing import Any

from zoo.detector import Detector
from zoo.export.options import LAYOUTS, ExportOptions
from zoo.images import Preprocess
from zoo.weights.licence import own_licence


def metadata(detector: Detector, options: ExportOptions) -> dict[str, str]:
    """The values of ``described`` as text, structured ones as JSON."""
    values = described(detector, dataclasses.replace(options, layout=LAYOUTS[0]))
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}


def described(detector: Detector, options: ExportOptions) -> dict[str, Any]:
    """Class names, input, outputs, precision, preprocessing, selection, licence and lineage."""
    other_layout = options.layout != LAYOUTS[0]
    values: dict[str, Any] = {
        "model": detector.recipe.model,
        "form": options.form,
        "branch": detector.branch,
        "class_names": list(detector.info.class_names),
        "category_ids": list(detector.info.category_ids),
        "input": {
            "name": "images" if other_layout else "image",
            "layout": "b 3 h w",
            "batch": options.batch,
            "height": options.height,
            "width": options.width,
            "dynamic": options.dynamic,
        },
        "outputs": _outputs(detector, options),
        "precision": _precision(options),
        "preprocess": asdict(detector.preprocess),
        "selection": asdict(detector.selection),
        "licence": own_licence(detector.info.provenance),
        "provenance": dict(detector.info.provenance),
        "lineage": [dict(entry) for entry in detector.info.lineage],
    }
    if other_layout:
        own = values["preprocess"]
        client = asdict(Preprocess(resize=detector.preprocess.resize, pad=detector.preprocess.pad))
        values |= {"layout": options.layout, "preprocess": client, "inside": own}
    return values


def _outputs(detector: Detector, options: ExportOptions) -> dict[str, str]:
    """What the outputs hold, by name."""
    rows = "[b, k, 6]: x1, y1, x2, y2 in pixels of the input, score, label"
    if options.layout != LAYOUTS[0]:
        decoded = f"[b, {4 + detector.classes}, n]: cx, cy, w, h in pixels of the input, then class scores"
        return {"output0": decoded if options.form == "decoded" else rows}
    if options.form != "decoded":
        return {"detections": rows}
    scores = f"[b, n, {detector.classes}]: class scores, 0 to 1"
    return {"boxes": "[b, n, 4]: x1, y1, x2, y2 in pixels of the input", "scores": scores}


def _precision(options: ExportOptions) -> dict[str, Any]:
    """Precision of the weights, layers that stay in FP32, and what an INT8 file was calibrated on."""
    weights = "INT8" if options.int8 else "FP16" if options.half else "FP32"
    values: dict[str, Any] = {"weights": weights, "kept_fp32": list(options.fp32_layers)}
    return {**values, "calibration": options.calibration} if options.int8 else values
