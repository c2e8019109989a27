"""Choosing measurements by words."""

from __future__ import annotations

from typing import Any

import pytest

from nas.devices.measured.measurement import Device, Measurement, Protocol, Runtime
from nas.devices.measured.selection import Selection, one_setting, text_holds
from workbench.errors import BadInput


def row(hardware: str = "NVIDIA T4", precision: str = "FP16", **more: Any) -> Measurement:
    runtime = Runtime("TensorRT 8.4", precision=precision)
    return Measurement("0123456789", "net", 1.0, (64, 64), device=Device(hardware), runtime=runtime, **more)


@pytest.mark.parametrize(
    ("wanted", "text", "holds"),
    [
        ("T4", "NVIDIA T4", True),
        ("t4", "Quadro RT4000", False),
        ("raspberrypi5", "Raspberry Pi 5", True),
        ("Raspberry Pi 5", "raspberrypi5 cpu", True),
        ("=raspberrypi5", "raspberrypi5 cpu", False),
        ("=jetson orin", "Jetson_Orin", True),
        ("jetson orin", "Jetson AGX Orin", False),
        ("hailo8", "hailo_hailo8l", False),
        ("TensorRT", "TensorRT>=8.5.1", True),
        ("A100|T4", "NVIDIA T4", True),
        ("", "anything", True),
        ("FP32", "FP32 (default)", True),
    ],
)
def test_words(wanted: str, text: str, holds: bool) -> None:
    assert text_holds(wanted, text) is holds


def test_every_condition_must_hold_and_an_unstated_batch_is_one() -> None:
    chosen = Selection.parse(["device=T4, runtime=TensorRT", "precision=FP16"])
    assert chosen == Selection("T4", "TensorRT", "FP16")
    assert chosen.holds(row()) and chosen.holds(row(batch=None)) and not chosen.holds(row(batch=8))
    assert not chosen.holds(row(precision="FP32")) and not chosen.holds(row("NVIDIA A100"))
    assert Selection.parse(["batch=8"]).holds(row(batch=8))
    assert Selection.parse(["protocol=without host work"]).holds(row(protocol=Protocol("mean", host_work=False)))
    assert Selection.parse(["device=AMD EPYC, 2 CPUs"]).device == "AMD EPYC, 2 CPUs"


@pytest.mark.parametrize(
    ("text", "message"),
    [("T4", "must be KEY=TEXT"), ("device=", "must be KEY=TEXT"), ("devise=T4", "did you mean device"),
     ("device=a,device=b", "given twice"), ("batch=two", "whole number"), ("batch=0", "whole number")],
)  # fmt: skip
def test_bad_conditions_are_one_line(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Selection.parse([text])


def test_spellings_are_one_setting_devices_are_not_unless_they_are_named() -> None:
    one_setting([row(), row("nvidia-t4")], Selection())
    with pytest.raises(BadInput, match="choose with --select, for instance device=NVIDIA T4"):
        one_setting([row(), row("NVIDIA A100")], Selection(precision="FP16"))
    one_setting([row(), row("NVIDIA A100")], Selection("NVIDIA"))
