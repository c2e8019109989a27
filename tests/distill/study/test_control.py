"""``nas distill --control``, chains and teachers by name, as a user runs them on a set of ten pictures."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("pycocotools")

from distill.study.control import order
from distill.study.control_result import PLAIN, TAUGHT, ControlResult
from distill.study.subruns import SubRunResult, SubRuns
from distill.teach.request import TeacherRequest
from nas.cli import main
from tests.distill.taught import taught, untaught, write_pictures
from tests.distill.tiny import tiny_detector
from tests.nas.process import nas
from workbench.errors import BadInput
from workbench.run_folder import RunFiles, RunFolder
from zoo.weights.checkpoint import read_manifest, save

ARGS = [
    "--data",
    "data",
    "--input",
    "64",
    "--epochs",
    "1",
    "--batch",
    "8",
    "--data-workers",
    "1",
    "--quiet",
    "--set",
    "closing_epochs=1",
    "--set",
    "augmentation=none",
]
CONTROL = ["distill", "student.safetensors", "--teacher", "teacher.safetensors", *ARGS, "--control", "--seeds", "2"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, a teacher that knows them, and a student that half does."""
    folder = tmp_path_factory.mktemp("control")
    write_pictures(folder / "data")
    save(taught(), folder / "teacher.safetensors")
    save(taught(), folder / "student.safetensors")
    arch = tiny_detector().recipe.architecture
    assert arch is not None
    (folder / "tiny.yaml").write_text(arch.to_yaml())
    return folder


def without_seconds(told: Any) -> Any:
    """What a comparison says but for the time it took."""
    if isinstance(told, dict):
        return {key: without_seconds(value) for key, value in told.items() if key not in ("seconds", "folder")}
    return [without_seconds(one) for one in told] if isinstance(told, list) else told


