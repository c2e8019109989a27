"""NCNN files, converted by pnnx and run by NCNN on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.export.formats.format import ExportFormat, Runner

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.detector import Detector
    from zoo.export.options import ExportOptions


class NcnnFormat(ExportFormat):
    """A ``.ncnn.param`` with its ``.ncnn.bin`` beside it, for one image of one size.

    FP16 weights are stored in FP16, all of them; here they are computed in FP32, on ARM NCNN computes in FP16. In INT8
    single layers can stay in FP32.
    """

    suffix = ".ncnn.param"
    companions = (".bin",)
    half = int8 = True
    mixed = batches = False

    def require(self) -> None:
        from zoo.export.ncnn_files import require_ncnn

        require_ncnn("writing NCNN files and measuring their gap")

    def write(self, folded: Detector, path: Path, options: ExportOptions, onnx_model: Any = None) -> None:
        from zoo.export.deployed import Deployed, EndToEnd, example_input
        from zoo.export.ncnn_files import convert

        if options.int8:
            text, weights = onnx_model
            path.write_text(text)
            path.with_suffix(".bin").write_bytes(weights)
            return
        end2end = options.form == "end2end"
        module = (EndToEnd if end2end else Deployed)(folded, options.form)
        outputs = ("detections",) if end2end else ("boxes", "scores")
        convert(module, example_input(options), outputs, path, options.half)

    def open(self, path: Path, options: ExportOptions) -> Runner:
        import torch

        from zoo.export.ncnn_files import NcnnNetwork

        return NcnnNetwork(path, torch.get_num_threads()).run

    def first_divergence(self, detector: Detector, path: Path, image: Tensor, tolerance: float) -> str | None:
        from zoo.export.divergence import first_difference
        from zoo.export.ncnn_files import NcnnNetwork
        from zoo.export.ncnn_param import CONVOLUTIONS

        network = NcnnNetwork(path, 1)
        # An activation that was merged into a convolution (parameter 9) leaves nothing to compare with torch.
        plain = [one for one in network.layers if one.kind in CONVOLUTIONS and not one.parameter(9)]
        blobs = {one.name: one.outputs[0] for one in plain}
        results = network.run(image[:1], list(blobs.values()))
        return first_difference(detector, {name: results[blob] for name, blob in blobs.items()}, image[:1], tolerance)
