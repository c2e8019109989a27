"""FP16 variants of one detector that differ only in the layers kept in FP32."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

from zoo.detector import Detector
from zoo.export.check import check_options
from zoo.export.deployed import folded_copy, module_names
from zoo.export.formats import get_format
from zoo.export.formats.format import Runner
from zoo.export.half_precision import half_layers
from zoo.export.onnx_graph import onnx_graph
from zoo.export.options import ExportOptions


class PrecisionTrials:
    """Traces a detector once and opens it with any set of layers in FP32; no file is kept."""

    def __init__(self, detector: Detector, format_name: str, options: ExportOptions) -> None:
        check_options(detector, format_name, options)
        self._format, self._options = get_format(format_name), options
        self._folded = folded_copy(detector)
        self._onnx_model = onnx_graph(self._folded, options)
        # Modules that folding made have no name that the user would know.
        names = module_names(self._folded) & module_names(detector)
        self.layers = tuple(half_layers(self._onnx_model, names))
        """Layers that may be kept in FP32, in the order of computation."""

    def runner(self, fp32_layers: Sequence[str]) -> Runner:
        """The network with ``fp32_layers`` in FP32, loaded into its runtime."""
        options = dataclasses.replace(self._options, fp32_layers=tuple(fp32_layers))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / ("trial" + self._format.suffix)
            self._format.write(self._folded, path, options, self._onnx_model)
            return self._format.open(path, options)
