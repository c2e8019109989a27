"""The processors of this machine: their names, and the CPUs that this process may use."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def cpus() -> int:
    """Number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def worker_cpus(threads: int) -> list[int]:
    """A CPU for every thread but the caller's, which gets the first one; empty if they would have to share."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    usable = sorted(os.sched_getaffinity(0))
    return usable[1:threads] if threads <= len(usable) else []


def cpu_name() -> str:
    """The CPU's model name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []  # not Linux
    for key in ("model name", "Model"):
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() == key and value.strip():
                return " ".join(value.split())
    return platform.processor() or platform.machine() or "unknown CPU"


def gpu_name() -> str:
    """The first GPU's name."""
    try:
        import torch

        if torch.cuda.is_available():
            return str(torch.cuda.get_device_name(0))
    except ModuleNotFoundError:
        pass  # ONNX Runtime does not report the name
    return "CUDA GPU"


def max_clock_mhz() -> float | None:
    """Highest clock of the first CPU in MHz; None where the system does not tell."""
    text = _frequency_file("cpuinfo_max_freq")
    return int(text) / 1000 if text.isdecimal() and int(text) > 0 else None


def power_mode() -> str:
    """How the first CPU's clock is governed (``performance``, ``powersave`` ...); empty where it is not told."""
    return _frequency_file("scaling_governor")


def _frequency_file(name: str) -> str:
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq", name).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""  # not Linux, or a virtual machine
