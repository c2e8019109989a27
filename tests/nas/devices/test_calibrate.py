"""Calibration: a known machine is found again, noise is refused, and a killed one goes on where it stood."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nas.devices.calibrate import MOST_NOISE_PERCENT, fit_and_judge, measure_tasks
from nas.devices.calibration_journal import Journal, Visit
from nas.devices.calibration_set import (
    DESIGNS,
    LEAST_MACS,
    LEAST_MOVED,
    MOST_MACS,
    MOST_MOVED,
    CalibrationNetwork,
    Design,
    designed_chains,
    designed_tasks,
)
from nas.devices.model import LatencyModel
from nas.devices.profile import read_profile
from nas.devices.runtimes import Network, Target, choose_target
from workbench.errors import BadInput

ort = pytest.importorskip("onnxruntime")
ROOT = Path(__file__).resolve().parents[3]
TARGET = Target("cpu", "onnxruntime", 1)
MACHINE = LatencyModel(
    conv_tflops=0.05, pointwise_tflops=0.04, step_ns=30.0, depthwise_goutputs=0.4, matmul_tflops=0.03, bandwidth_gbs=12.0, weight_gbs=8.0,
    memory_gbs=6.0, kernel_us=8.0, memory_kernel_us=5.0, channel_pad=8.0, side_pad=4.0, softmax_share=1.0, element_bytes=4.0,
)  # fmt: skip
"""Coefficients of a machine that is not there: networks have exactly these times, but for the noise that is added."""
SET = Design(chains=96, detectors=8, strangers=8, models=("damo-yolo-t",))


def test_the_set_is_the_same_for_a_seed_and_another_for_another() -> None:
    first, again, other = ([graph.to_json() for graph in designed_chains(64, seed)] for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_kind_is_drawn_and_nothing_takes_too_long(device: str) -> None:
    size = Design.of_device(device).size
    chains = designed_chains(200, 0, size)
    assert {graph.name.rpartition("-")[0] for graph in chains} == set(DESIGNS)
    assert len({graph.name for graph in chains}) == 200
    for graph in chains:
        table = graph.table()
        macs, moved = table.total(table.macs) / size, table.total(table.in_elems + table.out_elems) / size
        assert macs <= MOST_MACS and moved <= MOST_MOVED and (macs >= LEAST_MACS or moved >= LEAST_MOVED)


def test_no_judge_is_fitted() -> None:
    tasks = designed_tasks(Design(models=("damo-yolo-ns", "damo-yolo-t")), 0)
    names = [task.name for task in tasks]
    assert len(set(names)) == len(names)
    fitted, judges = ([task.make().graph for task in tasks if task.judges is side] for side in (False, True))
    known = {json.dumps(graph.to_json() | {"name": ""}) for graph in fitted}
    assert len(judges) >= 12
    assert not [graph.name for graph in judges if json.dumps(graph.to_json() | {"name": ""}) in known]


def journal_of(folder: Path, tasks: list[CalibrationNetwork], noise: float, seed: int = 0) -> Journal:
    """Two visits to every task on the machine above, times scattered by ``noise`` (as a share)."""
    rng, journal = np.random.default_rng(seed), Journal(folder / "journal.jsonl", {"a": 1})
    for number in (1, 2):
        for task in tasks:
            network = task.make()
            table = network.graph.table(network.table_px)
            ms = float((MACHINE.op_ms(table) * table.count).sum()) + 0.02
            journal.add(Visit(task.name, number, ms * float(np.exp(noise * rng.standard_normal())), 5), 0.0)
    return journal


@pytest.fixture(scope="module")
def tasks() -> list[CalibrationNetwork]:
    return designed_tasks(SET, 3)


def test_a_known_machine_is_found_again(tasks: list[CalibrationNetwork], tmp_path: Path) -> None:
    journal = journal_of(tmp_path, tasks, 0.01)
    profile, judged, noise = fit_and_judge(tasks, journal, TARGET, "mine", 5.0, "nas calibrate", SET)
    assert len(judged) == 9
    assert noise == pytest.approx(100 * 0.01 * 2 / np.sqrt(np.pi), rel=0.25)  # mean |difference| of two bell curves
    assert profile.error["judged_mape_percent"] < 6.0
    assert profile.error["kendall_tau"] > 0.9
    assert profile.error["mape_percent"] == max(profile.error["judged_mape_percent"], profile.error["noise_percent"])
    assert set(profile.error["percent_by_network"]) == {one.name for one in judged}
    path = tmp_path / "mine.yaml"
    path.write_text(profile.to_yaml())
    assert read_profile(path) == profile


def test_the_error_is_never_below_the_noise(tasks: list[CalibrationNetwork], tmp_path: Path) -> None:
    profile, judged, noise = fit_and_judge(tasks, journal_of(tmp_path, tasks, 0.1), TARGET, "mine", 5.0, "", SET)
    assert noise > 8.0
    assert profile.error["mape_percent"] >= round(noise, 3)
    assert judged


def test_a_noisy_machine_is_refused_and_its_figures_are_thrown_away(tasks: list[CalibrationNetwork], tmp_path: Path) -> None:
    journal = journal_of(tmp_path, tasks, 0.3)
    with pytest.raises(BadInput, match=f"too noisy.* at most {MOST_NOISE_PERCENT:g} %"):
        fit_and_judge(tasks, journal, TARGET, "mine", 5.0, "", SET)
    assert not journal.path.exists()


def test_too_little_is_refused_and_kept(tasks: list[CalibrationNetwork], tmp_path: Path) -> None:
    journal = journal_of(tmp_path, tasks[:30], 0.01)
    with pytest.raises(BadInput, match="goes on from here"):
        fit_and_judge(tasks, journal, TARGET, "mine", 0.1, "", SET)
    assert journal.path.exists()
    once = Journal(tmp_path / "once.jsonl", {})
    for task in tasks:
        once.add(Visit(task.name, 1, 1.0, 3), 0.0)
    with pytest.raises(BadInput, match="anything twice"):
        fit_and_judge(tasks, once, TARGET, "mine", 0.1, "", SET)


def test_journal_goes_on_and_cuts_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    first = Journal(path, {"seed": 1, "models": ("a", "b")})
    first.add(Visit("x", 1, 2.5, 9), 1.0)
    first.fail("y", "cannot be run", 2.0)
    first.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"task": "z", "pa')
    again = Journal(path, {"seed": 1, "models": ("a", "b")})
    assert again.resumed and again.visits == [Visit("x", 1, 2.5, 9)] and again.failed == {"y": "cannot be run"} and again.spent_s == 2.0
    again.close()
    assert path.read_bytes() == whole
    other = Journal(path, {"seed": 2, "models": ("a", "b")})
    assert not other.resumed and not other.visits
    other.close()


def test_a_journal_that_holds_nonsense_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    for text in (b"\xff\xfe\n", b'{"seed": 1}\n{"task": "x"}\n', b'{"seed": 1}\n[1]\n', b'{"seed": 1}\n{"task": "x", "pass": 1, "ms": -3, "runs": 2, "spent_s": 1}\n'):
        path.write_bytes(text)
        journal = Journal(path, {"seed": 1})
        journal.close()
        assert not journal.visits and not journal.resumed, text


def test_passes_share_the_time_and_failures_are_named(tmp_path: Path) -> None:
    """Real networks on a real runtime; one of them cannot be run."""
    graphs = designed_chains(6, 5)

    def broken() -> Network:
        raise BadInput("no such network")

    chosen = [CalibrationNetwork(g.name, "chain", False, lambda g=g: Network.of_graph(g)) for g in graphs] + [CalibrationNetwork("broken", "chain", False, broken)]  # type: ignore[misc]
    journal = Journal(tmp_path / "journal.jsonl", {})
    said: list[str] = []
    measure_tasks(chosen, TARGET, journal, 30.0, said.append)
    assert journal.failed == {"broken": "no such network"}
    assert sorted((v.task, v.number) for v in journal.visits) == sorted((g.name, n) for g in graphs for n in (1, 2, 3, 4))
    assert all(v.ms > 0 and v.runs >= 3 for v in journal.visits)
    assert said and "pass 1" in said[0] and "left" in said[0]
    before = len(journal.visits)
    measure_tasks(chosen, TARGET, journal, 30.0, said.append)
    assert len(journal.visits) == before


def test_a_runtime_that_runs_nothing_is_refused(tmp_path: Path) -> None:
    def broken() -> Network:
        raise BadInput("no such network")

    chosen = [CalibrationNetwork(f"broken-{i}", "chain", False, broken) for i in range(5)]
    with pytest.raises(BadInput, match="2 of 5 networks cannot be run here"):
        measure_tasks(chosen, TARGET, Journal(tmp_path / "journal.jsonl", {}), 5.0, lambda text: None)


SMALL = """
import sys
from pathlib import Path
from nas.devices import calibrate as room
from nas.devices.calibration_set import Design
from nas.devices.runtimes import choose_target
room.MOST_NOISE_PERCENT = 1e9  # other tests run beside this one
room.MOST_PASSES = 2
small = Design(chains=20, detectors=0, strangers=2, models=(), fewest_fitted=18, fewest_judges=2)
done = room.calibrate(choose_target("cpu", threads=1), "mine", Path(sys.argv[1]), 3.0, 0, "test", lambda text: print(text, flush=True), design=small)
print("MEASURED", done.measured, "FAILED", len(done.failed))
"""


def test_kill_nine_and_go_on(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    journal = tmp_path / "mine.measured" / "journal.jsonl"
    command = [sys.executable, "-c", SMALL, str(tmp_path)]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as victim:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and victim.poll() is None and not (journal.exists() and journal.read_text().count("\n") > 8):
            time.sleep(0.02)
        victim.send_signal(signal.SIGKILL)
    kept = [line for line in journal.read_text().splitlines(keepends=True) if line.endswith("\n")]
    assert len(kept) > 8 and not (tmp_path / "mine.yaml").exists()
    with journal.open("a") as torn:
        torn.write('{"task": "dense-0')
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert f"goes on after {len(kept) - 1} measurements" in done.stdout
    assert "MEASURED 22 FAILED 0" in done.stdout
    assert not journal.exists()
    profile = read_profile(tmp_path / "mine.yaml")
    assert profile.points == 20 and profile.hardware == choose_target("cpu", threads=1).hardware()
    # The figures that were measured before the kill are those that were fitted.
    first = json.loads(kept[1])
    line = next(row for row in (tmp_path / "mine.measured" / "latency.csv").read_text().splitlines() if row.startswith(first["task"] + ","))
    assert float(line.split(",")[-1]) <= round(first["ms"], 6)


def test_two_calibrations_do_not_share_a_folder(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    folder = tmp_path / "mine.measured"
    folder.mkdir()
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run([sys.executable, "-c", SMALL, str(tmp_path)], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "is in use by another run" in done.stderr
    assert not (tmp_path / "mine.yaml").exists()
