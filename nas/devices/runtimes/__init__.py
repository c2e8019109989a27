"""Runtimes by the name that ``--runtime`` takes. A new runtime is one file here and one line in ``RUNTIMES``."""

from __future__ import annotations

from nas.devices.runtimes.ncnn import Ncnn
from nas.devices.runtimes.onnxruntime import OnnxRuntime
from nas.devices.runtimes.openvino import OpenVINO
from nas.devices.runtimes.runtime import Runtime
from nas.devices.runtimes.torch import Torch

RUNTIMES: dict[str, Runtime] = {
    "onnxruntime": OnnxRuntime(),
    "openvino": OpenVINO(),
    "torch": Torch(),
    "ncnn": Ncnn(),
}
