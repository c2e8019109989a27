"""Targets of this machine, and networks that a runtime refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nas.devices.find_network import find_network
from nas.devices.session import choose_target, open_network
from tests.nas.devices.foreign import foreign, saved
from workbench.errors import BadInput
from workbench.hardware import cpus

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")


def test_what_a_runtime_says_against_a_network_is_one_line(tmp_path: Path) -> None:
    def unknown(model: Any) -> None:
        model.opset_import.append(onnx.helper.make_opsetid("my.tools", 1))
        model.graph.node.append(onnx.helper.make_node("FancyAlign", ["out"], ["fancy"], domain="my.tools"))
        model.graph.output.append(onnx.helper.make_tensor_value_info("fancy", onnx.TensorProto.FLOAT, None))

    network = find_network(saved(tmp_path, foreign(edit=unknown)))
    assert network.graph.meta["unknown_ops"] == ["FancyAlign"]
    with pytest.raises(BadInput, match=r"ONNX Runtime cannot run foreign: .*FancyAlign") as error:
        open_network(network, choose_target(threads=1))
    assert "\n" not in str(error.value)


def test_targets_that_are_not_here() -> None:
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"device": "tpu"}, "cpu or cuda"),
        ({"runtime": "tflite"}, "unknown runtime 'tflite'"),
        ({"threads": 0}, "at least 1"),
        ({"threads": 4 * cpus() + 1}, "more than four times"),
        ({"precision": "FP8"}, "unknown precision"),
        ({"precision": "FP16"}, "measured in FP32"),
        ({"device": "cuda", "runtime": "openvino"}, "does not run on CUDA"),
    )
    for wrong, words in cases:
        with pytest.raises(BadInput, match=words):
            choose_target(**wrong)


def test_cuda_is_asked_for_where_there_is_none() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(BadInput, match="CUDA"):
        choose_target("cuda")
