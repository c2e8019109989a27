"""The CPUs of this process."""

from __future__ import annotations

import os

from nas.devices.hardware import worker_cpus


def test_threads_have_a_cpu_each_where_there_are_enough() -> None:
    usable = sorted(os.sched_getaffinity(0))
    assert worker_cpus(1) == [] and worker_cpus(len(usable) + 1) == []
    assert worker_cpus(len(usable)) == usable[1:]
    assert usable[0] not in worker_cpus(len(usable))
