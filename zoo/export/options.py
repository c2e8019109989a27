"""What to export: the form of the outputs, the input size and the precision. Imports no torch."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

FORMS = ("decoded", "nms", "end2end")
LAYOUTS = ("nas", "ultralytics")
OPSETS = range(16, 21)
"""ONNX operator sets that the exporter supports and that have grid sampling."""
RANGES = ("min-max", "entropy", "percentile")
"""Ways to find the range of an activation from calibration images."""
TOLERANCE = 1e-3
"""Largest relative gap that passes in FP32, folding included: 0.64 pixels at 640, or 0.001 of a score."""
HALF_TOLERANCE = 2e-2
"""The same for FP16 weights: 12.8 pixels at 640, or 0.02 of a score."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to write. Sides are in pixels; ``dynamic`` leaves batch (not with ``nms``) and sides open.

    ``form`` is one of:

    - ``decoded``: boxes ``[b, n, 4]`` (x1, y1, x2, y2 in input pixels) and scores ``[b, n, classes]``;
    - ``nms``: ``detections [b, k, 6]`` (x1, y1, x2, y2, score, label) with NMS inside the file;
    - ``end2end``: the same from an NMS-free detector, without NMS.
    """

    form: str = "decoded"
    height: int = 640
    width: int = 640
    batch: int = 1
    dynamic: bool = False
    opset: int = 17
    half: bool = False
    """FP16 weights; in ONNX and TensorRT FP16 arithmetic too. Input, decoding and selection stay in FP32."""
    tolerance: float | None = None
    """Largest relative gap (see ``zoo.export.gap``); None takes the default of the precision, in INT8 no limit."""
    fp32_layers: tuple[str, ...] = ()
    """Modules that stay in FP32 with ``half`` or ``int8``, by their names in torch; submodules included."""
    int8: bool = False
    """INT8 weights and arithmetic in the layers with weights (``zoo.export.int8``)."""
    calibration: str = ""
    """What an INT8 file was calibrated on and how, for its metadata."""
    layout: str = "nas"
    """``nas``, as above; or ``ultralytics``, which other clients read (``zoo.export.ultralytics_layout``)."""

    @property
    def allowed(self) -> float:
        """The tolerance in force."""
        if self.tolerance is not None:
            return self.tolerance
        if self.int8:
            return math.inf  # single boxes differ by much where AP does not change: AP judges an INT8 file
        return HALF_TOLERANCE if self.half else TOLERANCE

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the keys of ``nas export --json``."""
        values = dataclasses.asdict(self)
        values["keep"] = values.pop("fp32_layers")
        return values
