"""``nas bench-scores --train``: a folder of detectors trained here, made, interrupted, gone on with and judged."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from nas.cli import main
from nas.devices.profile import load_device
from nas.evidence.own.design import designed_architectures
from nas.evidence.own.design_file import load_design
from nas.evidence.own.export import write_evidence
from nas.evidence.own.request import DEVICE
from nas.evidence.statistics.rank import default_bins
from nas.evidence.trained import read_trained
from search_spaces.architecture import Architecture
from search_spaces.lowering import lower
from tests.nas.evidence.own.test_design_file import plain
from tests.nas.process import ROOT, finish, nas
from workbench.doors.yaml import yaml_text
from zoo.resolve import load_checkpoint

pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("pycocotools")

TRAIN = [
    "bench-scores", "--data", "truth", "--train", "2", "--space", "res", "mob", "--seeds", "2", "--shrink", "8",
    "--input", "64", "--images", "10", "--epochs", "1",
    "--batch", "4", "--set", "warmup_epochs=0", "--score", "flops", "activations", "--draws", "20", "--json",
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is made without interruption, and what the command said."""
    home = tmp_path_factory.mktemp("whole")
    (home / "said.json").write_text(json.dumps(finish(nas(*TRAIN, "--quiet", cwd=home))))
    return home


def lines(folder: Path) -> list[dict[str, Any]]:
    """The readable file, without what a clock says."""
    records = [json.loads(line) for line in (folder / "trained.jsonl").read_text().splitlines()]
    for line in records:
        for run in line["runs"]:
            assert run.pop("seconds") > 0
    return records


def test_every_training_stands_in_the_readable_file(whole: Path) -> None:
    records = lines(whole / "truth")
    assert [(line["name"], line["space"]) for line in records] == [("res-001", "res"), ("mob-001", "mob")]
    points = read_trained(whole / "truth")
    for place, line in enumerate(records):
        arch = Architecture.from_dict(line["architecture"])
        assert arch.digest() == line["digest"] and lower(arch).digest() == points.graphs[line["name"]].digest()
        assert [run["seed"] for run in line["runs"]] == [0, 1] and all(run["epochs"] == 1 for run in line["runs"])
        aps = [run["ap"] for run in line["runs"]]
        assert points.target("map50_95")[place] == pytest.approx(sum(aps) / 2, abs=1e-6)
        assert [points.target(f"map50_95_seed{seed}")[place] for seed in (0, 1)] == pytest.approx(aps)
        assert points.latency["raspberry_pi_4_predicted_ms"][place] == pytest.approx(line["costs"]["latency_ms"])
    assert list(points.family) == ["res", "mob"] and set(points.input_px) == {64}
    settings = (whole / "truth" / "settings.yaml").read_text()
    assert str(whole) not in settings and "data: easy synthetic" in settings


