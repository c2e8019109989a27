"""The run folder: journal, crash, lock, settings."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from workbench.errors import BadInput
from workbench.run_folder import RunFiles, RunFolder

SETTINGS = {"budget": ["3ms"], "seed": 0}
VERSIONS = {"nas": "0"}
PRODUCTS = RunFiles("search", ("front.csv", "best.yaml", "optuna.log*"), ("top", "events"))


def open_study(folder: Path, **changes: object) -> RunFolder:
    return RunFolder.open(folder, {**SETTINGS, **changes}, VERSIONS, PRODUCTS)


def test_records_come_back(tmp_path: Path) -> None:
    study = open_study(tmp_path / "run")
    study.append("checkpoint", {"seen": 1})
    study.append("checkpoint", {"seen": 2})
    study.append("other", {"x": [1.5, None, "ä"]})
    study.close()
    again = open_study(tmp_path / "run")
    assert again.latest("checkpoint") == {"seen": 2}
    assert again.latest("other") == {"x": [1.5, None, "ä"]}
    assert again.result is None
    again.append("done", {"ok": True})
    again.close()
    last = open_study(tmp_path / "run")
    assert last.result == {"ok": True}
    last.close()


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_last_line_is_dropped(tmp_path: Path, cut: int) -> None:
    study = open_study(tmp_path)
    study.append("checkpoint", {"seen": 1})
    study.append("checkpoint", {"seen": 2})
    study.close()
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-cut])
    again = open_study(tmp_path)
    assert again.latest("checkpoint") == {"seen": 1}
    assert "torn" in again.notes[0]
    again.append("checkpoint", {"seen": 3})
    again.close()
    last = open_study(tmp_path)
    assert last.latest("checkpoint") == {"seen": 3}
    last.close()


@pytest.mark.parametrize("line", [0, 1])
def test_damage_is_refused_with_its_line(tmp_path: Path, line: int) -> None:
    study = open_study(tmp_path)
    study.append("checkpoint", {"seen": 1})
    study.append("checkpoint", {"seen": 2})
    study.close()
    journal = tmp_path / "journal.jsonl"
    lines = journal.read_text().splitlines()
    lines[line] = lines[line].replace("seen", "sean")
    journal.write_text("\n".join(lines) + "\n")
    with pytest.raises(BadInput, match=f"line {line + 1} does not match its checksum"):
        open_study(tmp_path)


def test_garbage_is_refused(tmp_path: Path) -> None:
    open_study(tmp_path).close()
    (tmp_path / "journal.jsonl").write_bytes(b"\x00\xff not json\nmore\n")
    with pytest.raises(BadInput, match="line 1 is not a journal record"):
        open_study(tmp_path)


def test_other_settings_are_named(tmp_path: Path) -> None:
    open_study(tmp_path).close()
    with pytest.raises(BadInput, match="seed=0, not 1"):
        open_study(tmp_path, seed=1)
    RunFolder.open(tmp_path, {**SETTINGS, "seed": 1}, VERSIONS, PRODUCTS, fresh=True).close()


def test_one_search_at_a_time(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    with pytest.raises(BadInput, match="in use by another run"):
        open_study(tmp_path)
    study.close()
    open_study(tmp_path).close()


@pytest.mark.parametrize("fresh", [False, True])
def test_a_deleted_lock_file_lets_nobody_in(tmp_path: Path, fresh: bool) -> None:
    first = open_study(tmp_path / "run")
    first.append("state", {"x": 1})
    (tmp_path / "run" / ".lock").unlink()
    with pytest.raises(BadInput, match="in use by another run"):
        RunFolder.open(tmp_path / "run", SETTINGS, VERSIONS, PRODUCTS, fresh)
    first.append("state", {"x": 2})
    first.close()
    second = open_study(tmp_path / "run")
    assert second.latest("state") == {"x": 2}
    second.close()


def test_unwritable_and_unreadable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="cannot write run folder"):
        open_study(tmp_path / "file")
    with pytest.raises(BadInput, match="cannot write run folder"):
        open_study(Path("/proc/nope/run"))
    open_study(tmp_path / "run").close()
    (tmp_path / "run" / "settings.yaml").write_text("[")
    with pytest.raises(BadInput, match="start over with --fresh"):
        open_study(tmp_path / "run")


def test_fresh_keeps_what_is_not_ours(tmp_path: Path) -> None:
    open_study(tmp_path).close()
    (tmp_path / "mine.txt").write_text("keep")
    RunFolder.open(tmp_path, SETTINGS, VERSIONS, PRODUCTS, fresh=True).close()
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_a_writer_killed_at_any_time_leaves_whole_records(tmp_path: Path) -> None:
    code = (
        "import sys; from workbench.run_folder import RunFiles, RunFolder\n"
        "settings, files = {'budget': ['3ms'], 'seed': 0}, RunFiles('search', (), ())\n"
        "study = RunFolder.open(sys.argv[1], settings, {'nas': '0'}, files)\n"
        "at = (study.latest('checkpoint') or {'seen': 0})['seen']\n"
        "while True:\n"
        "    at += 1; study.append('checkpoint', {'seen': at, 'rows': [at] * 20000})\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    journal, before = tmp_path / "run" / "journal.jsonl", 0
    for round_ in range(3):
        size = journal.stat().st_size if journal.exists() else 0
        victim = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run")], env=env)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not (journal.exists() and b"\n" in journal.read_bytes()[size:]):
            time.sleep(0.005)
        time.sleep(0.013 * round_)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        study = open_study(tmp_path / "run")
        held = study.latest("checkpoint")
        study.close()
        assert held is not None and held["seen"] > before and held["rows"] == [held["seen"]] * 20000
        before = held["seen"]


def test_a_journal_without_its_settings_is_refused(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    study.append("checkpoint", {"seen": 1})
    study.close()
    (tmp_path / "settings.yaml").unlink()
    with pytest.raises(BadInput, match=r"journal but no settings\.yaml"):
        open_study(tmp_path, seed=9)
    RunFolder.open(tmp_path, SETTINGS, VERSIONS, PRODUCTS, fresh=True).close()


@pytest.mark.parametrize(
    "line", [b'{"n": 1, "kind": "x", "sum": "0", "data": {"v": NaN}}', b"[" * 50_000, b"[1, 2]", b"7"]
)
def test_strange_json_is_no_record(tmp_path: Path, line: bytes) -> None:
    open_study(tmp_path).close()
    (tmp_path / "journal.jsonl").write_bytes(line + b"\n")
    with pytest.raises(BadInput, match="line 1 is not a journal record"):
        open_study(tmp_path)


@pytest.mark.parametrize("name", ["journal.jsonl", "settings.yaml"])
def test_a_folder_in_place_of_a_file(tmp_path: Path, name: str) -> None:
    open_study(tmp_path).close()
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(BadInput, match=name):
        open_study(tmp_path)
    with pytest.raises(BadInput, match=name):
        RunFolder.open(tmp_path, SETTINGS, VERSIONS, PRODUCTS, fresh=True)


def test_settings_are_compared_as_the_file_gives_them_back(tmp_path: Path) -> None:
    for _ in range(2):
        open_study(tmp_path, weights=(0, 1.5, 1e-7)).close()
    file = tmp_path / "settings.yaml"
    file.write_text(file.read_text() + "1: 2\n")
    with pytest.raises(BadInput, match="1=2, not None"):
        open_study(tmp_path, weights=(0, 1.5, 1e-7))


def test_fresh_leaves_the_work_of_others_alone(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("theme: dark\n")
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "theirs").write_text("keep")
    with pytest.raises(BadInput, match=r"'settings\.yaml', but no search made this folder"):
        RunFolder.open(tmp_path, SETTINGS, VERSIONS, PRODUCTS, fresh=True)
    assert (tmp_path / "events" / "theirs").read_text() == "keep"
    assert yaml.safe_load((tmp_path / "settings.yaml").read_text()) == {"theme": "dark"}


def test_fresh_clears_a_study(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    study.append("done", {"ok": True})
    study.close()
    for name in ("events", "top"):
        (tmp_path / name).mkdir()
    for name in ("optuna.log", "best.yaml", "optuna-notes.txt"):
        (tmp_path / name).write_text("x")
    study = RunFolder.open(tmp_path, SETTINGS, VERSIONS, PRODUCTS, fresh=True)
    assert study.result is None and (tmp_path / "journal.jsonl").stat().st_size == 0
    study.close()
    names = sorted(item.name for item in tmp_path.iterdir())
    assert names == [".lock", "journal.jsonl", "optuna-notes.txt", "settings.yaml"]


def test_a_full_disk_loses_nothing_that_was_written(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    study.append("checkpoint", {"seen": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "journal.jsonl").stat().st_size + 20, hard))
    try:
        with pytest.raises(BadInput, match="cannot write journal"):
            study.append("checkpoint", {"seen": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert study.latest("checkpoint") == {"seen": 1}
    study.append("checkpoint", {"seen": 3})
    study.close()
    again = open_study(tmp_path)
    assert again.latest("checkpoint") == {"seen": 3} and not again.notes
    again.close()


def test_a_run_that_came_to_nothing_leaves_nothing_but_what_was_there(tmp_path: Path) -> None:
    new = open_study(tmp_path / "new")
    new.undo()
    new.close()
    assert not (tmp_path / "new").exists()
    (tmp_path / "old" / "top").mkdir(parents=True)
    old = open_study(tmp_path / "old")
    old.undo()
    old.close()
    assert (tmp_path / "old" / "top").is_dir()
    kept = open_study(tmp_path / "kept")
    kept.append("round", {"at": 1})
    kept.undo()
    kept.close()
    assert open_study(tmp_path / "kept").latest("round") == {"at": 1}
