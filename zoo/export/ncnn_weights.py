"""The weights of an NCNN network (``.bin``): cut into those of each layer, and convolutions written in INT8.

The file holds the weights of all layers one after the other, in their order, without names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from workbench.errors import BadInput
from zoo.export.ncnn_param import CONVOLUTIONS, NcnnLayer

FLOAT_TAG, INT8_TAG = (0).to_bytes(4, "little"), (0x000D4B38).to_bytes(4, "little")
"""What stands before weights, in FP32 and in INT8."""
INT8_SCALES, ONE_SCALE_A_GROUP = 2, 1
"""Values of parameter 8 of a convolution and of a depth-wise one with a scale an output channel, or a group."""
LEVELS = 127
"""INT8 values are symmetric: -127 to 127."""
WINOGRAD_LEVELS = 31
"""Weights of convolutions that NCNN computes by Winograd's method, whose sums would not fit otherwise: 6 bits."""


def layer_weights(layers: Sequence[NcnnLayer], data: bytes) -> list[bytes]:
    """The bytes of each layer in a file in FP32; ``BadInput`` for a layer whose weights have an unknown layout."""
    parts, at = [], 0
    for layer in layers:
        size = _bytes_of(layer)
        parts.append(data[at : at + size])
        at += size
    if at != len(data):
        raise BadInput("INT8 in NCNN: a layer of this network has weights in a layout that is not known here: "
                       "use --format onnx or openvino")  # fmt: skip
    return parts


def _bytes_of(layer: NcnnLayer) -> int:
    """Bytes of a layer's weights in FP32."""
    if layer.kind in (*CONVOLUTIONS, "Deconvolution", "DeconvolutionDepthWise"):
        return 4 + 4 * layer.parameter(6) + 4 * layer.parameter(0) * layer.parameter(5)
    if layer.kind == "InnerProduct":
        return 4 + 4 * layer.parameter(2) + 4 * layer.parameter(0) * layer.parameter(1)
    if layer.kind == "MemoryData":
        return 4 * int(np.prod([max(layer.parameter(key), 1) for key in (0, 1, 11, 2)]))
    if layer.kind == "BatchNorm":
        return 16 * layer.parameter(0)
    if layer.kind == "PReLU":
        return 4 * layer.parameter(0)
    if layer.kind == "LayerNorm":
        return 8 * layer.parameter(0) * layer.parameter(2, 1)
    if layer.kind == "Scale":
        return max(4 * layer.parameter(0) * (1 + layer.parameter(1)), 0)
    return 0


def in_int8(layer: NcnnLayer, weights: bytes, largest_input: float) -> tuple[NcnnLayer, bytes]:
    """A convolution with its weights in INT8, one scale an output channel, and one scale of its input.

    ``largest_input`` is the largest absolute value of its input.
    """
    outputs, count = layer.parameter(0), layer.parameter(6)
    values = np.frombuffer(weights, "<f4", count, 4).reshape(outputs, -1)
    bias = weights[4 + 4 * count :]
    groups = layer.parameter(7, 1)
    rows = values.reshape(groups if layer.kind == "ConvolutionDepthWise" else outputs, -1)
    levels = WINOGRAD_LEVELS if _is_winograd(layer) else LEVELS
    scales = levels / np.maximum(np.abs(rows).max(1), 1e-12)
    rounded = np.rint(rows * scales[:, None]).clip(-levels, levels).astype(np.int8).tobytes()
    padding = bytes(-len(rounded) % 4)
    scale_of_input = np.float32(LEVELS / max(largest_input, 1e-12)).tobytes()
    term = ONE_SCALE_A_GROUP if layer.kind == "ConvolutionDepthWise" else INT8_SCALES
    parameters = (*(text for text in layer.parameters if not text.startswith("8=")), f"8={term}")
    data = INT8_TAG + rounded + padding + bias + scales.astype("<f4").tobytes() + scale_of_input
    return dataclasses.replace(layer, parameters=parameters), data


def _is_winograd(layer: NcnnLayer) -> bool:
    """Whether NCNN computes a convolution in INT8 by Winograd's method: dense, 3 x 3, stride 1, no dilation."""
    kernel = (layer.parameter(1), layer.parameter(11, layer.parameter(1)))
    steps = [layer.parameter(key, layer.parameter(first, 1)) for key, first in ((3, 3), (13, 3), (2, 2), (12, 2))]
    return layer.kind == "Convolution" and kernel == (3, 3) and steps == [1, 1, 1, 1]


def quantized(
    layers: Sequence[NcnnLayer], parts: Sequence[bytes], inputs: Mapping[str, float]
) -> tuple[list[NcnnLayer], bytes]:
    """Layers and weights with the convolutions named in ``inputs`` (their largest input) in INT8."""
    changed = [
        in_int8(layer, part, inputs[layer.name]) if layer.name in inputs else (layer, part)
        for layer, part in zip(layers, parts, strict=True)
    ]
    return [layer for layer, _ in changed], b"".join(part for _, part in changed)
