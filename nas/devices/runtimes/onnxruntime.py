"""ONNX Runtime on the CPU or on CUDA."""

from __future__ import annotations

import numpy as np

from nas.devices.hardware import worker_cpus
from nas.devices.network import Network
from nas.devices.runtimes.runtime import Runtime, Session, Target, example_input, require_fp32
from workbench.errors import BadInput, missing_package

DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(bool)": np.bool_,
}
"""Types of inputs that can be filled."""


class OnnxRuntime(Runtime):
    """Sessions with inputs and outputs bound to memory of the device."""

    title = "ONNX Runtime"
    package = "onnxruntime"

    def version(self) -> str:
        # onnxruntime-gpu is another distribution with the same module.
        import onnxruntime

        return str(onnxruntime.__version__)

    def require(self, target: Target) -> None:
        try:
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
        except ModuleNotFoundError as error:
            raise missing_package("measuring with ONNX Runtime", error.name, "onnx") from error
        require_fp32(target, "ONNX Runtime")
        if target.device == "cuda" and not has_cuda():
            raise BadInput(
                "--device cuda: this ONNX Runtime was built without CUDA: install onnxruntime-gpu, or use "
                "--runtime torch"
            )

    def open(self, network: Network, target: Target) -> Session:
        return _BoundSession(network, target)


def has_cuda() -> bool:
    """Whether ONNX Runtime is installed with its CUDA provider."""
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return False
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


class _BoundSession:
    def __init__(self, network: Network, target: Target) -> None:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = target.threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 4
        # Threads that keep spinning after a run would slow down the next network.
        settings.add_session_config_entry("session.force_spinning_stop", "1")
        if places := worker_cpus(target.threads):
            # Without affinities a worker may share the caller's CPU for a whole session, which doubles the time.
            affinities = ";".join(str(cpu + 1) for cpu in places)
            settings.add_session_config_entry("session.intra_op_thread_affinities", affinities)
        cuda = target.device == "cuda"
        providers = ["CUDAExecutionProvider"] if cuda else ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(network.onnx(), settings, providers=providers)
        self.binding = self.session.io_binding()
        place = "cuda" if cuda else "cpu"
        for i, value in enumerate(self.session.get_inputs()):
            if value.type not in DTYPES:
                raise BadInput(f"{network.name}: input {value.name!r} wants {value.type}, which is not measured")
            array = example_input(value.shape, np.dtype(DTYPES[value.type]), network.size, i)
            self.binding.bind_ortvalue_input(value.name, onnxruntime.OrtValue.ortvalue_from_numpy(array, place, 0))
        for value in self.session.get_outputs():
            self.binding.bind_output(value.name, place, 0)

    def __call__(self) -> None:
        self.session.run_with_iobinding(self.binding)
        self.binding.synchronize_outputs()
