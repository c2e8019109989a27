"""A target that this machine has, and networks loaded on it."""

from __future__ import annotations

from nas.devices.network import Network
from nas.devices.runtimes import RUNTIMES
from nas.devices.runtimes.onnxruntime import has_cuda
from nas.devices.runtimes.runtime import Session, Target
from workbench.errors import BadInput, unknown_name
from workbench.hardware import cpus

DEVICES = ("cpu", "cuda")
PRECISIONS = ("FP32", "FP16")


def choose_target(
    device: str = "cpu", runtime: str | None = None, threads: int | None = None, precision: str = "FP32"
) -> Target:
    """A target that this machine has; defaults are ONNX Runtime and all CPUs. ``BadInput`` names what is missing."""
    if device not in DEVICES:
        raise BadInput(
            f"device {device!r} cannot be measured here: choose {' or '.join(DEVICES)} "
            "(profiles of other devices: nas devices)"
        )
    if runtime is not None and runtime not in RUNTIMES:
        raise unknown_name("runtime", runtime, RUNTIMES)
    if threads is not None and threads < 1:
        raise BadInput(f"threads {threads} must be at least 1")
    if threads is not None and threads > 4 * cpus():
        raise BadInput(f"threads {threads} are more than four times the {cpus()} CPUs of this machine")
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    if runtime is None:
        runtime = "torch" if device == "cuda" and not has_cuda() else "onnxruntime"
    target = Target(device, runtime, threads or (cpus() if device == "cpu" else 1), precision)
    RUNTIMES[runtime].require(target)
    return target


def runtime_text(target: Target) -> str:
    """Runtime, version and threads, for instance ``ONNX Runtime 1.31.1, 2 threads``."""
    runtime = RUNTIMES[target.runtime]
    how = f"{target.threads} thread{'' if target.threads == 1 else 's'}" if target.device == "cpu" else "CUDA"
    return f"{runtime.title} {runtime.version()}, {how}"


def open_network(network: Network, target: Target) -> Session:
    """Load a network into its runtime and run it once; an error of the runtime becomes one line."""
    runtime = RUNTIMES[target.runtime]
    try:
        session = runtime.open(network, target)
        session()
    except (BadInput, KeyboardInterrupt):
        raise
    except Exception as error:  # every runtime raises its own types; their text is what helps
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise BadInput(f"{runtime.title} cannot run {network.name}: {reason}") from error
    return session
