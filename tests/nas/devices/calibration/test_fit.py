"""Fits to a machine made of numbers: it is found again, and noise is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nas.devices.calibration.fit import MOST_NOISE_PERCENT, fit_calibration
from nas.devices.calibration.journal import Journal, Visit
from nas.devices.calibration.networks import CalibrationNetwork, Design, designed_networks
from nas.devices.model import LatencyModel
from nas.devices.profile import read_profile
from nas.devices.runtimes.runtime import Target
from workbench.errors import BadInput

pytest.importorskip("onnxruntime")

TARGET = Target("cpu", "onnxruntime", 1)

MACHINE = LatencyModel(
    conv_tflops=0.05,
    pointwise_tflops=0.04,
    step_ns=30.0,
    depthwise_goutputs=0.4,
    matmul_tflops=0.03,
    bandwidth_gbs=12.0,
    weight_gbs=8.0,
    memory_gbs=6.0,
    kernel_us=8.0,
    memory_kernel_us=5.0,
    channel_pad=8.0,
    side_pad=4.0,
    softmax_share=1.0,
    element_bytes=4.0,
)
"""Coefficients of a machine that is not there: networks have exactly these times, but for the noise that is added."""

SET = Design(chains=96, detectors=8, held_out_detectors=8, models=("damo-yolo-t",))


def journal_of(folder: Path, tasks: list[CalibrationNetwork], noise: float, seed: int = 0) -> Journal:
    """Two visits to every task on the machine above, times scattered by ``noise`` (as a share)."""
    rng, journal = np.random.default_rng(seed), Journal(folder / "journal.jsonl", {"a": 1})
    for number in (1, 2):
        for task in tasks:
            network = task.make()
            table = network.graph.table(network.table_px)
            ms = float((MACHINE.op_ms(table) * table.count).sum()) + 0.02
            journal.add(Visit(task.name, number, ms * float(np.exp(noise * rng.standard_normal())), 5, 1.0), 0.0)
    return journal


@pytest.fixture(scope="module")
def tasks() -> list[CalibrationNetwork]:
    return designed_networks(SET, 3)


def test_a_known_machine_is_found_again(tasks: list[CalibrationNetwork], tmp_path: Path) -> None:
    journal = journal_of(tmp_path, tasks, 0.01)
    fit = fit_calibration(tasks, journal, TARGET, SET, 5.0)
    profile, held_out, noise = fit.to_profile(TARGET, "mine", "nas calibrate"), fit.held_out, fit.noise_percent
    assert len(held_out) == 9
    assert noise == pytest.approx(100 * 0.01 * 2 / np.sqrt(np.pi), rel=0.25)  # mean |difference| of two bell curves
    assert profile.error["judged_mape_percent"] < 6.0
    assert profile.error["kendall_tau"] > 0.9
    assert profile.error["mape_percent"] == max(profile.error["judged_mape_percent"], profile.error["noise_percent"])
    assert set(profile.error["percent_by_network"]) == {network.name for network in held_out}
    path = tmp_path / "mine.yaml"
    path.write_text(profile.to_yaml())
    assert read_profile(path) == profile


def test_the_error_is_never_below_the_noise(tasks: list[CalibrationNetwork], tmp_path: Path) -> None:
    fit = fit_calibration(tasks, journal_of(tmp_path, tasks, 0.1), TARGET, SET, 5.0)
    profile, held_out, noise = fit.to_profile(TARGET, "mine", ""), fit.held_out, fit.noise_percent
    assert noise > 8.0
    assert profile.error["mape_percent"] >= round(noise, 3)
    assert held_out


def test_a_noisy_machine_is_refused_and_its_figures_are_thrown_away(
    tasks: list[CalibrationNetwork], tmp_path: Path
) -> None:
    journal = journal_of(tmp_path, tasks, 0.3)
    with pytest.raises(BadInput, match=f"too noisy.* at most {MOST_NOISE_PERCENT:g} %"):
        fit_calibration(tasks, journal, TARGET, SET, 5.0)
    assert not journal.path.exists()


def test_too_little_is_refused_and_kept(tasks: list[CalibrationNetwork], tmp_path: Path) -> None:
    journal = journal_of(tmp_path, tasks[:30], 0.01)
    with pytest.raises(BadInput, match="goes on from here"):
        fit_calibration(tasks, journal, TARGET, SET, 0.1)
    assert journal.path.exists()
    once = Journal(tmp_path / "once.jsonl", {})
    for task in tasks:
        once.add(Visit(task.name, 1, 1.0, 3, 1.0), 0.0)
    with pytest.raises(BadInput, match="anything twice"):
        fit_calibration(tasks, once, TARGET, SET, 0.1)
