"""OpenVINO on the CPU."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from nas.devices.network import Network
from nas.devices.runtimes.runtime import Runtime, Session, Target, example_input, require_fp32
from workbench.errors import BadInput, missing_package
from zoo.export.openvino_package import openvino


class OpenVINO(Runtime):
    """Compiled models with one infer request, set for latency."""

    title = "OpenVINO"
    package = "openvino"

    def require(self, target: Target) -> None:
        try:
            import onnx  # noqa: F401

            openvino()
        except ModuleNotFoundError as error:
            raise missing_package("measuring with OpenVINO", error.name, "openvino") from error
        require_fp32(target, "OpenVINO")
        if target.device == "cuda":
            raise BadInput("--runtime openvino does not run on CUDA: use onnxruntime or torch")

    def open(self, network: Network, target: Target) -> Session:
        core = openvino().Core()
        model = core.read_model(io.BytesIO(network.onnx()))
        inputs = {}
        for i, port in enumerate(model.inputs):
            # -1 marks a dimension that the file leaves open.
            dims = [d.get_length() if d.is_static else -1 for d in port.get_partial_shape()]
            inputs[i] = example_input(dims, np.dtype(port.get_element_type().to_dtype()), network.size, i)
        model.reshape({i: list(array.shape) for i, array in inputs.items()})
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(target.threads),
            "INFERENCE_PRECISION_HINT": "f32",
        }
        return _InferRequest(core.compile_model(model, "CPU", settings), inputs)


class _InferRequest:
    """A compiled model with its input arrays, which the request reads in place."""

    def __init__(self, compiled: Any, inputs: dict[int, np.ndarray]) -> None:
        self.compiled, self.inputs = compiled, inputs
        self.request = compiled.create_infer_request()
        for i, array in inputs.items():
            self.request.set_input_tensor(i, openvino().Tensor(array))

    def __call__(self) -> None:
        self.request.infer()
