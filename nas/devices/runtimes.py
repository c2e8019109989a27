"""Networks and the runtimes that run them: ONNX Runtime, OpenVINO and torch, on the CPU or on a CUDA GPU.

A network of ours is run bare, to its raw maps, which is what its Graph costs; an ONNX file is run as it is. Everything
runs at batch 1 and is synchronous: when a run returns, its outputs are complete.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from search_spaces.graph import Graph
from workbench.errors import BadInput, missing_package, unknown_name
from zoo.export.openvino_package import openvino

if TYPE_CHECKING:
    from torch import nn

DEVICES = ("cpu", "cuda")
PRECISIONS = ("FP32", "FP16")
NUMBERS = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(int64)": np.int64,
    "tensor(int32)": np.int32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8, "tensor(bool)": np.bool_,
}  # fmt: skip
"""Kinds of numbers that an ONNX network may ask for."""


@dataclass(frozen=True)
class Network:
    """Something that can be costed and run at one size.

    ``size`` is the image's (height, width) in pixels. ``onnx`` gives the bytes of its ONNX file; ``module`` a torch
    module from an image ``[1, 3, h, w]`` to its outputs, None where there is none (a foreign ONNX file).
    """

    name: str
    graph: Graph
    size: tuple[int, int]
    onnx: Callable[[], bytes]
    module: Callable[[], nn.Module] | None

    @property
    def table_px(self) -> tuple[int, int] | None:
        """What to ask the graph's table for: nothing where the graph states its size."""
        return None if self.graph.fixed_px else self.size

    @staticmethod
    def of_graph(graph: Graph, size: tuple[int, int] | None = None, seed: int = 0) -> Network:
        """A network from a Graph alone, weights drawn from ``seed``."""
        from zoo.graphs.to_onnx import graph_to_onnx

        size = graph.fixed_px or size
        if size is None:
            raise BadInput(f"graph {graph.name!r} has no size of its own: say at how many pixels it is to run")
        where = size

        def module() -> nn.Module:
            import torch

            from zoo.graphs.to_torch import build_module

            torch.manual_seed(seed)
            return build_module(graph)

        return Network(graph.name or "graph", graph, where, lambda: graph_to_onnx(graph, where, seed), module)


def find_network(text: str, input_px: int | None = None) -> Network:
    """The network that ``text`` names (see ``zoo.resolve``), at ``input_px`` or its own input size.

    A graph or file bound to another size than the one asked for is refused.
    """
    from zoo.resolve import resolve_model

    if input_px is not None and (input_px < 32 or input_px % 32):
        raise BadInput(f"input {input_px} must be a multiple of 32 of at least 32 pixels")
    path = Path(text)
    if path.suffix == ".onnx" and path.is_file():
        return _onnx_network(path, input_px)
    subject = resolve_model(text)
    if subject.detector is not None:
        return _detector_network(text, subject.name, input_px or subject.detector.info.input_px)
    graph = subject.graph(subject.default_scope(), input_px or 640)
    size = graph.fixed_px or (input_px or 640,) * 2
    _check_size(text, size, input_px)
    return Network.of_graph(Graph(graph.ops, graph.inputs, graph.outputs, subject.name, graph.meta), size)


def _check_size(text: str, size: tuple[int, int], input_px: int | None) -> None:
    if input_px is not None and size != (input_px, input_px):
        raise BadInput(f"{text!r} is bound to {size[0]} x {size[1]} pixels and cannot run at {input_px}: leave --input out, or export it at that size")


def _detector_network(text: str, name: str, px: int) -> Network:
    """A detector of the zoo: its Graph is traced, its ONNX file and module give the raw maps."""
    from zoo.resolve import resolve_detector

    if px % 32:
        raise BadInput(f"input {px} must be a multiple of 32")

    def module() -> nn.Module:
        from torch import nn

        detector = resolve_detector(text)[0].fuse()

        class RawMaps(nn.Module):
            """The folded detector up to its raw maps."""

            def __init__(self) -> None:
                super().__init__()
                self.detector = detector

            def forward(self, image: Any) -> Any:
                return detector.raw_outputs(self.detector(image))

        return RawMaps().eval()

    detector = resolve_detector(text)[0]
    return Network(name, detector.graph(px), (px, px), lambda: _exported(module(), (px, px)), module)


