"""The interface of a runtime: what it is given and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, ClassVar, Protocol

import numpy as np

from nas.devices.network import Network
from workbench.errors import BadInput
from workbench.hardware import cpu_name, cpus, gpu_name


@dataclass(frozen=True)
class Target:
    """Where and how a network is run. ``threads`` are those of the CPU; a GPU needs one to feed it."""

    device: str
    runtime: str
    threads: int
    precision: str = "FP32"

    def hardware(self) -> str:
        """For instance ``AMD EPYC, 2 CPUs``, or the GPU's name."""
        if self.device == "cuda":
            return gpu_name()
        count = cpus()
        return f"{cpu_name()}, {count} CPU{'' if count == 1 else 's'}"


class Session(Protocol):
    """A network ready to run at batch 1. A call runs it once and returns when its outputs are complete."""

    def __call__(self) -> None: ...


class Runtime(ABC):
    """One runtime: its display name, what it needs, and how it loads a network."""

    title: ClassVar[str]
    package: ClassVar[str]
    """Name of the distribution that its version is read from."""

    def version(self) -> str:
        """The installed version."""
        return version(self.package)

    @abstractmethod
    def require(self, target: Target) -> None:
        """Raise ``BadInput`` if a package, a device or a precision is not available."""

    @abstractmethod
    def open(self, network: Network, target: Target) -> Session:
        """Load a network; any exception is reported as a network that this runtime cannot run."""


def require_fp32(target: Target, what: str) -> None:
    """Raise ``BadInput`` for another precision than FP32."""
    if target.precision != "FP32":
        raise BadInput(
            f"--precision {target.precision}: {what} is measured in FP32; FP16 needs --device cuda --runtime torch"
        )


def example_input(shape: Sequence[Any], dtype: np.dtype, size: tuple[int, int], seed: int) -> np.ndarray:
    """An input of ``shape``, open dimensions filled: 1 for the batch, ``size`` (height, width) for the image's sides.

    Integers other than bytes are taken as sizes in pixels, such as the original image's size that detectors ask for.
    """
    dims = [int(d) if isinstance(d, int) and d > 0 else 0 for d in shape]
    for axis, length in enumerate(dims):
        if length == 0:
            dims[axis] = size[axis - 2] if len(dims) == 4 and axis >= 2 else 1
    if dtype.kind in "iu" and dtype.itemsize > 1:
        return np.full(dims, size[0], dtype=dtype)
    values = np.random.default_rng(seed).random(dims)
    return np.asarray(values * 255 if dtype.kind in "iu" else values).astype(dtype)
