"""What a measurement says of this machine's CPUs: their clock and power mode, and where threads are placed."""

from __future__ import annotations

import os
from pathlib import Path


def worker_cpus(threads: int) -> list[int]:
    """A CPU for every thread but the caller's, which gets the first one; empty if they would have to share."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    usable = sorted(os.sched_getaffinity(0))
    return usable[1:threads] if threads <= len(usable) else []


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
