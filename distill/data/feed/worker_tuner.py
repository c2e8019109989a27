"""How many workers a training needs."""

from __future__ import annotations

import os
from pathlib import Path


def usable_cpus() -> int:
    """CPUs this process may use; a container's quota counts."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return cpus if quota == "max" else max(min(cpus, int(quota) // int(period)), 1)
    except (OSError, ValueError):
        return cpus


class WorkerTuner:
    """Finds the number of workers from the time that the training waits for them.

    One worker is added while waiting takes more than ``MAX_WAIT`` of the time. One that does not cut the waiting by a
    tenth is removed again, and then the number stays.
    """

    MAX_WAIT = 0.05
    STEPS = 32
    SECONDS = 2.0

    def __init__(self, most: int) -> None:
        self.most = most
        self._share_before: float | None = None
        self._settled = False
        self._steps = 0
        self._waited_s = self._total_s = 0.0

    def update(self, waited_s: float, total_s: float, workers: int) -> int:
        """Count a step's seconds of waiting and in all; the number of workers to add: 1, 0 or -1."""
        self._steps += 1
        self._waited_s += waited_s
        self._total_s += total_s
        if self._settled or self._steps < self.STEPS or self._total_s < self.SECONDS:
            return 0
        share = self._waited_s / self._total_s
        self._steps, self._waited_s, self._total_s = 0, 0.0, 0.0
        if self._share_before is not None and share > 0.9 * self._share_before:
            self._settled = True
            return -1
        self._share_before = None
        if share <= self.MAX_WAIT or workers >= self.most:
            return 0
        self._share_before = share
        return 1
