"""``nas distill`` as a user runs it: kill and resume with and without the cache, what is left of the teacher, bad
input."""

from __future__ import annotations

import dataclasses
import random
import re
import signal
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("pycocotools")
from safetensors.torch import load_file

import distill.teach.teacher
from distill.data.formats.readers import open_data
from distill.teach.request import TeacherRequest
from distill.teach.teacher import cpu_is_fast_in_half
from distill.train.transfer import adapt_classes
from nas.cli import main
from tests.distill.tiny import furnish
from tests.nas.process import nas
from zoo.factory import build
from zoo.weights.checkpoint import read_manifest, save

EPOCHS = 4
WITH = ["distill", "tiny.yaml", "--data", "data", "--teacher", "teacher.safetensors"]
ARGS = [
    *WITH,
    "--input",
    "64",
    "--epochs",
    str(EPOCHS),
    "--batch",
    "4",
    "--data-workers",
    "1",
    "--set",
    "closing_epochs=1",
]
CACHED = ["--cache-views", "1"]
KINDS = {"live": [], "cached": CACHED}
PART = [*CACHED, "--cache-gb", "0.0002"]
"""Room for some of the pictures only: some records of a batch are read and the others asked for each time."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a synthetic set ``data``, an architecture ``tiny.yaml``, teachers, and finished runs, one of each
    kind."""
    folder = tmp_path_factory.mktemp("distill")
    furnish(folder, 16)
    torch.manual_seed(7)
    teacher, _ = adapt_classes(build("yolox-nano", 80), open_data(folder / "data", "train").classes)
    save(teacher, folder / "teacher.safetensors")
    stranger = build("yolox-nano", 3)
    stranger.info = dataclasses.replace(stranger.info, class_names=("cat", "dog", "cow"))
    save(stranger, folder / "stranger.safetensors")
    (folder / "broken.safetensors").write_bytes((folder / "teacher.safetensors").read_bytes()[:5000])
    running = {kind: nas(*ARGS, *more, "--name", kind, cwd=folder) for kind, more in KINDS.items()}
    for kind, process in running.items():
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        (folder / f"{kind}.err").write_text(err)
    return folder


def same_weights(home: Path, one: str, other: str) -> bool:
    ours, theirs = (load_file(home / "runs" / run / "last.safetensors") for run in (one, other))
    return ours.keys() == theirs.keys() and all((ours[k] == theirs[k]).all() for k in ours)


def test_hours_and_gigabytes_are_told_before_the_first_step(home: Path) -> None:
    for kind, words in (
        ("live", r"teacher: runs in 1\d of 16 steps and takes \d+ % of each; about \S+ \S+ on this machine, "),
        (
            "cached",
            r"teacher: 1\d images x 1 view \+ 1 of the last epochs, 0\.\d+ MB each: 0\.\d+ GB of 20 GB budget; about ",
        ),
    ):
        lines = (home / f"{kind}.err").read_text().splitlines()
        told = next(at for at, line in enumerate(lines) if line.startswith("teacher: "))
        assert re.search(words, lines[told]), lines[told]
        assert not any(line.startswith("epoch") for line in lines[:told])


def test_the_student_leaves_clean_and_the_cache_goes_with_the_run(home: Path) -> None:
    for kind in KINDS:
        run = home / "runs" / kind
        tensors = load_file(run / "last.safetensors")
        assert tensors.keys() == load_file(run / "best.safetensors").keys() and not any(
            "align" in name or "features." in name for name in tensors
        )
        assert [one["model"] for one in read_manifest(run / "last.safetensors").info.lineage] == ["yolox-nano"]
        assert not (run / "teacher-cache").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_moment_it_goes_on_to_the_same_bits(kind: str, home: Path) -> None:
    kill_and_go_on([*ARGS, *KINDS[kind], "--name", f"killed-{kind}"], home, random.Random(kind).uniform(0.0, 2.0))
    assert same_weights(home, f"killed-{kind}", kind)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.3, 0.8, 1.4])
def test_killed_with_a_cache_too_small(moment: float, home: Path) -> None:
    whole = nas(*ARGS, *PART, "--name", f"part-{moment}", cwd=home)
    _, err = whole.communicate(timeout=300)
    assert whole.returncode == 0 and re.search(
        r"0\.000\d+ GB of 0\.0002 GB budget \(all would be 0\.000\d+ GB\)", err
    ), err
    kill_and_go_on([*ARGS, *PART, "--name", f"killed-part-{moment}"], home, moment)
    assert same_weights(home, f"killed-part-{moment}", f"part-{moment}")


def kill_and_go_on(args: list[str], home: Path, moment: float) -> None:
    """Kill the command ``moment`` seconds after its journal was made, and run it again to its end."""
    process = nas(*args, "--quiet", cwd=home)
    journal = home / "runs" / args[-1] / "journal.jsonl"
    began = time.monotonic()
    while not journal.exists() and process.poll() is None and time.monotonic() - began < 120:
        time.sleep(0.05)
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=120)
    again = nas(*args, "--quiet", cwd=home)
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err


