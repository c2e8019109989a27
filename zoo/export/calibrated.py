"""A detector calibrated for INT8 in the way of its format: as an ONNX graph, or as an NCNN network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from zoo.export.formats.format import Calibrated
from zoo.export.options import ExportOptions

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.detector import Detector


def calibrated(
    detector: Detector, format_name: str, options: ExportOptions, images: Sequence[Tensor], ranges: str,
    log: Callable[[str], None],
) -> Calibrated:  # fmt: skip
    """The detector calibrated on prepared batches ``[b, 3, h, w]``; ``ranges`` is one of ``options.RANGES``."""
    if format_name == "ncnn":
        from zoo.export.ncnn_int8 import NcnnInt8Network

        return NcnnInt8Network(detector, options, images, ranges, log)
    from zoo.export.int8 import Int8Network

    return Int8Network(detector, format_name, options, images, ranges, log)
