"""The interface of an export format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.detector import Detector
    from zoo.export.options import ExportOptions

Runner: TypeAlias = "Callable[[Tensor], Mapping[str, Tensor]]"
"""An exported network: a batch ``[b, 3, h, w]`` to its outputs by name.

Besides ``detections`` it returns the ``boxes`` and ``scores`` that they were selected from, if the runtime exposes
them.
"""


class Calibrated(Protocol):
    """A network calibrated for INT8."""

    folded: Detector
    layers: tuple[str, ...]
    """Layers that can compute in INT8, in the order of computation."""

    def graph(self, fp32_layers: Sequence[str] = ()) -> Any:
        """The INT8 network with the modules ``fp32_layers`` in FP32, for ``ExportFormat.write``."""


class ExportFormat(ABC):
    """One kind of file: how it is written and run, and what it supports."""

    suffix: ClassVar[str]
    companions: ClassVar[tuple[str, ...]] = ()
    """Suffixes of further files that belong to it."""
    nms: ClassVar[bool] = False
    """Whether it can hold NMS."""
    half: ClassVar[bool] = False
    """Whether it can hold FP16 weights."""
    int8: ClassVar[bool] = False
    """Whether it can be written in INT8."""
    dynamic: ClassVar[bool] = False
    """Whether batch and sides can be left open."""
    mixed: ClassVar[bool] = True
    """Whether single layers can stay in FP32 where the others are in FP16."""
    batches: ClassVar[bool] = True
    """Whether a run can take several images."""

    def require(self) -> None:
        """Raise ``BadInput`` if a package or a GPU is missing."""
        return

    @abstractmethod
    def write(self, folded: Detector, path: Path, options: ExportOptions, onnx_model: Any = None) -> None:
        """Write a folded detector to ``path``.

        ``onnx_model`` is its FP32 graph (``zoo.export.onnx_graph.onnx_graph``) if that was traced before, or with
        ``options.int8`` its INT8 graph; formats that are built from ONNX then skip the tracing.
        """

    @abstractmethod
    def open(self, path: Path, options: ExportOptions) -> Runner:
        """Load a file that was written with these options into its own runtime."""

    def first_divergence(self, detector: Detector, path: Path, image: Tensor, tolerance: float) -> str | None:
        """The first layer whose result differs from torch on ``image`` ``[b, 3, h, w]``, empty if none does.

        None if results inside the network cannot be read in this format.
        """
        return None
