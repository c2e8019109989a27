"""Levels of sources, ratios between them, and rows that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nas.devices.measured.agreement import agreements, place_of
from nas.devices.measured.measurement import Device, Measurement, Protocol, Runtime


def rows(source: str, factor: float, networks: range, seed: int, **more: Any) -> list[Measurement]:
    """Networks whose times are 1, 2, 3 ... ms times a factor, with an error of 1 %."""
    errors = np.exp(np.random.default_rng(seed).normal(0, 0.01, 100))
    more = {"device": Device("NVIDIA T4"), "runtime": Runtime("TensorRT 8.4", precision="FP16")} | more
    return [
        Measurement(f"{i:010x}", f"net{i}", float((1 + i) * factor * errors[i]), (640, 640), source=source, **more)
        for i in networks
    ]


def test_levels_and_ratios_are_found_again() -> None:
    (place,) = agreements(
        rows("a", 1.0, range(20), 0) + rows("b", 1.2, range(5, 20), 1) + rows("c", 0.9, range(12), 2)
    )
    assert place.place == "NVIDIA T4, TensorRT, FP16, batch 1"
    levels = {level.source: level for level in place.levels}
    assert levels["a"].level == 1 and levels["b"].level == pytest.approx(1.2, abs=0.01)
    assert levels["c"].level == pytest.approx(0.9, abs=0.01) and levels["b"].shared == 15
    ratio = next(r for r in place.ratios if (r.first, r.second) == ("b", "c"))
    assert ratio.networks == 7 and ratio.median == pytest.approx(1.2 / 0.9, abs=0.02)
    assert ratio.low < ratio.median < ratio.high and 0.3 < ratio.spread_percent < 4
    assert place.outliers == ()


def test_a_wrong_row_is_named_and_moves_no_level() -> None:
    bad = rows("b", 1.2 * 2, range(7, 8), 9)
    (place,) = agreements(
        rows("a", 1.0, range(20), 0) + rows("b", 1.2, range(7), 1) + bad + rows("b", 1.2, range(8, 20), 3)
        + rows("c", 0.9, range(20), 2)
    )  # fmt: skip
    assert {level.source: level.level for level in place.levels}["b"] == pytest.approx(1.2, abs=0.01)
    # Of 60 rows with normal errors one beyond three deviations is no surprise; none is far beyond.
    assert [(o.name, o.source) for o in place.outliers if abs(o.deviations) > 6] == [("net7", "b")]
    assert place.outliers[0].expected_ms == pytest.approx(8 * 1.2, rel=0.03) and place.outliers[0].deviations > 20


def test_repeats_of_one_source_judge_each_other() -> None:
    repeats = [row for seed in range(4) for row in rows("a", 1.0, range(6), seed)]
    (place,) = agreements([*repeats, *rows("a", 3.0, range(2, 3), 5)])
    assert [o.name for o in place.outliers] == ["net2"]
    assert place.levels[0].rows == 25 and place.levels[0].networks == 6 and place.levels[0].level is None


def test_few_shared_rows_are_compared_but_not_judged() -> None:
    (place,) = agreements(rows("a", 1.0, range(8), 0) + rows("b", 5.0, range(6, 9), 1))
    assert place.ratios[0].networks == 2 and place.outliers == ()


def test_host_work_and_places_are_apart() -> None:
    total = rows("a", 1.5, range(8), 1, protocol=Protocol(host_work=True))
    (place,) = agreements(rows("a", 1.0, range(8), 0) + total)
    assert [level.source for level in place.levels] == ["a", "a, with host work"]
    other = rows("a", 1.0, range(8), 0, batch=8)
    assert [p.place for p in agreements(rows("a", 1.0, range(8), 0) + other)] == [
        "NVIDIA T4, TensorRT, FP16, batch 1",
        "NVIDIA T4, TensorRT, FP16, batch 8",
    ]
    assert len(agreements(rows("a", 1.0, range(8), 0) + other, one_place=True)) == 1


@pytest.mark.parametrize(
    ("name", "place"),
    [("TensorRT>=8.5.1", "TensorRT"), ("TensorRT (trtexec)", "TensorRT"), ("HailoRT, DFC 3.33.0", "HailoRT")],
)
def test_versions_share_a_place(name: str, place: str) -> None:
    row = Measurement("0" * 10, "n", 1.0, (64, 64), device=Device("d"), runtime=Runtime(name, threads=1))
    assert place_of(row) == f"d, {place}, precision not stated, 1 thread, batch 1"
