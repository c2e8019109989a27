"""Intervals around a forecast: from single errors where there are enough, else from the mean error."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from nas.devices.interval import MAPE_TO_BAND, family_half, interval_ms, student_95
from nas.devices.model import LatencyModel
from nas.devices.profile import DeviceProfile


def profile(**error: Any) -> DeviceProfile:
    model = LatencyModel(
        conv_tflops=1.0,
        pointwise_tflops=1.0,
        step_ns=0.0,
        depthwise_goutputs=1.0,
        matmul_tflops=1.0,
        bandwidth_gbs=1.0,
        weight_gbs=1.0,
        memory_gbs=1.0,
        kernel_us=1.0,
        memory_kernel_us=1.0,
    )
    return DeviceProfile("d", "h", "r", "FP32", 1, 0.1, model, 0.0, error=error)


def test_single_errors_bound_nine_in_ten() -> None:
    # Nineteen errors of 1 % to 19 % up: rank ceil(0.9 x 20) = 18.
    found = interval_ms(profile(mape_percent=10.0, percent_by_network={f"n{i}": float(i) for i in range(1, 20)}), 100.0)
    assert found is not None
    assert found.low_ms == pytest.approx(100 / 1.18) and found.high_ms == pytest.approx(118.0)
    assert "19" in found.meaning


def test_noise_is_a_floor() -> None:
    found = interval_ms(profile(noise_percent=7.0, percent_by_network={f"n{i}": 0.1 for i in range(12)}), 100.0)
    assert found is not None and found.high_ms == pytest.approx(107.0)


def test_few_errors_fall_back_on_the_mean() -> None:
    found = interval_ms(profile(mape_percent=6.0, percent_by_network={"a": 1.0}), 100.0)
    assert found is not None and found.high_ms == pytest.approx(100 * (1 + 0.06 * MAPE_TO_BAND))
    assert found.low_ms * found.high_ms == pytest.approx(100.0**2)


def test_no_error_no_interval() -> None:
    assert interval_ms(profile(), 100.0) is None


def test_nine_in_ten_new_networks_lie_inside() -> None:
    """The rank rule keeps its promise on average over profiles, whatever the errors' distribution (here: long
    tails)."""
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(500):
        errors = 100 * np.expm1(0.05 * rng.standard_t(3, 30))
        found = interval_ms(
            dataclasses.replace(profile(), error={"percent_by_network": dict(enumerate(errors[:20]))}), 1.0
        )
        assert found is not None
        # The measured time lies inside when the forecast's error is within the band: measured = forecast / (1 + error).
        measured = 1 / (1 + errors[20:] / 100)
        inside.append(np.mean((found.low_ms <= measured) & (measured <= found.high_ms)))
    assert math.isclose(float(np.mean(inside)), 0.905, abs_tol=0.02)  # 19 / 21 in theory


def test_student_s_quantile_is_the_tabulated_one() -> None:
    for freedom, quantile in ((3, 2.353), (4, 2.132), (9, 1.833), (30, 1.697), (200, 1.653)):
        assert student_95(freedom) == pytest.approx(quantile, abs=0.012)


def test_families_that_are_biased_widen_the_interval_and_count_alike() -> None:
    calm = profile(
        mape_percent=4.0,
        mape_percent_by_family={name: 4.0 for name in "abcde"},
        mean_percent_by_family={name: 0.0 for name in "abcde"},
    )
    biased = dataclasses.replace(calm, error={**calm.error, "mean_percent_by_family": dict.fromkeys("abcde", 4.0)})
    one, other = interval_ms(calm, 1.0), interval_ms(biased, 1.0)
    assert one is not None and other is not None and "5 measured" in one.meaning
    # All the same: normal errors with mean absolute value 4 % have 4 % x sqrt(pi / 2), biased ones 4 %.
    assert math.log(one.high_ms) == pytest.approx(student_95(200) * 0.04 * math.sqrt(math.pi / 2), rel=1e-3)
    assert math.log(other.high_ms) == pytest.approx(student_95(200) * 0.04, rel=1e-3)


@pytest.mark.parametrize(("within", "between"), [(0.05, 0.02), (0.03, 0.05), (0.01, 0.05)])
@pytest.mark.parametrize("families", [5, 14])
def test_nine_in_ten_networks_of_new_families_lie_inside(families: int, within: float, between: float) -> None:
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(300):
        errors = rng.normal(0, between, (families + 1, 1)) + rng.normal(0, within, (families + 1, 12))
        half = family_half([(float(e.mean()), float(np.abs(e).mean())) for e in errors[1:]])
        inside.append(np.mean(np.abs(errors[0]) <= half))
    assert 0.86 <= np.mean(inside) <= 0.94
