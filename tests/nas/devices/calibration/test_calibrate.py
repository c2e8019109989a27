"""A whole calibration: resumed after a kill, and alone in its folder."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nas.devices.calibration.journal import Journal
from nas.devices.calibration.measure import measure_networks
from nas.devices.calibration.networks import Design, designed_networks
from nas.devices.measured.exchange_file import read_exchange
from nas.devices.profile import read_profile
from nas.devices.session import choose_target
from workbench.errors import BadInput

pytest.importorskip("onnxruntime")


ROOT = Path(__file__).resolve().parents[4]

SMALL = """
import sys
from pathlib import Path
from nas.devices.calibration import fit, measure
from nas.devices.calibration.calibrate import CalibrationRequest, calibrate
from nas.devices.calibration.networks import Design
from nas.devices.session import choose_target
fit.MOST_NOISE_PERCENT = 1e9  # other tests run beside this one
measure.MOST_PASSES = 2
small = Design(chains=20, detectors=0, held_out_detectors=2, models=(), min_fitted=18, min_held_out=2)
request = CalibrationRequest("mine", 3.0, 0, "test", small)
result = calibrate(choose_target("cpu", threads=1), Path(sys.argv[1]), request, lambda text: print(text, flush=True))
print(result)
print("MEASURED", result.measured, "FAILED", len(result.failed))
"""


def test_kill_nine_and_go_on(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    journal = tmp_path / "mine.measured" / "journal.jsonl"
    command = [sys.executable, "-c", SMALL, str(tmp_path)]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as victim:
        deadline = time.monotonic() + 60
        while (
            time.monotonic() < deadline
            and victim.poll() is None
            and not (journal.exists() and journal.read_text().count("\n") > 8)
        ):
            time.sleep(0.02)
        victim.send_signal(signal.SIGKILL)
    kept = [line for line in journal.read_text().splitlines(keepends=True) if line.endswith("\n")]
    assert len(kept) > 8 and not (tmp_path / "mine.yaml").exists()
    with journal.open("a") as torn:
        torn.write('{"task": "dense-0')
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert f"goes on after {len(kept) - 1} measurements" in done.stdout
    assert "MEASURED 22 FAILED 0" in done.stdout and "error on 2 networks not fitted" in done.stdout
    exchanged = read_exchange(tmp_path / "mine.measured" / "measurements.jsonl.gz")
    assert len(exchanged.rows) == 22 and {row.network for row in exchanged.rows} == exchanged.graphs.keys()
    assert all(row.runtime.threads == 1 for row in exchanged.rows)
    assert all(row.ms == pytest.approx(statistics.median(row.rounds_ms)) for row in exchanged.rows)
    assert not journal.exists()
    profile = read_profile(tmp_path / "mine.yaml")
    assert profile.points == 20 and profile.hardware == choose_target("cpu", threads=1).hardware()
    assert profile.reference_ms > 0
    # The figures that were measured before the kill are those that were fitted: a visit is its time over the reference.
    first = json.loads(kept[1])
    row = next(row for row in exchanged.rows if row.name == first["task"])
    assert row.rounds_ms[0] == pytest.approx(first["ms"] / first["reference_ms"] * profile.reference_ms, rel=1e-4)


def test_a_time_that_is_far_too_short_is_refused_after_ten_networks(tmp_path: Path) -> None:
    """It says how many minutes are needed, and what was measured is kept for them."""
    journal = Journal(tmp_path / "journal.jsonl", {})
    networks = designed_networks(Design(chains=20, detectors=0, held_out_detectors=2, models=()), 0)
    target = choose_target("cpu", threads=1)
    with pytest.raises(BadInput, match=r"10 networks in .* and 5000 are needed; give --minutes \d+"):
        measure_networks(networks, target, journal, 120.0, lambda text: None, needed=5000)
    journal.close()
    assert len(journal.visits) == 10


def test_two_calibrations_do_not_share_a_folder(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    folder = tmp_path / "mine.measured"
    folder.mkdir()
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            [sys.executable, "-c", SMALL, str(tmp_path)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1 and "is in use by another run" in done.stderr
    assert not (tmp_path / "mine.yaml").exists()