def test_a_control_states_its_gain_and_goes_on_to_the_same(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    assert main([*CONTROL, "--name", "c", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["seeds"] == [0, 1] and told["format"] == "nas-control-1" and told["ap"]["plain"] > 0.1
    assert (
        told["gain"] == pytest.approx(sum(told["differences"]) / 2)
        and told["interval"][0] <= told["gain"] <= told["interval"][1]
    )
    run = Path("runs/c")
    assert json.loads((run / "control.json").read_text())["differences"] == told["differences"]
    assert len((run / "control.csv").read_text().splitlines()) == 3 and list((run / "events").iterdir())
    assert not list(run.rglob("resume.pt"))
    roles = [
        one.get("role") for one in read_manifest(run / "control" / "seed-0-taught" / "best.safetensors").info.lineage
    ]
    assert (
        roles == ["teacher"] and not read_manifest(run / "control" / "seed-0-plain" / "best.safetensors").info.lineage
    )
    # as kill -9 leaves it in the middle of the last run's journal record: that run is done again, and no other
    journal = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (run / "journal.jsonl").write_bytes(b"".join(journal[:-1]) + journal[-1][:40])
    stamps = {seed: (run / "control" / f"seed-{seed}-plain" / "last.safetensors").stat().st_mtime_ns for seed in (0, 1)}
    assert main([*CONTROL, "--name", "c", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert without_seconds(again) == without_seconds(told)
    assert stamps == {
        seed: (run / "control" / f"seed-{seed}-plain" / "last.safetensors").stat().st_mtime_ns for seed in (0, 1)
    }
    # the words, from the journal alone
    assert main([*CONTROL, "--name", "c"]) == 0
    text = capsys.readouterr().out
    assert "AP without" in text and "95 % interval" in text and "2 seeds, paired" in text


@pytest.mark.slow
def test_killed_at_any_moment_a_control_goes_on_to_the_same(home: Path) -> None:
    def answer(name: str) -> Any:
        return without_seconds(json.loads((home / "runs" / name / "control.json").read_text()))

    whole = nas(*CONTROL, "--name", "whole", cwd=home)
    assert whole.wait(timeout=600) == 0
    process = nas(*CONTROL, "--name", "killed", cwd=home)
    journal = home / "runs" / "killed" / "journal.jsonl"
    began = time.monotonic()
    while (not journal.exists() or journal.stat().st_size == 0) and time.monotonic() - began < 300:
        time.sleep(0.1)
    time.sleep(1.5)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=120)
    again = nas(*CONTROL, "--name", "killed", cwd=home)
    assert again.wait(timeout=600) == 0
    assert answer("killed") == answer("whole")


@pytest.mark.slow
def test_a_teacher_that_harms_is_found_early_and_stopped(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    save(untaught(), home / "ignorant.safetensors")
    longer = [word if word != "1" or ARGS[at - 1] != "--epochs" else "9" for at, word in enumerate(ARGS)]
    args = [
        "distill",
        "student.safetensors",
        "--teacher",
        "ignorant.safetensors",
        "--share",
        "1000",
        *longer,
        "--control",
        "--seeds",
        "3",
        "--stop-when-harmful",
    ]
    assert main([*args, "--name", "h", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "harms" and told["stopped"] and told["gain"] < -0.05
    assert told["alarm"]["seed"] == 0 and told["alarm"]["epoch"] < 9 and list(told["runs"]["taught"]) == ["0"]
    assert main([*args, "--name", "h", "--json"]) == 0
    assert without_seconds(json.loads(capsys.readouterr().out)) == without_seconds(told)


def test_a_chain_hands_its_lineage_on(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    args = [
        "distill",
        "tiny.yaml",
        "--teacher",
        "teacher.safetensors",
        "--chain",
        "tiny.yaml",
        *ARGS,
        "--features",
        "--responses",
        "overlap",
        "--name",
        "chain",
    ]
    assert main([*args, "--json"]) == 0
    capsys.readouterr()
    link, last = Path("runs/chain/chain/1-tiny"), Path("runs/chain")
    first, second = (read_manifest(folder / "best.safetensors").info.lineage for folder in (link, last))
    assert len(first) == 1 and len(second) == 2 and second[0] == first[0] and second[1]["licence"] == "own"
    stamp = (link / "last.safetensors").stat().st_mtime_ns
    assert main([*args, "--json"]) == 0
    capsys.readouterr()
    assert (link / "last.safetensors").stat().st_mtime_ns == stamp
    assert main(["zoo", "show", "runs/chain/best.safetensors", "--json"]) == 0
    use = json.loads(capsys.readouterr().out)["commercial_use"]
    assert len(use["reasons"]) == 3


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--teacher", "teacher.safetensors", "--seeds", "3"], "belong to --control"),
        (["--teacher", "teacher.safetensors", "--control", "--seeds", "0"], "--seeds 0 must be from 1"),
        (["--teacher", "yolo11n", "--teacher", "yolox-s"], "--teacher 'yolo11n' has no trained weights"),
        (["--teacher", "yolo11n", "--teacher-weights", "a", "--teacher-weights", "b"], "given 2 times for 1 teacher"),
        (["--teacher", "self", "--teacher", "self"], "given twice"),
        (["--teacher", "self", "--chain", "yolox-s"], "begins no chain"),
        (["--teacher", "teacher.safetensors", "--chain", "yolox-s,"], "--chain 'yolox-s,'"),
        (["--teacher", "teacher.safetensors", "--chain", "nope"], "nope"),
        (["--teacher", "nowhere.safetensors", "--control"], "nowhere.safetensors"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    args: list[str], words: str, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    assert main(["distill", "tiny.yaml", *args, *ARGS, "--name", "bad"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("nas: ") and words in err and len(err.strip().splitlines()) == 1
    assert not (home / "runs" / "bad").exists()


def test_weights_find_their_teachers() -> None:
    assert TeacherRequest(("a", "b.safetensors", "self", "c"), ("x", "y")).sources() == [
        ("a", "x"),
        ("b.safetensors", "b.safetensors"),
        ("self", ""),
        ("c", "y"),
    ]
    assert TeacherRequest(("a.safetensors",), ("x",)).sources() == [("a.safetensors", "x")]
    with pytest.raises(BadInput, match="add --teacher-weights"):
        TeacherRequest(("a", "b"), ("x",)).sources()


def test_plain_runs_lead_so_that_chance_is_known() -> None:
    assert list(order(5, 2)) == [(PLAIN, 5), (PLAIN, 6), (TAUGHT, 5), (TAUGHT, 6)]
    arms = list(order(0, 5))
    assert arms[:4] == [(PLAIN, 0), (PLAIN, 1), (PLAIN, 2), (TAUGHT, 0)] and len(arms) == 10
    assert all(arms.index((PLAIN, seed)) < arms.index((TAUGHT, seed)) for seed in range(5))


def trial(*aps: float) -> SubRunResult:
    return SubRunResult("x", {at: ap for at, ap in enumerate(aps, start=1)}, len(aps), 10.0)


def test_what_is_said_follows_from_the_interval() -> None:
    def answer(gains: list[float]) -> ControlResult:
        return ControlResult(
            Path("r"),
            {s: trial(0.1, 0.3) for s in range(len(gains))},
            {s: trial(0.1, 0.3 + g) for s, g in enumerate(gains)},
            None,
            False,
        )

    assert "THE TEACHER HARMS" in answer([-0.02, -0.021, -0.022]).conclusion()
    assert "the teacher helps" in answer([0.02, 0.021, 0.022]).conclusion()
    assert "NOTHING SHOWN" in answer([-0.02, 0.02]).conclusion()
    assert "One seed has no interval" in answer([0.02]).conclusion() and answer([0.02]).to_dict()["interval"] is None
    assert (
        "AP is 0"
        in ControlResult(
            Path("r"), {0: trial(0.0), 1: trial(0.0)}, {0: trial(0.0), 1: trial(0.0)}, None, False
        ).conclusion()
    )


def test_a_stopped_run_is_compared_where_it_was_stopped() -> None:
    found = ControlResult(
        Path("r"), {0: trial(0.1, 0.2, 0.3), 1: trial(0.1, 0.2, 0.4)}, {0: trial(0.1, 0.1)}, (0, 2), True
    )
    assert found.epoch == 2 and found.gain.differences == pytest.approx((-0.1,)) and found.verdict == "harms"
    assert "stopped after epoch 2 of seed 0" in str(found) and found.to_dict()["alarm"] == {"seed": 0, "epoch": 2}


def test_a_trial_is_what_the_journal_says(tmp_path: Path) -> None:
    products = RunFiles("control", (), ())
    folder = RunFolder.open(tmp_path / "r", {"a": 1}, {"nas": "0"}, products)
    runs = SubRuns(folder, "control")
    assert runs.done("seed 0 plain") is None
    folder.append("seed 0 plain", trial(0.1, 0.25).to_dict())
    folder.close()
    folder = RunFolder.open(tmp_path / "r", {"a": 1}, {"nas": "0"}, products)
    assert SubRuns(folder, "control").done("seed 0 plain") == trial(0.1, 0.25)
    folder.close()