def test_a_cache_is_shared_stays_and_is_not_taken_for_another(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    shared = [*ARGS, *CACHED, "--cache", "kept", "--quiet"]
    assert nas(*shared, "--name", "first", cwd=home).wait(300) == 0
    files = {file: file.stat().st_mtime_ns for file in Path("kept").glob("*/*.records")}
    assert {file.name for file in files} == {"view-000.records", "closing-000.records"}
    assert nas(*shared, "--name", "second", cwd=home).wait(300) == 0
    # nothing was asked, hence nothing written
    assert {file: file.stat().st_mtime_ns for file in Path("kept").glob("*/*.records")} == files
    assert same_weights(home, "first", "cached") and same_weights(home, "second", "cached")
    assert main([*shared, "--name", "third", "--seed", "1", "--epochs", "2"]) == 0
    assert len(list(Path("kept").iterdir())) == 2
    assert all(file.stat().st_mtime_ns == at for file, at in files.items())
    capsys.readouterr()
    told = next(iter(files)).parent / "cache.json"
    told.write_text(told.read_text().replace('"seed": 0', '"seed": 7'))
    assert main([*shared, "--name", "fourth"]) == 2
    err = capsys.readouterr().err
    assert (
        "was made for seed=7, not 0" in err
        and "choose another with --cache" in err
        and len(err.strip().splitlines()) == 1
    )


def test_half_precision_of_the_teacher_is_settled_once(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    assert f"teacher_half: {str(cpu_is_fast_in_half()).lower()}" in Path("runs/live/settings.yaml").read_text()
    other = "--no-teacher-half" if cpu_is_fast_in_half() else "--teacher-half"
    assert main([*ARGS, "--name", "live", other, "--quiet"]) == 2
    err = capsys.readouterr().err
    assert "was made with teacher_half=" in err and len(err.strip().splitlines()) == 1
    for able in (False, True):
        monkeypatch.setattr(distill.teach.teacher, "cpu_is_fast_in_half", lambda able=able: able)
        one, own = TeacherRequest(("a.safetensors",)), TeacherRequest(("a.safetensors", "self"))
        assert one.with_precision("cpu", "fp32").half is able
        assert not one.with_precision("cuda", "fp32").half and not own.with_precision("cpu", "fp32").half
        assert all(each.with_precision(device, "bf16").half for each in (one, own) for device in ("cpu", "cuda"))
        assert dataclasses.replace(one, half=True).with_precision("cuda", "fp32").half
        assert dataclasses.replace(one, half=False).with_precision("cpu", "bf16").half is False


def test_fresh_clears_a_cache_that_was_left(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    left = Path("runs/live/teacher-cache")
    left.mkdir()
    (left / "view-000.records").write_bytes(b"x" * 100)
    assert main([*ARGS, "--name", "live", "--fresh", "--quiet", "--epochs", "1"]) == 0
    assert not left.exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([*ARGS, "--teacher-input", "100"], "the teacher's input of 100 pixels must be a multiple of 32"),
        ([*WITH, "--input", "100"], "--input 100 must be a multiple of 32"),
        ([*ARGS, "--features", "cwdd"], "unknown feature distillation 'cwdd'"),
        ([*ARGS, "--responses", "logits"], "unknown response distillation 'logits'"),
        ([*ARGS, "--features", "--responses"], "nothing is distilled"),
        ([*ARGS, "--share", "0"], "share of"),
        ([*ARGS, "--share", "nan"], "share of"),
        ([*ARGS, "--cache", "somewhere"], "add --cache-views"),
        ([*ARGS, "--cache-gb", "3"], "add --cache-views"),
        ([*ARGS, "--cache-views", "2", "--cache-gb", "-1"], "--cache-gb -1.0: must be a number at least 0"),
        ([*ARGS, "--cache-views", "-1"], "views -1: must be a whole number from 0"),
        ([*ARGS[:4], "--teacher", "yolo99", "--teacher-weights", "teacher.safetensors"], "yolo99"),
        ([*ARGS[:4], "--teacher", "yolox-nano"], "add --teacher-weights FILE"),
        (
            [*ARGS[:4], "--teacher", "yolox-tiny", "--teacher-weights", "teacher.safetensors"],
            "are of yolox-nano, not of yolox-tiny",
        ),
        ([*ARGS[:4], "--teacher", "nowhere.safetensors"], "nowhere.safetensors"),
        ([*ARGS[:4], "--teacher", "broken.safetensors"], "broken.safetensors"),
        ([*ARGS[:4], "--teacher", "stranger.safetensors"], "student and teacher share no class"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    args: list[str], words: str, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    before = sorted(p.name for p in (home / "runs").iterdir())
    assert main(args) == 2
    err = capsys.readouterr().err
    assert err.startswith("nas: ") and words in err and len(err.strip().splitlines()) == 1
    assert sorted(p.name for p in (home / "runs").iterdir()) == before
