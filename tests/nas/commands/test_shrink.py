"""``nas shrink`` as a user runs it: with data and without, killed and resumed, its children used, bad input."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("pycocotools")
from safetensors.torch import load_file

from distill.data.formats.readers import open_data
from distill.train.transfer import adapt_classes
from nas.cli import main
from tests.distill.tiny import furnish
from tests.nas.process import nas
from zoo.factory import build
from zoo.weights.checkpoint import load, read_manifest, save

BUDGET = ["--budget", "2.2ms", "--device", "raspberry-pi-5"]
TAUGHT = [
    "shrink", "parent.safetensors", *BUDGET, "--data", "data", "--images", "8", "--epochs", "2", "--batch", "4",
    "--train-data-workers", "0", "--set", "closing_epochs=1", "--no-pictures",
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a synthetic set ``data``, a parent at 64 px, and a finished run ``whole``."""
    folder = tmp_path_factory.mktemp("shrink")
    furnish(folder, 12)
    torch.manual_seed(7)
    parent, _ = adapt_classes(build("yolox-nano", 80), open_data(folder / "data", "train").classes)
    parent.info = type(parent.info)(parent.info.class_names, 64, {"trained_with": "a test"})
    save(parent, folder / "parent.safetensors")
    process = nas(*TAUGHT, "--name", "whole", cwd=folder)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return folder


def test_a_run_leaves_a_taught_child_within_its_budget(home: Path) -> None:
    result = json.loads((home / "runs" / "whole" / "shrink.json").read_text())
    (child,) = result["children"]
    (choice,) = child["rounds"]
    assert choice["proved"] and choice["costs"]["latency_ms"] <= 2.2 < result["parent_costs"]["latency_ms"]
    manifest = read_manifest(home / "runs" / "whole" / "child.safetensors")
    assert manifest.recipe.model == "yolox-nano" and manifest.recipe.cuts
    roles = [entry.get("role") for entry in manifest.info.lineage]
    assert "parent" in roles
    assert child["recovery"]["kinds"].keys() == {"taught"}


def test_the_child_is_an_ordinary_detector(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(home / "runs" / "whole" / "child.safetensors")
    assert main(["cost", file, "--input", "64", "--device", "raspberry-pi-5", "--json"]) == 0
    costs = json.loads(capsys.readouterr().out)[0]["costs"]
    result = json.loads((home / "runs" / "whole" / "shrink.json").read_text())
    assert costs["latency_ms"] == result["children"][0]["rounds"][0]["costs"]["latency_ms"]
    child = load(file)
    boxes = child.predict(torch.rand(1, 3, 64, 64))
    assert len(boxes) == 1


@pytest.mark.parametrize("blow", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_stopped_at_any_moment_it_ends_with_the_same_child(blow: signal.Signals, home: Path) -> None:
    name = f"run-{blow.name}"
    process = nas(*TAUGHT, "--name", name, cwd=home)
    began = time.monotonic()
    while not (home / "runs" / name).exists() and time.monotonic() - began < 120:
        time.sleep(0.05)
    time.sleep(random.Random(int(blow)).uniform(0.0, 12.0))
    process.send_signal(blow)
    process.communicate(timeout=120)
    again = nas(*TAUGHT, "--name", name, cwd=home)
    _, err = again.communicate(timeout=600)
    assert again.returncode == 0, err
    ours, theirs = (load_file(home / "runs" / run / "child.safetensors") for run in (name, "whole"))
    assert ours.keys() == theirs.keys() and all((ours[k] == theirs[k]).all() for k in ours)


@pytest.mark.slow
def test_rounds_end_in_controls_of_as_many_steps(home: Path) -> None:
    """Two rounds of one epoch: what had no first round trains two."""
    words = [*TAUGHT, "--rounds", "2", "--control", "--against", "parent.safetensors", "--name", "rounds"]
    process = nas(*words, cwd=home)
    _, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    (child,) = json.loads((home / "runs" / "rounds" / "shrink.json").read_text())["children"]
    assert len(child["rounds"]) == 2
    kinds = child["recovery"]["kinds"]
    assert list(kinds) == ["taught", "untaught", "random", "parent"]
    assert {kind: kinds[kind]["curve"][-1][0] for kind in kinds} == dict.fromkeys(kinds, 2)
    trained = home / "runs" / "rounds" / "trained"
    epochs = {path.parent.name: json.loads(path.read_text()) for path in trained.glob("*/recovery.json")}
    assert list(epochs["child-round-1"]["kinds"]) == ["taught"]


def test_without_data_a_front_is_cut_by_weight_norms(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["shrink", str(home / "parent.safetensors"), *BUDGET, "--front", "2", "--runs", str(home / "front")]
    assert main([*words, "--name", "two", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    times = [child["rounds"][0]["costs"]["latency_ms"] for child in result["children"]]
    assert result["parent_costs"]["latency_ms"] > times[0] > times[1] and times[1] <= 2.2
    assert (home / "front" / "two" / "child-1.png").is_file()
    before = (home / "front" / "two" / "child-2.safetensors").read_bytes()
    assert main([*words, "--name", "two", "--quiet"]) == 0
    assert (home / "front" / "two" / "child-2.safetensors").read_bytes() == before
    assert "cut but not trained" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["yolox-nano", *BUDGET], "starts from trained weights"),
        (["missing.safetensors", *BUDGET], "no such file"),
        (["parent.safetensors", "--budget", "0.01ms", "--device", "raspberry-pi-5"], "the least for yolox-nano is"),
        (["parent.safetensors", "--budget", "2ms"], "needs a device"),
        (["parent.safetensors", "--budget", "9layers"], "a detector is cut to a latency"),
        (["parent.safetensors", *BUDGET, "--rounds", "2"], "--rounds needs images: add --data"),
        (["parent.safetensors", *BUDGET, "--control"], "--control needs images: add --data"),
        (["parent.safetensors", *BUDGET, "--importance", "magic"], "importance"),
        (["parent.safetensors", *BUDGET, "--front", "0"], "--front"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], text: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    assert main(["shrink", *words, "--quiet", "--name", "bad", "--runs", "bad"]) == 2
    err = capsys.readouterr().err
    assert text in err and err.count("\n") == 1
    assert not (home / "bad" / "bad").exists()
