"""The CPUs of this process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nas.devices import hardware
from nas.devices.hardware import max_clock_mhz, power_mode, worker_cpus


def test_threads_have_a_cpu_each_where_there_are_enough() -> None:
    usable = sorted(os.sched_getaffinity(0))
    assert worker_cpus(1) == [] and worker_cpus(len(usable) + 1) == []
    assert worker_cpus(len(usable)) == usable[1:]
    assert usable[0] not in worker_cpus(len(usable))


def test_clock_and_power_mode_are_read_where_they_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "Path", lambda folder, name: tmp_path / name)
    assert max_clock_mhz() is None and power_mode() == ""
    (tmp_path / "cpuinfo_max_freq").write_text("2400000\n")
    (tmp_path / "scaling_governor").write_text("performance\n")
    assert max_clock_mhz() == 2400.0 and power_mode() == "performance"
    (tmp_path / "cpuinfo_max_freq").write_text("fast\n")
    assert max_clock_mhz() is None
