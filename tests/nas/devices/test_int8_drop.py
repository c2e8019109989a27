"""The forecast of what INT8 costs, and where it is printed."""

from __future__ import annotations

import math

import pytest

from nas.api.latency import latency
from nas.devices.find_network import find_network
from nas.devices.int8_drop import FLOOR, Int8DropFit, Tool, drop_of, forecast_drops, has_attention, shipped
from nas.devices.profile import load_device_in
from search_spaces.lowering import lower
from search_spaces.published import PUBLISHED
from workbench.errors import BadInput


def test_attention_raises_the_forecast_of_every_tool() -> None:
    plain, attention = lower(PUBLISHED["damo-yolo-s"]), find_network("yolo11n", 320).graph
    assert not has_attention(plain) and has_attention(attention)
    for without, with_it in zip(forecast_drops(plain), forecast_drops(attention), strict=True):
        assert 0 <= without.low_ap < without.drop_ap < without.high_ap
        assert (with_it.drop_ap + FLOOR) / (without.drop_ap + FLOOR) == pytest.approx(math.exp(shipped().attention))


def test_levels_and_intervals_are_those_of_the_file() -> None:
    fit = Int8DropFit(0.5, (Tool("a", math.log(1 + FLOOR), math.log(2), 0.3, 5, 9),), {})
    (drop,) = forecast_drops(lower(PUBLISHED["damo-yolo-s"]), fit)
    assert drop.drop_ap == pytest.approx(1) and drop.high_ap == pytest.approx(2 * (1 + FLOOR) - FLOOR)
    assert drop_of(-10) == 0 and "1.0 AP (0.4 to 2.2" in str(drop)


def test_what_ships_says_what_it_refuses() -> None:
    assert "TensorRT" in shipped().refused
    assert all(tool.families >= 4 and tool.error_ap > 0 for tool in shipped().tools)


def test_a_profile_in_int8_comes_with_a_forecast() -> None:
    result = latency("yolox-nano", "raspberry-pi-4-tflite", precision="int8", input_px=320)
    assert result.predictions[0].device == "raspberry-pi-4-tflite-int8" and "never a promise" in str(result)
    assert result.to_dict()["networks"][0]["int8_drops"][0]["families"] >= 4
    other = latency("yolox-nano", "raspberry-pi-4-tflite", input_px=320)
    assert other.predictions[0].precision == "FP32" and "never a promise" not in str(other)


def test_a_precision_without_a_profile_is_refused() -> None:
    with pytest.raises(BadInput, match="only FP16; nas devices lists"):
        load_device_in("t4", "INT8")
