"""Recovery of a cut child on sixteen pictures that its parent knows by heart."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("pycocotools")

from distill.request import TrainRequest
from distill.study.recovery import RecoveryRequest, recover
from distill.study.recovery_result import RANDOM, TAUGHT, UNTAUGHT
from tests.distill.cut import cut_child
from tests.distill.taught import taught, untaught, write_pictures
from workbench.errors import BadInput
from zoo.factory import build
from zoo.weights.checkpoint import load, read_manifest, save


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, a parent that knows them, its cut child, and another detector that knows them."""
    folder = tmp_path_factory.mktemp("recovery")
    write_pictures(folder / "data")
    parent = taught()
    save(parent, folder / "parent.safetensors")
    save(cut_child(parent, 0.7), folder / "child.safetensors")
    save(taught(), folder / "stock.safetensors")
    stranger = untaught()
    stranger.info = dataclasses.replace(stranger.info, class_names=("cat", "dog", "cow"))
    save(stranger, folder / "stranger.safetensors")
    save(cut_child(stranger, 0.7), folder / "stranger-child.safetensors")
    save(build("yolox-nano", 3), folder / "other.safetensors")
    return folder


def request_in(home: Path, name: str, **changes: Any) -> RecoveryRequest:
    train = TrainRequest(
        "", str(home / "data"), recipe="small", epochs=1, batch=8, input_px=64, data_workers=0, quiet=True,
        changes=("closing_epochs=1", "augmentation=none", "bn_calibration_images=8"), runs=str(home / "runs"),
        name=name,
    )  # fmt: skip
    request = RecoveryRequest(str(home / "child.safetensors"), str(home / "parent.safetensors"), train)
    return dataclasses.replace(request, **changes)


def without_seconds(told: Any) -> Any:
    if isinstance(told, dict):
        return {key: without_seconds(value) for key, value in told.items() if key not in ("seconds", "folder", "best")}
    return [without_seconds(one) for one in told] if isinstance(told, list) else told


def test_a_child_is_taught_and_its_controls_can_be_added_later(home: Path) -> None:
    first = recover(request_in(home, "r"))
    assert list(first.runs) == [TAUGHT] and first.seeds == [0] and first.notes == ()
    assert first.parent_ap is not None and first.parent_ap > 0.1
    manifest = read_manifest(first.best)
    assert manifest.recipe.cuts == read_manifest(home / "child.safetensors").recipe.cuts
    assert [entry["role"] for entry in manifest.info.lineage] == ["teacher"]
    stamp = first.last.stat().st_mtime_ns
    full = request_in(home, "r", control=True, against=(str(home / "stock.safetensors"),))
    result = recover(full)
    assert list(result.runs) == [TAUGHT, UNTAUGHT, RANDOM, "stock"] and result.seeds == [0]
    assert first.last.stat().st_mtime_ns == stamp and result.runs[TAUGHT][0] == first.runs[TAUGHT][0]
    assert {run.epochs for runs in result.runs.values() for run in runs.values()} == {1}
    run = home / "runs" / "r"
    told = json.loads((run / "recovery.json").read_text())
    assert told["verdict"] == result.verdict() and told["kinds"]["random"]["ap"] < told["kinds"]["stock"]["ap"]
    assert len((run / "recovery.csv").read_text().splitlines()) == 1 + 4 and list((run / "events").iterdir())
    assert not list(run.rglob("resume.pt")) and not list(run.rglob("random-*.safetensors"))
    starts = [
        read_manifest(run / "recovery" / f"seed-0-{kind}" / "last.safetensors").info.provenance["started_from"]
        for kind in (UNTAUGHT, RANDOM)
    ]
    assert starts[1] == {"weights": "random", "seed": 0} and starts[0] != starts[1]
    assert load(run / "recovery" / "seed-0-random" / "last.safetensors").recipe.cuts == manifest.recipe.cuts
    # as kill -9 leaves it in the middle of the last run's journal record: that run is done again, and no other
    journal = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (run / "journal.jsonl").write_bytes(b"".join(journal[:-1]) + journal[-1][:40])
    assert without_seconds(recover(full).to_dict()) == without_seconds(result.to_dict())
    assert first.last.stat().st_mtime_ns == stamp


def test_a_parent_of_other_classes_teaches_features_alone_and_says_so(home: Path) -> None:
    request = request_in(
        home, "s", child=str(home / "stranger-child.safetensors"), parent=str(home / "stranger.safetensors")
    )
    result = recover(request)
    assert len(result.notes) == 2 and "adapt the parent" in result.notes[0]
    assert "knows 0 of the data's 3 classes: it teaches features alone" in result.notes[1]
    assert "note: the parent knows 0" in str(result) and result.parent_ap is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seeds": 0}, "--seeds 0 must be from 1"),
        ({"child": "yolox-nano"}, "'yolox-nano' must be a checkpoint"),
        ({"against": ("yolox-nano",)}, "'yolox-nano' must be a checkpoint"),
        ({"against": ("missing.safetensors",)}, "missing.safetensors"),
        ({"parent": "other.safetensors"}, "the network that it was cut from"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    home: Path, changes: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    with pytest.raises(BadInput, match=words) as raised:
        recover(request_in(home, "bad", **changes))
    assert len(str(raised.value).splitlines()) == 1 and not (home / "runs" / "bad").exists()


PROGRAM = """
import sys
from pathlib import Path
from tests.distill.study.test_recovery import recover, request_in
recover(request_in(Path(sys.argv[1]), sys.argv[2], control=True))
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_to_the_same(home: Path) -> None:
    def start(name: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])}
        return subprocess.Popen([sys.executable, "-c", PROGRAM, str(home), name], env=environment)

    def answer(name: str) -> Any:
        return without_seconds(json.loads((home / "runs" / name / "recovery.json").read_text()))

    assert start("whole").wait(timeout=600) == 0
    process = start("killed")
    journal = home / "runs" / "killed" / "journal.jsonl"
    began = time.monotonic()
    while (not journal.exists() or journal.stat().st_size == 0) and time.monotonic() - began < 300:
        time.sleep(0.1)
    time.sleep(1.0)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=120)
    assert start("killed").wait(timeout=600) == 0
    assert answer("killed") == answer("whole")
