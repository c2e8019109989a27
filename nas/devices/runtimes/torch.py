"""Torch in inference mode, on the CPU or on CUDA."""

from __future__ import annotations

import numpy as np

from nas.devices.network import Network
from nas.devices.runtimes.runtime import Runtime, Session, Target, example_input, require_fp32
from workbench.errors import BadInput, missing_package


class Torch(Runtime):
    """Modules of our own networks; a foreign ONNX file has none."""

    title = "torch"
    package = "torch"

    def require(self, target: Target) -> None:
        try:
            import torch
        except ModuleNotFoundError as error:
            on_cpu = target.device == "cpu"
            what = "measuring with torch" if on_cpu else "--device cuda without ONNX Runtime's CUDA provider"
            raise missing_package(what, error.name, "torch") from error
        if target.device == "cuda" and not torch.cuda.is_available():
            raise BadInput(
                "--device cuda: torch sees no CUDA GPU here, and ONNX Runtime has no CUDA provider: measure where one "
                "is, or use --device cpu"
            )
        if target.device == "cpu":
            require_fp32(target, "torch on the CPU")

    def open(self, network: Network, target: Target) -> Session:
        import torch

        if network.module is None:
            raise BadInput(
                f"{network.name} is an ONNX file, which torch does not run: use --runtime onnxruntime or openvino"
            )
        cuda = target.device == "cuda"
        module = network.module().eval()
        channels, *sides = network.graph.inputs[0]
        shape = (1, int(channels), *(int(side) for side in (sides if len(sides) == 2 else network.size)))
        image = torch.from_numpy(example_input(shape, np.dtype(np.float32), network.size, 0))
        if cuda:
            module, image = module.cuda(), image.cuda()
        if target.precision == "FP16":
            module, image = module.half(), image.half()

        def run() -> None:
            if torch.get_num_threads() != target.threads:
                torch.set_num_threads(target.threads)
            with torch.inference_mode():
                module(image)
            if cuda:
                torch.cuda.synchronize()

        return run
