"""``nas train`` and ``nas eval`` as a user runs them: kill, resume, interrupt, bad input."""

from __future__ import annotations

import json
import random
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("pycocotools")
from safetensors.torch import load_file

from distill.data.synthetic.synth import make
from nas.cli import main
from tests.distill.tiny import furnish, tiny_detector
from tests.nas.process import nas
from zoo.weights.checkpoint import read_manifest

EPOCHS = 2
ARGS = [
    "--input",
    "64",
    "--epochs",
    str(EPOCHS),
    "--batch",
    "4",
    "--data-workers",
    "1",
    "--quiet",
    "--set",
    "closing_epochs=1",
    "--set",
    "freeze_bn_from=0.6",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a synthetic set ``data``, an architecture ``tiny.yaml`` and a finished run ``whole``."""
    folder = tmp_path_factory.mktemp("train")
    furnish(folder, 30)
    done = nas("train", "tiny.yaml", "--data", "data", "--name", "whole", *ARGS, cwd=folder)
    out, err = done.communicate(timeout=300)
    assert done.returncode == 0, err
    assert "best.safetensors" in out
    return folder


def test_a_run_leaves_what_it_says(home: Path) -> None:
    run = home / "runs" / "whole"
    assert {p.name for p in run.iterdir()} >= {
        "best.safetensors",
        "last.safetensors",
        "resume.pt",
        "settings.yaml",
        "journal.jsonl",
        "events",
    }
    manifest = read_manifest(run / "best.safetensors")
    assert manifest.info.input_px == 64 and manifest.info.category_ids and "recipe" in manifest.info.provenance
    records = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    epochs = [r["data"] for r in records if r["kind"] == "epoch"]
    assert [e["epoch"] for e in epochs] == [1, 2] and all("ap" in e and len(e["losses"]) >= 3 for e in epochs)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_stopped_at_any_moment_it_goes_on_to_the_same_bits(blow: signal.Signals, home: Path) -> None:
    name = f"run-{blow.name}"
    moment = random.Random(int(blow)).uniform(0.0, 2.5)
    process = nas("train", "tiny.yaml", "--data", "data", "--name", name, *ARGS, cwd=home)
    journal = home / "runs" / name / "journal.jsonl"
    began = time.monotonic()
    while not journal.exists() and time.monotonic() - began < 120:
        time.sleep(0.05)
    time.sleep(moment)
    process.send_signal(blow)
    _, err = process.communicate(timeout=120)
    if blow is signal.SIGINT and process.returncode:
        assert process.returncode == 130 and "resumes from here" in err and "Traceback" not in err
    again = nas("train", "tiny.yaml", "--data", "data", "--name", name, *ARGS, cwd=home)
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    ours, theirs = (load_file(home / "runs" / run / "last.safetensors") for run in (name, "whole"))
    assert ours.keys() == theirs.keys() and all((ours[k] == theirs[k]).all() for k in ours)


def test_a_finished_run_is_not_run_again(home: Path) -> None:
    before = (home / "runs" / "whole" / "last.safetensors").stat().st_mtime_ns
    again = nas("train", "tiny.yaml", "--data", "data", "--name", "whole", *ARGS, cwd=home)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert "best.safetensors" in out and (home / "runs" / "whole" / "last.safetensors").stat().st_mtime_ns == before


def test_other_settings_need_another_name(home: Path) -> None:
    again = nas("train", "tiny.yaml", "--data", "data", "--name", "whole", "--seed", "1", *ARGS, cwd=home)
    _, err = again.communicate(timeout=120)
    assert again.returncode == 2 and "was made with seed=0, not 1" in err and len(err.strip().splitlines()) == 1


def test_a_damaged_state_is_refused(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path / "home")
    state = tmp_path / "home" / "runs" / "whole" / "resume.pt"
    state.write_bytes(state.read_bytes()[:1000])
    again = nas("train", "tiny.yaml", "--data", "data", "--name", "whole", *ARGS, cwd=tmp_path / "home")
    _, err = again.communicate(timeout=120)
    assert (
        again.returncode == 2
        and "cannot resume from" in err
        and "--fresh" in err
        and len(err.strip().splitlines()) == 1
    )


def test_eval_says_what_pycocotools_says_and_shards_join(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(home)
    model = "runs/whole/best.safetensors"
    assert main(["eval", model, "--data", "data", "--json", "--out", str(tmp_path / "all.json"), "--batch", "3"]) == 0
    whole = json.loads(capsys.readouterr().out)
    for k in range(2):
        assert (
            main(
                ["eval", model, "--data", "data", "--shard", f"{k}/2", "--out", str(tmp_path / f"{k}.json"), "--quiet"]
            )
            == 0
        )
    capsys.readouterr()
    assert (
        main(
            ["eval", model, "--data", "data", "--json", "--results", str(tmp_path / "0.json"), str(tmp_path / "1.json")]
        )
        == 0
    )
    joined = json.loads(capsys.readouterr().out)
    for key in ("ap", "ap50", "per_class", "confusion"):
        assert joined[key] == whole[key]
    assert main(["eval", model, "--data", "data", "--per-class", "--confusion", "--quiet"]) == 0
    text = capsys.readouterr().out
    assert "AP50" in text and "nothing" in text


def test_a_file_that_vanishes_or_breaks_ends_the_run_with_its_name_and_loses_nothing(
    home: Path, tmp_path: Path
) -> None:
    shutil.copytree(home / "data", tmp_path / "data")
    shutil.copy(home / "tiny.yaml", tmp_path)
    victim = sorted((tmp_path / "data" / "images" / "train").iterdir())[3]
    good = victim.read_bytes()
    args = ["train", "tiny.yaml", "--data", "data", "--name", "r", *ARGS, "--set", "augmentation=none"]
    for spoil in (victim.unlink, lambda: victim.write_bytes(good[: len(good) // 2])):
        spoil()
        process = nas(*args, cwd=tmp_path)
        _, err = process.communicate(timeout=200)
        assert process.returncode == 2 and victim.name in err and len(err.strip().splitlines()) == 1, err
        victim.write_bytes(good)
    assert (tmp_path / "runs" / "r" / "resume.pt").exists()
    # The run has seen the image broken; that it is another one now has to be said.
    process = nas(*args, "--accept-changed-data", cwd=tmp_path)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err


def test_a_full_disk_ends_the_run_in_one_line_and_keeps_the_state(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "data", tmp_path / "data")
    shutil.copy(home / "tiny.yaml", tmp_path)
    most = 1_000_000  # bytes of a file; the state of the tiny detector has more

    def little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    process = nas("train", "tiny.yaml", "--data", "data", "--name", "r", *ARGS, cwd=tmp_path, before=little_room)
    _, err = process.communicate(timeout=200)
    assert (
        process.returncode == 2
        and "cannot write" in err
        and "Traceback" not in err
        and len(err.strip().splitlines()) == 1
    ), err
    process = nas("train", "tiny.yaml", "--data", "data", "--name", "r", *ARGS, cwd=tmp_path)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    ours, theirs = load_file(tmp_path / "runs" / "r" / "last.safetensors"), load_file(
        home / "runs" / "whole" / "last.safetensors"
    )
    assert all((ours[k] == theirs[k]).all() for k in ours)


def test_ids_of_ones_own_an_empty_picture_and_a_crowd(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "mine"
    make(data, 10, 3, lambda text: None)
    for split in ("train", "val"):
        file = data / "annotations" / f"{split}.json"
        truth = json.loads(file.read_text())
        kept = {category["id"]: new for category, new in zip(truth["categories"][:3], (7, 90, 13), strict=True)}
        truth["categories"] = [{"id": kept[c["id"]], "name": c["name"]} for c in truth["categories"][:3]]
        first = truth["images"][0]["id"]
        truth["annotations"] = [
            a | {"category_id": list(kept.values())[a["id"] % 3]}
            for a in truth["annotations"]
            if a["image_id"] != first
        ]
        truth["annotations"][0]["iscrowd"] = 1
        file.write_text(json.dumps(truth))
    arch = tiny_detector().recipe.architecture
    assert arch is not None
    Path("tiny.yaml").write_text(arch.to_yaml())
    assert main(["train", "tiny.yaml", "--data", "mine", "--name", "r", *ARGS]) == 0
    capsys.readouterr()
    assert read_manifest("runs/r/best.safetensors").info.category_ids == (7, 13, 90)
    assert main(["eval", "runs/r/best.safetensors", "--data", "mine", "--json", "--out", "found.json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert sum(one["objects"] for one in told["per_class"].values()) == sum(
        not a["iscrowd"] for a in json.loads((data / "annotations" / "val.json").read_text())["annotations"]
    )
    assert {row["category_id"] for row in json.loads(Path("found.json").read_text())} <= {7, 90, 13}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["train", "tiny.yaml", "--data", "nowhere"], "no such file or folder"),
        (["train", "yolox-nanoo", "--data", "data"], "yolox-nanoo"),
        (["train", "tiny.yaml", "--data", "data", "--input", "100"], "--input 100 must be a multiple of 32"),
        (["train", "tiny.yaml", "--data", "data", "--epochs", "0"], "epochs 0"),
        (["train", "tiny.yaml", "--data", "data", "--recipe", "nope"], "unknown recipe 'nope'"),
        (["train", "tiny.yaml", "--data", "data", "--set", "lr"], "KEY=VALUE"),
        (["train", "tiny.yaml", "--data", "data", "--device", "tpu"], "--device 'tpu'"),
        (["train", "yolox-nano", "--data", "data", "--weights", "runs/whole/best.safetensors"], "not of yolox-nano"),
        (
            [
                "distill",
                "tiny.yaml",
                "--data",
                "data",
                "--teacher",
                "yolo11n",
                "--teacher-weights",
                "runs/whole/best.safetensors",
            ],
            "not of yolo11n",
        ),
        (["distill", "tiny.yaml", "--data", "data", "--teacher", "yolo11n"], "add --teacher-weights FILE"),
        (["train", "tiny.yaml", "--data", "data", "--seed", "-1"], "--seed -1"),
        (["eval", "yolox-nano", "--data", "data"], "no trained weights"),
        (["eval", "runs/whole/best.safetensors", "--data", "data", "--shard", "2/2"], "--shard '2/2'"),
        (["eval", "runs/whole/best.safetensors", "--data", "data", "--split", "test"], "no split 'test'"),
        (["eval", "runs/whole/best.safetensors", "--data", "data", "--results", "nope.json"], "cannot read results"),
    ],
)
def test_bad_input_is_one_line(
    args: list[str], words: str, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    before = sorted(p.name for p in (home / "runs").iterdir())
    assert main(args) == 2
    err = capsys.readouterr().err
    assert err.startswith("nas: ") and words in err and len(err.strip().splitlines()) == 1
    assert sorted(p.name for p in (home / "runs").iterdir()) == before
