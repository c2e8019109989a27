"""NCNN on the CPU."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from nas.devices.network import Network
from nas.devices.runtimes.runtime import Runtime, Session, Target, example_input, require_fp32
from workbench.errors import BadInput
from zoo.export.ncnn_files import NcnnNetwork, convert, require_ncnn


class Ncnn(Runtime):
    """Modules of our own networks, converted by pnnx; a foreign ONNX file has none."""

    title = "NCNN"
    package = "ncnn"

    def require(self, target: Target) -> None:
        require_ncnn("measuring with NCNN")
        require_fp32(target, "NCNN")
        if target.device == "cuda":
            raise BadInput("--runtime ncnn does not run on CUDA: use onnxruntime or torch")

    def open(self, network: Network, target: Target) -> Session:
        import torch

        if network.module is None:
            raise BadInput(
                f"{network.name} is an ONNX file, which NCNN does not read: use --runtime onnxruntime or openvino"
            )
        channels, *sides = network.graph.inputs[0]
        shape = (1, int(channels), *(int(side) for side in (sides if len(sides) == 2 else network.size)))
        image = torch.from_numpy(example_input(shape, np.dtype(np.float32), network.size, 0))
        with tempfile.TemporaryDirectory() as folder:
            param = Path(folder) / "model.ncnn.param"
            convert(network.module().eval(), image, (), param)
            return NcnnNetwork(param, target.threads).session(image)
