"""INT8 in ONNX by calibration: layers with weights compute in INT8, everything else stays in FP32.

Convolutions and matrix products with constant weights take quantized inputs and give quantized results, by
``QuantizeLinear`` and ``DequantizeLinear`` nodes (QDQ) that ONNX Runtime and OpenVINO compile to INT8 kernels. Weights
have one scale an output channel; activations have one scale and zero point a tensor, from the ranges that calibration
images give. Decoding, selection, activation functions and products of two activations (attention) stay in FP32.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import missing_package
from zoo.export.check import check_options
from zoo.export.deployed import folded_copy, module_names
from zoo.export.half_precision import layer_of, normalized, within
from zoo.export.onnx_graph import onnx_graph
from zoo.export.options import RANGES, ExportOptions

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.detector import Detector

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators that compute in INT8 where their second input is constant."""
METHODS = dict(zip(RANGES, ("MinMax", "Entropy", "Percentile"), strict=True))
"""Names of the ways to find ranges in ONNX Runtime."""


class Int8Network:
    """A detector traced and calibrated once; ``graph`` gives its INT8 network with any layers kept in FP32."""

    def __init__(
        self,
        detector: Detector,
        format_name: str,
        options: ExportOptions,
        images: Sequence[Tensor],
        ranges: str = RANGES[0],
        log: Callable[[str], None] = lambda text: None,
    ) -> None:
        """``images`` are prepared batches ``[b, 3, h, w]`` to calibrate on; ``ranges`` is one of ``RANGES``."""
        import onnx

        _require_quantization()
        check_options(detector, format_name, options)
        log("tracing for the calibration")
        self.folded = folded_copy(detector)
        # Modules that folding made have no name that the user would know.
        names = module_names(self.folded) & module_names(detector)
        self._model = onnx.shape_inference.infer_shapes(normalized(onnx_graph(self.folded, options)))
        weights = {weight.name for weight in self._model.graph.initializer}
        self._nodes: dict[str, list[str]] = {}
        for node in self._model.graph.node:
            layer = layer_of(node.name, names)
            if layer and node.op_type in WEIGHTED and node.input[1] in weights:
                self._nodes.setdefault(layer, []).append(node.name)
        self.layers = tuple(self._nodes)
        """Layers that can compute in INT8, in the order of computation."""
        self._ranges = self._calibrated(images, METHODS[ranges], log)

    def graph(self, fp32_layers: Sequence[str] = ()) -> Any:
        """The INT8 network as an ONNX ModelProto, with the modules ``fp32_layers`` in FP32."""
        from onnxruntime.quantization import QDQQuantizer, QuantType

        model = type(self._model).FromString(self._model.SerializeToString())
        nodes = [
            name for layer, names in self._nodes.items() if not within(layer, fp32_layers) for name in names
        ]
        if not nodes:
            return model
        with _quiet_quantization():
            quantizer = QDQQuantizer(
                model,
                per_channel=True,
                reduce_range=False,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QUInt8,
                tensors_range=self._ranges,
                nodes_to_quantize=nodes,
                nodes_to_exclude=[],
                op_types_to_quantize=list(WEIGHTED),
                extra_options={},
            )
            quantizer.quantize_model()
            quantizer.model.topological_sort()
        return quantizer.model.model

    def _calibrated(self, images: Sequence[Tensor], method: str, log: Callable[[str], None]) -> Any:
        """The range of every tensor that is an input or a result of a weighted operator."""
        import onnx
        from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

        with tempfile.TemporaryDirectory() as folder, _quiet_quantization():
            source = Path(folder) / "model.onnx"
            onnx.save(self._model, str(source))
            calibrator = create_calibrator(
                source, list(WEIGHTED), str(Path(folder) / "augmented.onnx"), CalibrationMethod[method]
            )
            for done, image in enumerate(images, 1):
                # One batch a call: histograms keep every activation of a call in memory.
                calibrator.collect_data(_OneBatch(image))
                log(f"calibrated on {done} of {len(images)} batches")
            return calibrator.compute_data()


class _OneBatch:
    """What ONNX Runtime's calibrators read images from."""

    def __init__(self, image: Tensor) -> None:
        self._feeds = iter([{"image": image.numpy()}])

    def get_next(self) -> Any:
        """The next feed, None after the last."""
        return next(self._feeds, None)


def _require_quantization() -> None:
    """Raise ``BadInput`` if ONNX or ONNX Runtime is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime.quantization  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_package("INT8", error.name, "onnx") from error


@contextmanager
def _quiet_quantization() -> Iterator[None]:
    """Keep ONNX Runtime's quantizer from logging advice for its own command line."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
