"""The load of other programs while a measurement runs."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_OTHERS = 0.05
"""Largest share of the CPUs' time of other programs without a warning."""


@dataclass(frozen=True)
class Noise:
    """Other load on the machine during a measurement; None where the system does not report it."""

    load_before: float | None
    """Load average of the minute before."""
    others: float | None
    """Share of the CPUs' time that other programs, or other virtual machines, took."""

    def warnings(self, cpus: int, threads: int) -> list[str]:
        """One sentence for every disturbance; ``cpus`` of the machine and threads of the measurement."""
        warnings = []
        if self.others is not None and self.others > MOST_OTHERS:
            warnings.append(
                f"noisy neighbours: other programs took {100 * self.others:.0f} % of the CPUs' time"
            )
        elif self.others is None and self.load_before is not None and self.load_before > max(0.5, cpus - threads):
            warnings.append(f"noisy neighbours: the load was {self.load_before:.1f} on {cpus} CPUs before it began")
        return warnings


@dataclass
class NoiseWatch:
    """Measures the load of other programs from ``start`` to ``stop``."""

    _before: dict[str, Any] = field(default_factory=dict)

    def start(self) -> NoiseWatch:
        """Read the counters."""
        self._before = _counters()
        return self

    def stop(self) -> Noise:
        """Read them again; the load in between."""
        before, after = self._before, _counters()
        others = None
        if before.get("busy") is not None and after.get("busy") is not None:
            passed = after["all"] - before["all"]
            busy = after["busy"] - before["busy"]
            own = after["own"] - before["own"]
            others = max(0.0, (busy - own) / passed) if passed > 0 else None
        return Noise(before.get("load"), others)


def _counters() -> dict[str, Any]:
    """CPU seconds so far: of all CPUs together (``all``, ``busy``), of this process (``own``); and the load."""
    spent = os.times()
    counters: dict[str, Any] = {"own": spent.user + spent.system, "busy": None}
    if hasattr(os, "getloadavg"):
        counters["load"] = os.getloadavg()[0]
    try:
        with Path("/proc/stat").open(encoding="ascii") as lines:
            ticks = [int(v) for v in next(lines).split()[1:9]]
    except (OSError, ValueError, StopIteration):
        return counters  # not Linux: only the load average is known
    hertz = os.sysconf("SC_CLK_TCK")
    # user nice system idle iowait irq softirq steal; a CPU that waits for the disk is free.
    counters["all"] = sum(ticks) / hertz
    counters["busy"] = (sum(ticks) - ticks[3] - ticks[4]) / hertz
    return counters
