"""INT8 in NCNN by calibration: convolutions compute in INT8, everything else stays in FP32.

Weights have one scale an output channel and inputs one a tensor, both symmetric, as NCNN's own tools write them (which
its package does not have). The scale of an input is its largest absolute value over the calibration images.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import BadInput
from zoo.export.check import check_options
from zoo.export.deployed import Deployed, EndToEnd, example_input, folded_copy, module_names
from zoo.export.half_precision import within
from zoo.export.ncnn_files import NcnnNetwork, convert
from zoo.export.ncnn_param import CONVOLUTIONS, parse, to_text
from zoo.export.ncnn_weights import layer_weights, quantized
from zoo.export.options import RANGES, ExportOptions

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.detector import Detector


class NcnnInt8Network:
    """A detector converted and calibrated once; ``graph`` gives its INT8 network with any layers kept in FP32."""

    def __init__(
        self,
        detector: Detector,
        options: ExportOptions,
        images: Sequence[Tensor],
        ranges: str = RANGES[0],
        log: Callable[[str], None] = lambda text: None,
    ) -> None:
        """``images`` are prepared batches ``[1, 3, h, w]`` to calibrate on; ``ranges`` must be ``min-max``."""
        if ranges != RANGES[0]:
            raise BadInput(f"--ranges {ranges}: NCNN files in INT8 take {RANGES[0]}; the others are for onnx, openvino")
        check_options(detector, "ncnn", options)
        log("converting for the calibration")
        self.folded = folded_copy(detector)
        end2end = options.form == "end2end"
        module = (EndToEnd if end2end else Deployed)(self.folded, options.form)
        outputs = ("detections",) if end2end else ("boxes", "scores")
        with tempfile.TemporaryDirectory() as folder:
            param = Path(folder) / "model.ncnn.param"
            convert(module, example_input(options), outputs, param)
            self._layers = parse(param.read_text())
            self._weights = layer_weights(self._layers, param.with_suffix(".bin").read_bytes())
            names = module_names(self.folded) & module_names(detector)
            self.layers = tuple(
                layer.name for layer in self._layers if layer.kind in CONVOLUTIONS and layer.name in names
            )
            """Layers that can compute in INT8, in the order of computation."""
            self._largest = self._calibrated(NcnnNetwork(param, 1), images, log)

    def graph(self, fp32_layers: Sequence[str] = ()) -> tuple[str, bytes]:
        """The text and the weights of the INT8 network, with the modules ``fp32_layers`` in FP32."""
        inputs = {name: value for name, value in self._largest.items() if not within(name, fp32_layers)}
        layers, weights = quantized(self._layers, self._weights, inputs)
        return to_text(layers), weights

    def _calibrated(
        self, network: NcnnNetwork, images: Sequence[Tensor], log: Callable[[str], None]
    ) -> dict[str, float]:
        """The largest absolute value of the input of every layer."""
        blobs = {layer.name: layer.inputs[0] for layer in self._layers if layer.name in self.layers}
        largest = dict.fromkeys(blobs, 0.0)
        for done, image in enumerate(images, 1):
            results = network.run(image, sorted(set(blobs.values())))
            for name, blob in blobs.items():
                largest[name] = max(largest[name], float(results[blob].abs().max()))
            log(f"calibrated on {done} of {len(images)} images")
        return largest