def _exported(module: nn.Module, size: tuple[int, int]) -> bytes:
    """The ONNX bytes of a module that takes ``[1, 3, h, w]``."""
    import warnings

    try:
        import onnx  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_package("running a detector in ONNX form", error.name, "onnx") from error
    import torch

    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter tells of its age and of sizes that become constants
        torch.onnx.export(module, (torch.zeros(1, 3, *size),), cast(Any, buffer), opset_version=17, dynamo=False, input_names=["image"])
    return buffer.getvalue()


def _onnx_network(path: Path, input_px: int | None) -> Network:
    """A stranger's file. Sides that it leaves open are set to ``input_px`` (640 where none is said)."""
    from zoo.graphs.from_onnx import graph_of, load_onnx

    model = load_onnx(path)
    closed = _close_sides(model, input_px or 640)
    graph = graph_of(model, path)
    size = graph.fixed_px
    if size is None:
        raise BadInput(f"{str(path)!r}: the first input is no image batch [n, c, h, w]")
    _check_size(str(path), size, input_px)
    return Network(path.stem, graph, size, lambda: _whole_file(path, model if closed else None), None)


def _close_sides(model: Any, px: int) -> bool:
    """Set the first input's open height and width to ``px``; whether any was open."""
    weights = {t.name for t in model.graph.initializer}
    image = next((v for v in model.graph.input if v.name not in weights), None)
    dims = image.type.tensor_type.shape.dim if image is not None else []
    if len(dims) != 4 or all(d.dim_value > 0 for d in dims[2:]):
        return False
    for position, dim in enumerate(dims):
        if dim.dim_value <= 0 and position != 1:
            dim.dim_value = px if position > 1 else 1
    # Recorded shapes of what lies between still hold the open names.
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    return True


def _whole_file(path: Path, model: Any) -> bytes:
    """The bytes that a runtime is given: ``model`` (the file itself where None), weights of other files taken in."""
    import onnx
    from onnx.external_data_helper import load_external_data_for_model, uses_external_data

    if model is None:
        model = onnx.load(str(path), load_external_data=False)
        if not any(uses_external_data(t) for t in model.graph.initializer):
            return path.read_bytes()
    try:
        load_external_data_for_model(model, str(path.parent))
        return bytes(model.SerializeToString())
    except Exception as error:  # onnx has types of its own for missing, short and misplaced files; protobuf for more than 2 GiB
        raise BadInput(f"{str(path)!r}: the weights beside it cannot be read: {' '.join(str(error).split())[:200]}") from error


@dataclass(frozen=True)
class Target:
    """Where and how a network is run. ``threads`` are those of the CPU; a GPU needs one to feed it."""

    device: str
    runtime: str
    threads: int
    precision: str = "FP32"

    def describe(self) -> str:
        """For instance ``ONNX Runtime 1.31.1, 2 threads``."""
        how = f"{self.threads} thread{'' if self.threads == 1 else 's'}" if self.device == "cpu" else "CUDA"
        return f"{RUNTIMES[self.runtime].title} {RUNTIMES[self.runtime].version()}, {how}"

    def hardware(self) -> str:
        """For instance ``AMD EPYC, 2 CPUs``, or the GPU's name."""
        if self.device == "cuda":
            return _gpu_name()
        count = cpus()
        return f"{_cpu_name()}, {count} CPU{'' if count == 1 else 's'}"


def choose_target(device: str = "cpu", runtime: str | None = None, threads: int | None = None, precision: str = "FP32") -> Target:
    """A target that this machine has, or one line on what is missing. Nothing said: ONNX Runtime, all CPUs."""
    if device not in DEVICES:
        raise BadInput(f"device {device!r} cannot be measured here: choose {' or '.join(DEVICES)} (profiles of other devices: nas devices)")
    if runtime is not None and runtime not in RUNTIMES:
        raise unknown_name("runtime", runtime, RUNTIMES)
    if threads is not None and threads < 1:
        raise BadInput(f"threads {threads} must be at least 1")
    if threads is not None and threads > 4 * cpus():
        raise BadInput(f"threads {threads} are more than four times the {cpus()} CPUs of this machine")
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    if runtime is None:
        runtime = "onnxruntime"
        if device == "cuda" and not _onnxruntime_has_cuda():
            runtime = "torch"
    target = Target(device, runtime, threads or (cpus() if device == "cpu" else 1), precision)
    RUNTIMES[runtime].require(target)
    return target


