"""Predicted latency: sums by part and by layer, tables and text."""

from __future__ import annotations

import json

import pytest

from nas.devices.interval import interval_ms
from nas.devices.network import Network
from nas.devices.prediction import TOP, predict_latencies, predict_latency
from nas.devices.profile import load_device
from search_spaces.lowering import lower
from search_spaces.published import PUBLISHED

T4 = load_device("t4")
NETWORK = Network.of_graph(lower(PUBLISHED["damo-yolo-ns"]), (320, 320))


def test_parts_and_layers_add_up() -> None:
    prediction = predict_latency(NETWORK, T4)
    assert prediction.ms == T4.latency_ms(NETWORK.graph, 320)
    assert prediction.ms == pytest.approx(sum(prediction.parts_ms.values()))
    layers = sum(layer.ms for layer in prediction.layers)
    assert prediction.ms == pytest.approx(layers + prediction.parts_ms["fixed"])
    assert [layer.ms for layer in prediction.layers] == sorted((x.ms for x in prediction.layers), reverse=True)
    assert prediction.interval == interval_ms(T4, prediction.ms)
    assert (prediction.device, prediction.height, prediction.width) == ("t4", 320, 320)


def test_tables_and_text() -> None:
    result = predict_latencies([NETWORK], [T4, load_device("raspberry-pi-5")])
    header, rows = result.to_table()
    assert header[:3] == ["network", "pixels", "device"] and [row[2] for row in rows] == ["t4", "raspberry-pi-5"]
    assert len(result.predictions[0].to_table(all_layers=False)[1]) == TOP
    assert [row[0] for row in result.predictions[0].to_table()[1]] == [
        layer.name for layer in sorted(result.predictions[0].layers, key=lambda layer: layer.index)
    ]
    assert f"the {TOP} slowest of" in str(result) and "layers in order" in result.text(all_layers=True)
    assert json.loads(json.dumps(result.to_dict()))["networks"][0]["ms"] == result.predictions[0].ms
