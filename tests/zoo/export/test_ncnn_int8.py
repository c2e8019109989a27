"""INT8 in NCNN: the weights of a file, what is written, and what NCNN computes with it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.zoo.export.lively import PX, decoded, lively, picture
from workbench.errors import BadInput
from zoo.export.calibrated import calibrated
from zoo.export.ncnn_param import NcnnLayer, parse
from zoo.export.ncnn_weights import FLOAT_TAG, INT8_TAG, in_int8, layer_weights
from zoo.export.options import ExportOptions
from zoo.export.scenes import prepared_scenes
from zoo.export.write import export, open_exported

OPTIONS = ExportOptions(height=PX, width=PX, int8=True)
CONVOLUTION = NcnnLayer("Convolution", "a", ("x",), ("y",), ("0=2", "1=1", "5=1", "6=6"))
"""1 x 1 from 3 to 2 channels, with bias."""


def weights(values: np.ndarray, bias: np.ndarray) -> bytes:
    return FLOAT_TAG + values.astype("<f4").tobytes() + bias.astype("<f4").tobytes()


def test_a_file_is_cut_into_the_weights_of_its_layers() -> None:
    one = weights(np.arange(6), np.arange(2))
    layers = [NcnnLayer("Input", "in"), CONVOLUTION, NcnnLayer("MemoryData", "m", (), ("c",), ("0=3", "1=2"))]
    assert layer_weights(layers, one + bytes(24)) == [b"", one, bytes(24)]
    with pytest.raises(BadInput, match="layout that is not known"):
        layer_weights(layers, one + bytes(28))


def test_a_convolution_in_int8() -> None:
    values = np.array([[1.0, -2.0, 0.5], [0.1, 0.1, -0.05]])
    layer, data = in_int8(CONVOLUTION, weights(values, np.array([7.0, 8.0])), largest_input=4.0)
    assert layer.parameter(8) == 2 and data[:4] == INT8_TAG and len(data) == 4 + 8 + 8 + 8 + 4
    scales = np.frombuffer(data, "<f4", 2, 20)
    assert scales == pytest.approx([127 / 2, 127 / 0.1])
    assert np.frombuffer(data, "<f4", 1, 28)[0] == pytest.approx(127 / 4)
    back = np.frombuffer(data, np.int8, 6, 4).reshape(2, 3) / scales[:, None]
    assert np.abs(back - values).max() <= 0.5 / scales.min()


def test_weights_for_winograd_have_six_bits() -> None:
    layer = dataclasses.replace(CONVOLUTION, parameters=("0=1", "1=3", "5=0", "6=9", "4=1"))
    _, data = in_int8(layer, FLOAT_TAG + np.arange(9).astype("<f4").tobytes(), 1.0)
    assert np.frombuffer(data, np.int8, 9, 4).max() == 31


@pytest.mark.parametrize("model", ["yolox-nano", pytest.param("yolo11n", marks=pytest.mark.slow)])
def test_a_file_in_int8_is_near_torch_and_layers_can_stay_in_fp32(model: str, tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    detector, image, path = lively(model), picture(model), tmp_path / "x.ncnn.param"
    images = prepared_scenes(detector, 1, PX, PX, 4)
    network = calibrated(detector, "ncnn", OPTIONS, images, "min-max", lambda text: None)
    assert len(network.layers) > 50
    distances = []
    boxes, scores = decoded(model, image)
    for kept in ((), network.layers[:30], network.layers):
        options = dataclasses.replace(OPTIONS, fp32_layers=tuple(kept))
        export(detector, path, "ncnn", options, int8_graph=network.graph(kept))
        layers = parse(path.read_text())
        assert sum(layer.parameter(8) > 0 for layer in layers) == len(network.layers) - len(kept)
        given = open_exported(path, "ncnn", options)(image)
        distances.append(float((given["scores"] - scores).abs().mean() + (given["boxes"] - boxes).abs().mean() / PX))
    assert distances[0] > distances[2] and distances[2] < 1e-5
    assert distances[0] < 0.05, distances
    export(detector, path, "ncnn", OPTIONS, int8_graph=network.graph())
    count = sum(value.numel() for value in detector.parameters())
    assert path.with_suffix(".bin").stat().st_size < 1.5 * count


def test_other_ranges_are_refused() -> None:
    with pytest.raises(BadInput, match="--ranges entropy: NCNN files in INT8 take min-max"):
        calibrated(lively("yolox-nano"), "ncnn", OPTIONS, [], "entropy", lambda text: None)
