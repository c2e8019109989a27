"""The metadata of an exported file."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from zoo.detector import Detector
from zoo.export.options import ExportOptions


def metadata(detector: Detector, options: ExportOptions) -> dict[str, str]:
    """Class names, input, precision, preprocessing, selection and lineage as text; structured values as JSON."""
    values: dict[str, Any] = {
        "model": detector.recipe.model,
        "form": options.form,
        "branch": detector.branch,
        "class_names": list(detector.info.class_names),
        "category_ids": list(detector.info.category_ids),
        "input": {
            "layout": "b 3 h w",
            "batch": options.batch,
            "height": options.height,
            "width": options.width,
            "dynamic": options.dynamic,
        },
        "precision": _precision(options),
        "preprocess": asdict(detector.preprocess),
        "selection": asdict(detector.selection),
        "provenance": dict(detector.info.provenance),
        "lineage": [dict(entry) for entry in detector.info.lineage],
    }
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}


def _precision(options: ExportOptions) -> dict[str, Any]:
    """Precision of the weights, layers that stay in FP32, and what an INT8 file was calibrated on."""
    weights = "INT8" if options.int8 else "FP16" if options.half else "FP32"
    values: dict[str, Any] = {"weights": weights, "kept_fp32": list(options.fp32_layers)}
    return {**values, "calibration": options.calibration} if options.int8 else values
