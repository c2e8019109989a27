"""Searches on Ray as a user meets them: workers, drivers and nodes die, and the answer stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")
from tests.nas.process import ROOT, finish, nas
from workbench.errors import BadInput
from workbench.workers import on_ray

SEARCH = [
    "search",
    "--budget",
    "3ms",
    "--device",
    "t4",
    "--strategy",
    "evolution",
    "--islands",
    "3",
    "--population",
    "128",
    "--steps",
    "60000",
    "--no-pictures",
    "--json",
]
ROUNDS = 15


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The answer of one process without Ray."""
    return finish(nas(*SEARCH, "--name", "here", cwd=tmp_path_factory.mktemp("here")))


def records(journal: Path) -> list[dict[str, Any]]:
    """Rounds of islands in the journal so far."""
    if not journal.exists():
        return []
    lines = [json.loads(line) for line in journal.read_bytes().split(b"\n")[:-1]]
    return [line["data"]["state"] | {"island": line["kind"]} for line in lines if line["kind"].startswith("island-")]


def until(what: Callable[[], Any], process: subprocess.Popen[str], timeout_s: float = 120) -> Any:
    """Wait until ``what()`` is true; the process must not end before."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        if process.poll() is not None:
            pytest.fail(f"the search ended too early: {process.communicate()[1]}")
        time.sleep(0.05)
    return pytest.fail("nothing came in time")


def descendants(pid: int) -> Iterator[int]:
    """Processes below ``pid``."""
    for child in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = child.read_text().split()
        except OSError:
            continue
        for text in children:
            yield int(text)
            yield from descendants(int(text))


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def at_work(pid: int) -> list[int]:
    """Worker processes of the Ray below ``pid`` that do a job at this moment."""
    return [child for child in descendants(pid) if command(child).startswith("ray::run_job")]


def busy(pids: set[int]) -> list[int]:
    """Those of ``pids`` that are Ray's own servers or workers."""
    return [
        pid for pid in pids if any(name in command(pid) for name in ("gcs_server", "raylet/raylet", "ray::run_job"))
    ]


def open_to_others(pids: set[int]) -> list[str]:
    """Addresses other than the loopback device that ``pids`` listen on."""
    sockets = set()
    for pid in pids:
        for file in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                sockets.add(os.readlink(file))
            except OSError:
                continue
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            local, state, inode = fields[1], fields[3], fields[9]
            loopback = local.startswith(
                ("0100007F:", "0000000000000000FFFF00000100007F:", "00000000000000000000000001000000:")
            )
            if state == "0A" and f"socket:[{inode}]" in sockets and not loopback:
                found.append(local)
    return found


def left_behind(pid: int) -> list[str]:
    """What a local Ray of driver ``pid`` has left in the temporary folder."""
    return [p.name for p in Path(tempfile.gettempdir()).glob(f"{on_ray.FOLDER}{pid}-*")]


def test_a_worker_killed_at_work_changes_nothing_and_ray_leaves_nothing(
    expected: dict[str, Any], tmp_path: Path
) -> None:
    process = nas(*SEARCH, "--workers", "2", "--name", "r", cwd=tmp_path)
    journal = tmp_path / "runs" / "r" / "journal.jsonl"
    until(lambda: len(records(journal)) >= 2, process)
    family = set(descendants(process.pid))
    assert len(family) > 3 and open_to_others(family | {process.pid}) == []
    os.kill(until(lambda: at_work(process.pid), process)[0], signal.SIGKILL)
    found = finish(process)
    assert found["front"] == expected["front"] and found["candidates"] == expected["candidates"] == 60_000
    assert left_behind(process.pid) == []
    assert [pid for pid in family if "ray" in command(pid)] == []
    rounds = [(r["island"], r["round"]) for r in records(journal)]
    assert len(rounds) == len(set(rounds)), "no round is written twice"


def test_driver_killed_and_restarted_gives_the_same_answer(expected: dict[str, Any], tmp_path: Path) -> None:
    process = nas(*SEARCH, "--workers", "2", "--name", "r", cwd=tmp_path)
    journal = tmp_path / "runs" / "r" / "journal.jsonl"
    until(lambda: len(records(journal)) >= 3, process)
    family = set(descendants(process.pid))
    process.kill()
    process.communicate()
    before = records(journal)
    assert not (tmp_path / "runs" / "r" / "best.yaml").exists()
    # Two helpers of Ray, which hold no work, notice only after a minute.
    deadline = time.monotonic() + 30
    while busy(family) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert busy(family) == [], "Ray dies with its driver"
    again = nas(*SEARCH, "--workers", "2", "--name", "r", cwd=tmp_path)
    found = finish(again)
    assert found["front"] == expected["front"] and found["candidates"] == expected["candidates"]
    assert any("resumed after" in note for note in found["notes"])
    rounds = [(r["island"], r["round"]) for r in records(journal)]
    assert len(rounds) == len(set(rounds)) > len(before), "what was written down is not evaluated again"
    assert left_behind(process.pid) == [], "the next search clears what a killed one left"


