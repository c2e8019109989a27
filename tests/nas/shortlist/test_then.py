"""``nas search ... --then distill`` as a user runs it, with a space and pictures so small that it takes seconds."""

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

from nas.cli import main
from nas.searcher.api import search
from nas.shortlist.pick import pick, ruler, stock_models
from tests.distill.taught import taught, write_pictures
from tests.nas.process import nas
from zoo.weights.checkpoint import read_manifest, save

SPACE = """
name: little
doc: For a test.
style: res
act: relu
channels: 8
stem: {out: 16, k: 3, focus: true}
stages:
  - {kind: k1kx, stride: 2, out: 16, btn: 8..16, depth: 1}
  - {kind: k1kx, stride: 2, out: 16..32, btn: 8..16, depth: 1}
  - {kind: k1kx, stride: 2, out: 24..48, btn: 16..32, depth: 1}
  - {kind: k1kx, stride: 2, out: 32..64, btn: 16..48, depth: 1}
neck: {out: [16, 16, 16], depth: 0.34}
head: {classes: 3}
"""
SEARCH = ["search", "--space", "little.yaml", "--device", "t4", "--budget", "5ms", "--input", "64", "--no-pictures", "--quiet"]
THEN = [
    "--then", "distill", "--teacher", "teacher.safetensors", "--data", "data", "--top", "3", "--epochs", "2", "--batch", "8", "--train-data-workers", "1",
    "--train-set", "augmentation=none", "--against", "yolox-nano",
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the space, pictures and a teacher that knows them."""
    folder = tmp_path_factory.mktemp("then")
    (folder / "little.yaml").write_text(SPACE)
    write_pictures(folder / "data")
    save(taught(), folder / "teacher.safetensors")
    return folder


def without_seconds(told: Any) -> Any:
    """What is told of a shortlist but for the time it took."""
    if isinstance(told, dict):
        return {key: without_seconds(value) for key, value in told.items() if key not in ("seconds", "folder")}
    return [without_seconds(one) for one in told] if isinstance(told, list) else told


def test_the_shortlist_is_trained_beside_a_stock_model_and_goes_on_to_the_same(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    args = [*(word for word in SEARCH if word != "--no-pictures"), *THEN, "--name", "s", "--json"]
    assert main(args) == 0
    told = json.loads(capsys.readouterr().out)["trained"]
    assert told["format"] == "nas-trained-1" and told["cost"] == "latency_ms" and told["rungs"] == [{"epoch": 1, "candidates": 3}, {"epoch": 2, "candidates": 2}]
    kinds = [(row["stock"], row["epochs"]) for row in told["trained"]]
    assert kinds == [(False, 2), (False, 2), (True, 2)] and [row["epochs"] for row in told["dropped"]] == [1]
    assert told["front"] and told["against"][0]["stock"] == "yolox-nano"
    run = Path("runs/s/trained")
    assert (run / "front.png").read_bytes()[:4] == b"\x89PNG" and len((run / "trained.csv").read_text().splitlines()) == 5
    for one in told["trained"]:
        lineage = read_manifest(run / one["checkpoint"]).info.lineage
        assert [entry["role"] for entry in lineage] == ["teacher"]
    assert not list(run.rglob("resume.pt"))
    # as kill -9 leaves it while the last record is written: one training is done again, and to the same answer
    journal = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (run / "journal.jsonl").write_bytes(b"".join(journal[:-1]) + journal[-1][:40])
    assert main(args) == 0
    assert without_seconds(json.loads(capsys.readouterr().out)["trained"]) == without_seconds(told)
    assert main(args[:-1]) == 0
    text = capsys.readouterr().out
    assert "rungs: 3 to epoch 1, 2 to epoch 2" in text and "yolox-nano" in text and "one training each" in text


def test_who_goes_on_ends_with_the_bits_of_a_plain_training(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import load_file

    monkeypatch.chdir(home)
    run = Path("runs/s/trained")
    if not (run / "trained.json").exists():
        pytest.skip("stands on the run of the test before")
    name = next(row["name"] for row in json.loads((run / "trained.json").read_text())["trained"] if not row["stock"])
    args = ["distill", str(run / f"{name}.yaml"), "--teacher", "teacher.safetensors", "--data", "data", "--input", "64", "--epochs", "2", "--batch", "8"]
    assert main([*args, "--data-workers", "1", "--set", "augmentation=none", "--name", "plain", "--quiet"]) == 0
    capsys.readouterr()
    ours, theirs = load_file(run / "runs" / name / "last.safetensors"), load_file("runs/plain/last.safetensors")
    assert ours.keys() == theirs.keys() and all((ours[key] == theirs[key]).all() for key in ours)


def test_candidates_are_spread_and_stock_models_are_near(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    result = search("5ms", "t4", space="little.yaml", input_px=64, name="pick", pictures=False)
    assert ruler(result) == "latency_ms"
    found = pick(result, 4)
    assert len({one.architecture.digest() for one in found}) == len(found) == 4
    assert [one.cost for one in found] == sorted((one.cost for one in found), reverse=True)
    assert max(one.score for one in found) == max(float(line["score"]) for line in result.front)
    near = stock_models(result, found, None)
    assert len(near) == 3 and all(one.cost > 0 for one in near)
    assert [one.model for one in stock_models(result, found, ["yoloxnano", "yolox-nano"])] == ["yolox-nano"]


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_to_the_same(home: Path) -> None:
    whole = nas(*SEARCH, *THEN, "--name", "whole", cwd=home)
    assert whole.wait(timeout=600) == 0
    process = nas(*SEARCH, *THEN, "--name", "killed", cwd=home)
    journal = home / "runs" / "killed" / "trained" / "journal.jsonl"
    began = time.monotonic()
    while (not journal.exists() or len(journal.read_bytes().splitlines()) < 3) and time.monotonic() - began < 300:
        time.sleep(0.1)
    time.sleep(1.0)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=120)
    again = nas(*SEARCH, *THEN, "--name", "killed", cwd=home)
    assert again.wait(timeout=600) == 0
    ours, theirs = (json.loads((home / "runs" / name / "trained" / "trained.json").read_text()) for name in ("whole", "killed"))
    assert without_seconds(ours) == without_seconds(theirs)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--epochs", "4"], "--epochs says how the shortlist is trained: add --then"),
        (["--train-set", "lr=0.1"], "--train-set says how"),
        (["--then", "train"], "needs --data"),
        (["--then", "distill", "--data", "data"], "needs --teacher"),
        (["--then", "train", "--data", "data", "--teacher", "x.safetensors"], "say --then distill"),
        (["--then", "train", "--data", "nowhere"], "no such file or folder"),
        (["--then", "train", "--data", "data", "--top", "0"], "--top 0"),
        (["--then", "train", "--data", "data", "--against", "nope"], "nope"),
        (["--then", "distill", "--data", "data", "--teacher", "yolo11n"], "has no trained weights"),
    ],
)
def test_bad_input_is_one_line_before_the_search(
    args: list[str], words: str, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    assert main([*SEARCH, *args, "--name", "bad"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("nas: ") and words in err and len(err.strip().splitlines()) == 1
    assert not (home / "runs" / "bad").exists()
