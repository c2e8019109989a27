"""One measurement to JSON and back; an error names the field and the rule."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nas.devices.measured.measurement import Device, Measurement, Protocol, Runtime
from workbench.errors import BadInput

FULL = Measurement(
    network="0123456789abcdef0123", name="net", ms=1.25, input_px=(320, 640), family="nets", batch=1,
    device=Device("AMD EPYC, 2 CPUs", "cpu", 2, 3200.0, "performance"),
    runtime=Runtime("ONNX Runtime", "1.27.0", "FP32", 2),
    protocol=Protocol("median of the rounds' medians", False, False, 9, 3, 8, 3.0),
    interval_ms=(1.2, 1.3), p95_ms=1.5, runs=300, rounds_ms=(1.24, 1.25, 1.26), warnings=("p95 is high",),
    date="2026-11-30", tool="nas-workbench 0.1.0", source="my lab", cite="",
)  # fmt: skip


def line(**changes: Any) -> dict[str, Any]:
    """The JSON of a measurement with fields changed."""
    return json.loads(json.dumps(FULL.to_json() | changes))


def test_there_and_back() -> None:
    assert Measurement.from_json(line()) == FULL
    least = {"network": "0123456789", "name": "n", "ms": 2, "input_px": [64, 64]}
    assert Measurement.from_json(least) == Measurement("0123456789", "n", 2.0, (64, 64))


def test_texts_are_those_of_profiles() -> None:
    assert FULL.runtime.text("cpu") == "ONNX Runtime 1.27.0, 2 threads"
    assert Runtime("torch", "2.12", "FP16", 1).text("gpu") == "torch 2.12, CUDA"
    assert Runtime("TensorRT 8.4").text() == "TensorRT 8.4"
    assert FULL.protocol.text() == "median of the rounds' medians; without host work; without decoding"
    assert Protocol("mean").text() == "mean"


def test_numbers_are_kept_to_nine_digits() -> None:
    assert Measurement("0123456789", "n", 1 / 3, (64, 64)).to_json()["ms"] == 0.333333333


BAD = [
    ({"ms": 0}, "ms 0.*above 0"),
    ({"ms": -1.0}, "ms"),
    ({"ms": "fast"}, "ms 'fast'"),
    ({"ms": True}, "ms True"),
    ({"network": "../etc"}, "'network' must be a network's hash"),
    ({"network": 5}, "'network'"),
    ({"name": " "}, "'name'"),
    ({"source": ""}, "'source' must be a text that is not empty"),
    ({"input_px": 640}, "'input_px' must be a list"),
    ({"input_px": [640]}, "height, width"),
    ({"input_px": [640, 0.5]}, "input_px 0.5"),
    ({"input_px": [640, 10**6]}, "from 1 to 16384"),
    ({"batch": 0}, "batch 0"),
    ({"rounds_ms": [1.0, -1.0]}, "rounds_ms -1.0"),
    ({"rounds_ms": [1.0] * 10_001}, "10000 at most"),
    ({"interval_ms": [2.0, 1.0]}, "low, high"),
    ({"date": "yesterday"}, "'date'"),
    ({"date": 5}, "'date'"),
    ({"hostname": "box"}, "'hostname' is not one of schema 1: remove it"),
    ({"device": {"hardware": "x", "user": "me"}}, "'user' of 'device'"),
    ({"device": []}, "'device' must be an object"),
    ({"device": {"processor": "tpu"}}, "'processor'"),
    ({"device": {"cores": 0}}, "cores 0"),
    ({"runtime": {"threads": 1.5}}, "threads 1.5"),
    ({"protocol": {"host_work": "no"}}, "'host_work' must be true, false or null"),
    ({"warnings": "none"}, "'warnings' must be a list"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=range(len(BAD)))
def test_a_bad_field_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Measurement.from_json(line(**changes))


@pytest.mark.parametrize("name", ["network", "name", "ms", "input_px"])
def test_a_missing_field_is_named(name: str) -> None:
    data = line()
    del data[name]
    with pytest.raises(BadInput, match=f"'{name}' is missing"):
        Measurement.from_json(data)