@pytest.mark.slow
def test_ctrl_c_leaves_a_run_that_goes_on_without_ray(expected: dict[str, Any], tmp_path: Path) -> None:
    process = nas(*SEARCH, "--workers", "1", "--name", "r", cwd=tmp_path)
    journal = tmp_path / "runs" / "r" / "journal.jsonl"
    until(lambda: len(records(journal)) >= 2, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "resumes from here" in err and "Traceback" not in err
    assert left_behind(process.pid) == []
    found = finish(nas(*SEARCH, "--name", "r", cwd=tmp_path))
    assert found["front"] == expected["front"]


@pytest.mark.slow
def test_spread_scores_give_the_answer_of_one_process(tmp_path: Path) -> None:
    args = [
        "search",
        "--budget",
        "3ms",
        "--device",
        "t4",
        "--grid",
        "32",
        "--score",
        "deepmad",
        "--steps",
        "192",
        "--population",
        "16",
        "--no-pictures",
        "--json",
    ]
    here = finish(nas(*args, "--name", "here", cwd=tmp_path))
    there = finish(nas(*args, "--workers", "2", "--name", "there", cwd=tmp_path))
    assert here["front"] == there["front"] and here["notes"] == there["notes"]


@pytest.mark.slow
@pytest.mark.parametrize("space", ["damo", "modern", "nano", "edge-npu"])
def test_workers_search_whole_detectors_to_the_answer_of_one_process(space: str, tmp_path: Path) -> None:
    """Kinds, sides, levels, necks and heads on Ray."""
    budget, evolution = ["--budget", "3ms", "--device", "t4"], ["--strategy", "evolution", "--steps", "4000"]
    islands = ["--islands", "2", "--population", "64"]
    args = ["search", *budget, "--space", space, *evolution, *islands, "--no-pictures", "--json"]
    here = finish(nas(*args, "--name", "here", cwd=tmp_path))
    there = finish(nas(*args, "--workers", "2", "--name", "there", cwd=tmp_path))
    assert here["front"] == there["front"] and here["notes"] == there["notes"]


def test_no_cluster_is_one_line(tmp_path: Path) -> None:
    process = nas(*SEARCH, "--workers", "2", "--address", "127.0.0.1:1", cwd=tmp_path)
    _, err = process.communicate(timeout=60)
    assert (
        process.returncode == 2
        and "no Ray cluster answers at '127.0.0.1:1'" in err
        and len(err.strip().splitlines()) == 1
    )


def test_ray_imported_before_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parts would not let one another in, after half a minute."""
    monkeypatch.setattr(on_ray, "_token", "")
    with pytest.raises(BadInput, match="imported ray before"):
        on_ray.RayWorkers(1)


def test_ray_is_imported_in_one_place() -> None:
    found = [p for p in (ROOT / "workbench" / "workers").rglob("*.py") if "import ray" in p.read_text(encoding="utf-8")]
    assert found == [Path(on_ray.__file__)]


@pytest.mark.slow
def test_three_nodes_of_which_one_dies_complete_the_study_to_the_same_answer(
    expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    store = 80_000_000
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": store, "include_dashboard": False}
    )
    try:
        nodes = [cluster.add_node(num_cpus=1, object_store_memory=store) for _ in range(2)]
        process = nas(*SEARCH, "--workers", "3", "--address", cluster.address, "--name", "r", cwd=tmp_path)
        journal = tmp_path / "runs" / "r" / "journal.jsonl"
        until(lambda: len(records(journal)) >= ROUNDS // 2, process)
        cluster.remove_node(nodes[0], allow_graceful=False)
        found = finish(process)
        assert found["front"] == expected["front"] and found["candidates"] == expected["candidates"]
    finally:
        cluster.shutdown()


@pytest.mark.slow
def test_work_that_memory_never_suffices_for_ends_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray takes any use of memory for too much here, and ends the worker again and again."""
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.001")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "50")
    long_rounds = ["--islands", "1", "--steps", "20000000"]
    process = nas(*SEARCH, *long_rounds, "--workers", "1", "--name", "r", cwd=tmp_path)
    out, err = process.communicate(timeout=240)
    last = err.strip().splitlines()[-1]
    assert process.returncode == 2 and out == "" and "Traceback" not in err
    assert (
        last.startswith("nas: island 0 could not be evolved (OutOfMemoryError, begun 5 times")
        and "resumes from its last round" in last
    )
    assert records(tmp_path / "runs" / "r" / "journal.jsonl") == []