def cpus() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def worker_cpus(threads: int) -> list[int]:
    """A CPU for every thread beside the caller's, the first one left to that; none where they would have to share."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    usable = sorted(os.sched_getaffinity(0))
    return usable[1:threads] if threads <= len(usable) else []


class Session(Protocol):
    """A network ready to run: calling it runs it once, to the end."""

    def __call__(self) -> None: ...


def with_file(network: Network) -> Network:
    """The same network for one that is loaded again and again: its ONNX file is made once, and kept in memory."""
    return dataclasses.replace(network, onnx=functools.cache(network.onnx))


def open_network(network: Network, target: Target) -> Session:
    """Load a network into a runtime; whatever the runtime says against it becomes one line."""
    try:
        session = RUNTIMES[target.runtime].open(network, target)
        session()
    except (BadInput, KeyboardInterrupt):
        raise
    except Exception as error:  # every runtime raises types of its own; their text is what helps
        words = " ".join(str(error).split())[:300] or type(error).__name__
        raise BadInput(f"{RUNTIMES[target.runtime].title} cannot run {network.name}: {words}") from error
    return session


class _OnnxRuntime:
    """A session whose inputs lie ready on the device."""

    def __init__(self, network: Network, target: Target) -> None:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = target.threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 4
        # Threads that go on spinning after a run would slow the next network's turn.
        settings.add_session_config_entry("session.force_spinning_stop", "1")
        if places := worker_cpus(target.threads):
            # Left alone, a worker may share the caller's CPU for as long as a session lives: it then takes twice as long.
            settings.add_session_config_entry("session.intra_op_thread_affinities", ";".join(str(cpu + 1) for cpu in places))
        cuda = target.device == "cuda"
        providers = ["CUDAExecutionProvider"] if cuda else ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(network.onnx(), settings, providers=providers)
        self.binding = self.session.io_binding()
        place = "cuda" if cuda else "cpu"
        for i, value in enumerate(self.session.get_inputs()):
            if value.type not in NUMBERS:
                raise BadInput(f"{network.name}: input {value.name!r} wants {value.type}, which is not measured")
            array = example(value.shape, np.dtype(NUMBERS[value.type]), network.size, i)
            self.binding.bind_ortvalue_input(value.name, onnxruntime.OrtValue.ortvalue_from_numpy(array, place, 0))
        for value in self.session.get_outputs():
            self.binding.bind_output(value.name, place, 0)

    def __call__(self) -> None:
        self.session.run_with_iobinding(self.binding)
        self.binding.synchronize_outputs()


class _OpenVINO:
    """A compiled model with one request, set for latency."""

    def __init__(self, network: Network, target: Target) -> None:
        core = openvino().Core()
        model = core.read_model(io.BytesIO(network.onnx()))
        shapes = {}
        for i, port in enumerate(model.inputs):
            # -1 stands for a dimension that the file leaves open.
            dims = [d.get_length() if d.is_static else -1 for d in port.get_partial_shape()]
            shapes[i] = example(dims, np.dtype(port.get_element_type().to_dtype()), network.size, i)
        model.reshape({i: list(array.shape) for i, array in shapes.items()})
        settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": str(target.threads), "INFERENCE_PRECISION_HINT": "f32"}
        self.compiled = core.compile_model(model, "CPU", settings)
        self.request = self.compiled.create_infer_request()
        self.inputs = shapes
        for i, array in shapes.items():
            self.request.set_input_tensor(i, openvino().Tensor(array))

    def __call__(self) -> None:
        self.request.infer()


class _Torch:
    """A module in inference mode, on the CPU or a GPU."""

    def __init__(self, network: Network, target: Target) -> None:
        import torch

        if network.module is None:
            raise BadInput(f"{network.name} is an ONNX file, which torch does not run: use --runtime onnxruntime or openvino")
        self.torch, self.threads, self.cuda = torch, target.threads, target.device == "cuda"
        module = network.module().eval()
        shape = network.graph.inputs[0] if len(network.graph.inputs[0]) == 3 else (network.graph.inputs[0][0], *network.size)
        image = torch.from_numpy(example((1, *(int(v) for v in shape)), np.dtype(np.float32), network.size, 0))
        if self.cuda:
            module, image = module.cuda(), image.cuda()
        if target.precision == "FP16":
            module, image = module.half(), image.half()
        self.module, self.image = module, image

    def __call__(self) -> None:
        if self.torch.get_num_threads() != self.threads:
            self.torch.set_num_threads(self.threads)
        with self.torch.inference_mode():
            self.module(self.image)
        if self.cuda:
            self.torch.cuda.synchronize()


def example(shape: Any, kind: np.dtype, size: tuple[int, int], position: int) -> np.ndarray:
    """An input of ``shape``, open dimensions filled: 1 for the batch, ``size`` for the image's sides.

    Whole numbers other than bytes are taken for sizes in pixels, as detectors take the original image's.
    """
    dims = [int(d) if isinstance(d, int) and d > 0 else 0 for d in shape]
    for axis, length in enumerate(dims):
        if length == 0:
            dims[axis] = size[axis - 2] if len(dims) == 4 and axis >= 2 else 1
    if kind.kind in "iu" and kind.itemsize > 1:
        return np.full(dims, size[0], dtype=kind)
    values = np.random.default_rng(position).random(dims)
    return np.asarray(values * 255 if kind.kind in "iu" else values).astype(kind)


@dataclass(frozen=True)
class Runtime:
    """One runtime: its name for people, how it opens a network, and what it needs."""

    title: str
    open: Callable[[Network, Target], Session]
    version: Callable[[], str]
    require: Callable[[Target], None]


def _require_onnxruntime(target: Target) -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_package("measuring with ONNX Runtime", error.name, "onnx") from error
    _only_fp32(target, "ONNX Runtime")
    if target.device == "cuda" and not _onnxruntime_has_cuda():
        raise BadInput("--device cuda: this ONNX Runtime was built without CUDA: install onnxruntime-gpu, or use --runtime torch")


def _require_openvino(target: Target) -> None:
    try:
        import onnx  # noqa: F401

        openvino()
    except ModuleNotFoundError as error:
        raise missing_package("measuring with OpenVINO", error.name, "openvino") from error
    _only_fp32(target, "OpenVINO")
    if target.device == "cuda":
        raise BadInput("--runtime openvino does not run on CUDA: use onnxruntime or torch")


def _require_torch(target: Target) -> None:
    try:
        import torch
    except ModuleNotFoundError as error:
        what = "measuring with torch" if target.device == "cpu" else "--device cuda without ONNX Runtime's CUDA provider"
        raise missing_package(what, error.name, "torch") from error
    if target.device == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: torch sees no CUDA GPU here, and ONNX Runtime has no CUDA provider: measure where one is, or use --device cpu")
    if target.device == "cpu":
        _only_fp32(target, "torch on the CPU")


def _only_fp32(target: Target, what: str) -> None:
    if target.precision != "FP32":
        raise BadInput(f"--precision {target.precision}: {what} is measured in FP32; FP16 needs --device cuda --runtime torch")


def _onnxruntime_has_cuda() -> bool:
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return False
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def _version(package: str) -> Callable[[], str]:
    def find() -> str:
        from importlib.metadata import version

        return version(package)

    return find


def _onnxruntime_version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)


RUNTIMES: Mapping[str, Runtime] = {
    "onnxruntime": Runtime("ONNX Runtime", _OnnxRuntime, _onnxruntime_version, _require_onnxruntime),
    "openvino": Runtime("OpenVINO", _OpenVINO, _version("openvino"), _require_openvino),
    "torch": Runtime("torch", _Torch, _version("torch"), _require_torch),
}
"""By the name that ``--runtime`` takes."""


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []  # not Linux
    for key in ("model name", "Model"):
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() == key and value.strip():
                return " ".join(value.split())
    return platform.processor() or platform.machine() or "unknown CPU"


def _gpu_name() -> str:
    try:
        import torch

        if torch.cuda.is_available():
            return str(torch.cuda.get_device_name(0))
    except ModuleNotFoundError:
        pass  # ONNX Runtime does not tell the name
    return "CUDA GPU"
