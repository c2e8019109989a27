"""The load of other programs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nas.devices.noise import NoiseWatch


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="counts other programs on Linux only")
def test_other_programs_are_seen_and_our_own_work_is_not() -> None:
    watch = NoiseWatch().start()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        time.sleep(1.0)
        other.kill()
    noise = watch.stop()
    assert noise.others is not None and noise.others > 0.05

    def busy() -> float:
        watch, end = NoiseWatch().start(), time.monotonic() + 0.6
        while time.monotonic() < end:
            pass
        found = watch.stop().others
        assert found is not None
        return found

    # Our own full core would be 1 / cpus of all; others may be at work too, so the quietest of three counts.
    before = _share_of_others(0.6)
    assert min(busy() for _ in range(3)) < before + 0.6 / (os.cpu_count() or 1)


def _share_of_others(seconds: float) -> float:
    watch = NoiseWatch().start()
    time.sleep(seconds)
    found = watch.stop().others
    assert found is not None
    return found
