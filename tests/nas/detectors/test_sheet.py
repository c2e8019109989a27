"""The sheet of one network."""

from __future__ import annotations

import json

import pytest

from nas.detectors.atlas import Atlas
from nas.detectors.sheet import network_sheet
from nas.devices.profile import load_device
from workbench.errors import BadInput


def test_everything_known_about_a_network(atlas: Atlas) -> None:
    sheet = network_sheet(atlas, "Alpha_S", [load_device("t4")])
    assert [row[3] for row in sheet.to_table().rows] == [32.0, 30.0]
    assert sheet.size_table().rows[0][:4] == [64, "Mparams", 0.003896, 0.01]
    latencies = sheet.latency_table().rows
    assert [row[0] for row in latencies[:3]] == [3.5, 1.5, 2.5] and latencies[3][2] == "t4"
    assert sheet.int8_table().rows[0][2] == pytest.approx(-0.9)
    text = str(sheet)
    assert "size: agrees" in text and "someone/chips@4:t.rst" in text and "90 % interval" in text
    told = json.loads(json.dumps(sheet.to_dict(), allow_nan=False))
    assert len(told["trainings"]) == 2 and told["predicted"][0]["interval_ms"][0] < told["predicted"][0]["ms"]


def test_a_mark_says_what_it_means(atlas: Atlas) -> None:
    assert "larger image (differs: gflops)" in str(network_sheet(atlas, "beta-s"))
    assert "does not serve a fit" in str(network_sheet(atlas, "beta-s"))


def test_by_the_name_of_a_training_and_unknown_names(atlas: Atlas) -> None:
    assert network_sheet(atlas, "alpha-s [distilled]").name == "alpha-s"
    with pytest.raises(BadInput, match="no network 'alpha-m': did you mean alpha-"):
        network_sheet(atlas, "alpha-m")
    with pytest.raises(BadInput, match="no network 'zzzzzz': nas atlas lists them"):
        network_sheet(atlas, "zzzzzz")
