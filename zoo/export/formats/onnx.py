"""ONNX files, run by ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import missing_package
from zoo.export.formats.format import ExportFormat, Runner

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.detector import Detector
    from zoo.export.options import ExportOptions


class OnnxFormat(ExportFormat):
    """An ONNX file with class names, preprocessing and lineage in its metadata."""

    suffix = ".onnx"
    nms = half = int8 = dynamic = True

    def require(self) -> None:
        try:
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
        except ModuleNotFoundError as error:
            raise missing_package("writing ONNX and measuring its gap", error.name, "onnx") from error

    def write(self, folded: Detector, path: Path, options: ExportOptions, onnx_model: Any = None) -> None:
        from zoo.export.onnx_graph import save_onnx

        save_onnx(folded, path, options, onnx_model)

    def open(self, path: Path, options: ExportOptions) -> Runner:
        from zoo.export.onnx_runner import onnx_runner

        return onnx_runner(path, () if options.form == "decoded" else ("boxes", "scores"))

    def first_divergence(self, detector: Detector, path: Path, image: Tensor, tolerance: float) -> str | None:
        from zoo.export.divergence import first_divergence

        return first_divergence(detector, path, image, tolerance)
