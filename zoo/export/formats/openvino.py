"""OpenVINO files, built from ONNX and run by OpenVINO on the CPU."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import missing_package
from zoo.export.formats.format import ExportFormat, Runner
from zoo.export.openvino_package import openvino

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.detector import Detector
    from zoo.export.options import ExportOptions


class OpenVINOFormat(ExportFormat):
    """An ``.xml`` with its ``.bin`` beside it. FP16 weights are stored in FP16 and computed in FP32."""

    suffix = ".xml"
    companions = (".bin",)
    nms = half = int8 = dynamic = True

    def require(self) -> None:
        try:
            import onnx  # noqa: F401
        except ModuleNotFoundError as error:
            raise missing_package("writing OpenVINO files", error.name, "onnx") from error
        try:
            openvino()
        except ModuleNotFoundError as error:
            raise missing_package("writing OpenVINO files", error.name, "openvino") from error

    def write(self, folded: Detector, path: Path, options: ExportOptions, onnx_model: Any = None) -> None:
        import onnx

        from zoo.export.deployed import module_names
        from zoo.export.half_precision import store_in_half
        from zoo.export.metadata import metadata
        from zoo.export.onnx_graph import onnx_graph

        package = openvino()
        network = onnx_graph(folded, options) if onnx_model is None else onnx_model
        if options.half:
            network = store_in_half(network, module_names(folded), options.fp32_layers)
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "model.onnx"
            onnx.save(network, str(source))
            # convert_model would do the same and send telemetry to Intel.
            model = package.Core().read_model(source)
            for key, value in metadata(folded, options).items():
                model.set_rt_info(value, ["nas", key])
            package.save_model(model, path, compress_to_fp16=False)

    def open(self, path: Path, options: ExportOptions) -> Runner:
        import torch

        core = openvino().Core()
        model = core.read_model(path)
        names = ["boxes", "scores"]
        if options.form != "decoded":
            model.add_outputs(names)
            names.append("detections")
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        ports = {name: compiled.output(name) for name in names}

        def run(image: Tensor) -> dict[str, Tensor]:
            outputs = compiled(image.numpy())
            return {name: torch.from_numpy(outputs[port].copy()) for name, port in ports.items()}

        return run