def test_it_is_judged_again_without_training(
    whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(whole)
    before = {path.name: path.stat().st_mtime_ns for path in (whole / "truth").iterdir()}
    assert (
        main(
            ["bench-scores", "--data", "truth", "--score", "flops", "activations", "--draws", "20", "--json", "--quiet"]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out) == json.loads((whole / "said.json").read_text())
    assert {path.name: path.stat().st_mtime_ns for path in (whole / "truth").iterdir()} == before


@pytest.mark.slow
def test_killed_it_goes_on_to_the_same_weights(whole: Path, tmp_path: Path) -> None:
    process = nas(*TRAIN, cwd=tmp_path)
    journal = tmp_path / "truth" / "journal.jsonl"
    deadline = time.monotonic() + 120
    while not (journal.exists() and journal.read_text().count("\n") >= 1):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.communicate()
    first_record = journal.read_text().splitlines()[0]
    output = finish(nas(*TRAIN, cwd=tmp_path))
    assert journal.read_text().splitlines()[0] == first_record and output == json.loads(
        (whole / "said.json").read_text()
    )
    assert lines(tmp_path / "truth") == lines(whole / "truth")
    for name in ("accuracy.csv", "latency.csv", "graphs.jsonl.gz"):
        assert (tmp_path / "truth" / name).read_bytes() == (whole / "truth" / name).read_bytes()
    weights = sorted(path.relative_to(whole) for path in whole.glob("truth/runs/*/last.safetensors"))
    assert len(weights) == 4 and len({(whole / path).read_bytes() for path in weights}) == 4
    for path in weights:
        assert (tmp_path / path).read_bytes() == (whole / path).read_bytes()


def test_some_may_be_repeated_and_nothing_is_trained_twice(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole / "truth", tmp_path / "truth")
    journal = (tmp_path / "truth" / "journal.jsonl").read_bytes()
    finish(nas(*TRAIN, "--repeat", "1", cwd=tmp_path))
    assert (tmp_path / "truth" / "journal.jsonl").read_bytes() == journal
    assert [len(line["runs"]) for line in lines(tmp_path / "truth")] == [2, 1]
    points = read_trained(tmp_path / "truth")
    assert np.isnan(points.target("map50_95_seed1")).tolist() == [False, True]


@pytest.mark.parametrize("name", ["own-truth", "own-truth/levels", "whole"])
def test_the_folders_that_the_page_rests_on_hold_together(name: str) -> None:
    folder = ROOT / "docs" / "benchmarks" / name
    points, records = read_trained(folder), lines(folder)
    assert list(points.arch) == [line["name"] for line in records]
    for place, line in enumerate(records):
        arch = Architecture.from_dict(line["architecture"])
        assert arch.digest() == line["digest"] and points.graphs[line["name"]].digest() == lower(arch).digest()
        aps = [run["ap"] for run in line["runs"]]
        assert points.target("map50_95")[place] == pytest.approx(sum(aps) / len(aps), abs=1e-6)
    if name == "own-truth":
        assert default_bins(points.devices().values()) == 1


def test_the_kept_set_is_of_the_design_that_ships() -> None:
    folder = ROOT / "docs" / "benchmarks" / "own-truth" / "levels"
    settings = yaml.safe_load((folder / "settings.yaml").read_text())
    design, records = load_design("levels"), lines(folder)
    assert (settings["design"], settings["design_digest"]) == (design.name, design.digest)
    made = designed_architectures(design, load_device(DEVICE), 64, 3, 10, lambda text: None)
    assert [arch.architecture.digest() for arch in made] == [line["digest"] for line in records[:3]]
    assert [dict(arch.levels) for arch in made] == [line["levels"] for line in records[:3]]


def test_other_settings_are_refused(
    whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(whole)
    assert main([*TRAIN, "--epochs", "3"]) == 2
    assert ", of recipe" in capsys.readouterr().err


def test_a_design_is_trained_and_the_folder_can_be_read_as_it_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(yaml_text(plain(count=3)))
    seen: list[tuple[list[str], int]] = []

    def write(folder: Path, *of: Any) -> None:
        write_evidence(folder, *of)
        points = read_trained(folder)
        seen.append((list(points.arch), int((~np.isnan(points.target("map50_95"))).sum())))

    monkeypatch.setattr("nas.evidence.own.training.write_evidence", write)
    words = ["--input", "64", "--images", "10", "--epochs", "1", "--batch", "4", "--score", "flops", "--draws", "20"]
    command = ["bench-scores", "--data", "truth", "--train", "--design", "own.yaml", *words]
    assert main(command) == 0
    assert [(len(names), known) for names, known in seen] == [(1, 1), (2, 2), (3, 3), (3, 3)]
    records = lines(tmp_path / "truth")
    assert [line["name"].rsplit("-", 1)[1] for line in records] == ["001", "002", "003"]
    assert [line["levels"]["band"] for line in records] == ["3ms", "4ms", "3ms"]
    assert {line["levels"]["kind"] for line in records} == {line["space"] for line in records} == {"res", "mob"}
    journal = Path("truth/journal.jsonl").read_bytes()
    assert main(command) == 0 and Path("truth/journal.jsonl").read_bytes() == journal
    Path("own.yaml").write_text(yaml_text(plain(count=3, bands_ms=[3, 5])))
    capsys.readouterr()
    assert main(command) == 2 and "design_digest=" in capsys.readouterr().err


def test_listed_architectures_are_trained_at_their_own_input_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    design, device = load_design("levels"), load_device(DEVICE)
    (arch,) = designed_architectures(design, device, 64, 1, 1, lambda text: None)
    own = dict(arch.architecture.to_dict(), name="own", input_px=96)
    listed = [dict(own, name="given", input_px=None), own]
    Path("own.yaml").write_text(yaml_text({"name": "sides", "architectures": listed}))
    words = ["--input", "64", "--images", "10", "--epochs", "1", "--batch", "4", "--score", "flops", "--draws", "20"]
    assert main(["bench-scores", "--data", "truth", "--train", "--design", "own.yaml", *words]) == 0
    assert list(read_trained(tmp_path / "truth").input_px) == [64, 96]
    records = lines(tmp_path / "truth")
    assert [line["input_px"] for line in records] == [64, 96]
    assert records[0]["digest"] == records[1]["digest"]
    assert records[1]["costs"]["flops"] == pytest.approx(2.25 * records[0]["costs"]["flops"])
    trained = [load_checkpoint(path) for path in sorted(Path("truth/runs").glob("*/last.safetensors"))]
    assert [detector.info.input_px for detector in trained] == [64, 96]


@pytest.mark.slow
def test_workers_bring_the_same_weights(whole: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    assert finish(nas(*TRAIN, "--jobs", "2", cwd=tmp_path)) == json.loads((whole / "said.json").read_text())
    for path in whole.glob("truth/runs/*/last.safetensors"):
        assert (tmp_path / path.relative_to(whole)).read_bytes() == path.read_bytes()


def test_a_training_that_fails_keeps_its_reason(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(next(whole.glob("truth/pictures-*")), "broken")
    next(Path("broken/images/train").iterdir()).write_bytes(b"no picture")
    at = TRAIN.index("--images")
    assert main([*TRAIN[:at], *TRAIN[at + 2 :], "--pictures", "broken"]) == 2
    error = capsys.readouterr().err
    assert "no training came to its end; the first one: BadInput:" in error and error.count(" failed: ") == 4
    assert not (tmp_path / "truth" / "accuracy.csv").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "2"], "--seeds says how detectors are trained: add --train"),
        (["--space", "res"], "--space says how detectors are trained: add --train"),
        (["--set", "lr=1"], "--set says how detectors are trained: add --train"),
        (["--train", "1"], "--train 1 must be at least 3"),
        (["--train", "--seeds", "0"], "--seeds 0 must be at least 1"),
        (["--train", "6", "--seeds", "2", "--repeat", "7"], "--repeat 7 must be from 1 to 6"),
        (["--train", "--repeat", "2"], "--seeds at least 2"),
        (["--train", "--pictures", "x", "--images", "9"], "--images 9 is of the synthetic dataset"),
        (["--train", "--space", "res", "res"], "--space res stands twice"),
        (["--train", "9999", "--seeds", "9"], "are more than 10,000 trainings"),
        (["--train", "--device", "t5"], "unknown device 't5'"),
        (["--design", "levels"], "--design says how detectors are trained: add --train"),
        (["--train", "--design", "level"], "unknown design 'level': did you mean levels"),
        (["--train", "--design", "levels", "--space", "res"], "--space is of sampled architectures"),
        (["--train", "--design", "levels", "--budget", "5..6ms"], "--budget is of sampled architectures"),
        (["--train", "1", "--design", "levels"], "--train 1 must be at least 2: one architecture has no rank"),
        (["--train", "--data", "zoo"], "--data zoo are other people's detectors"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bench-scores", "--data", "truth", *words]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and error[0].startswith("nas: ") and message in error[0]
    assert not (tmp_path / "truth").exists()


def test_other_peoples_folders_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "accuracy.csv").write_text("arch,input_px,map\n")
    assert main(["bench-scores", "--data", str(tmp_path), "--train"]) == 2
    assert "holds trained detectors, but no journal of ours" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["accuracy.csv"]
