"""``nas train --workers`` as a user meets it: the answer of one process, whatever dies, and with other numbers of
workers later on."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("pycocotools")
import numpy as np
from safetensors.torch import load_file

from nas.cli import main
from tests.distill.study.part_of_run import distilled
from tests.distill.taught import taught, write_pictures
from tests.distill.tiny import tiny_detector
from tests.distill.train.parallel.processes import together
from tests.nas.process import ROOT, finish, nas
from zoo.weights.checkpoint import save

EPOCHS = 12
TRAIN = [
    "train",
    "taught.safetensors",
    "--data",
    "data",
    "--input",
    "64",
    "--epochs",
    str(EPOCHS),
    "--batch",
    "4",
    "--data-workers",
    "0",
    "--json",
    "--set",
    "closing_epochs=1",
    "--set",
    "optimizer=sgd",
    "--set",
    "lr=0.001",
    "--set",
    "freeze_bn_from=0.7",
]
"""With SGD: an optimizer that divides by the gradient turns last bits into steps of full length."""
NEAR = 1e-3
"""Relative difference of all weights together, one process or two: where two cells are about equally good for an
object, a last bit decides between them. tests/distill/train/parallel compares step by step."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sixteen pictures as ``data``, and ``taught.safetensors``, which knows them."""
    folder = tmp_path_factory.mktemp("parallel")
    write_pictures(folder / "data")
    save(taught(), folder / "taught.safetensors")
    return folder


@pytest.fixture(scope="module")
def alone(home: Path) -> dict[str, Any]:
    """The run of one process, ``alone``."""
    return finish(nas(*TRAIN, "--name", "alone", cwd=home))


@pytest.fixture(scope="module")
def two(home: Path) -> dict[str, Any]:
    """The undisturbed run of two workers, ``two``."""
    pytest.importorskip("ray")
    return finish(nas(*TRAIN, "--workers", "2", "--name", "two", cwd=home))


def weights(home: Path, run: str) -> dict[str, Any]:
    found: dict[str, Any] = load_file(home / "runs" / run / "last.safetensors")
    return found


def apart(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """Norm of the difference over the norm."""
    assert ours.keys() == theirs.keys()
    floats = [name for name, value in ours.items() if value.is_floating_point()]
    squares = [
        ((ours[n].double() - theirs[n].double()).square().sum(), theirs[n].double().square().sum()) for n in floats
    ]
    return float((sum(a for a, _ in squares) / sum(b for _, b in squares)) ** 0.5)


def train_workers(pid: int) -> list[int]:
    """Processes of Ray Train's workers below ``pid``."""
    from tests.nas.searcher.test_ray import command, descendants

    return [child for child in descendants(pid) if command(child).startswith("ray::RayTrainWorker")]


def epochs_in(journal: Path) -> int:
    """Epochs that the journal holds so far."""
    return journal.read_bytes().count(b'"kind": "epoch"') if journal.exists() else 0


@pytest.mark.slow
def test_two_workers_find_what_one_process_finds(home: Path, alone: dict[str, Any], two: dict[str, Any]) -> None:
    assert apart(weights(home, "two"), weights(home, "alone")) < NEAR
    for ours, theirs in zip(two["history"], alone["history"], strict=True):
        assert ours["losses"] == pytest.approx(theirs["losses"], rel=5e-3) and ours["step"] == theirs["step"]
        assert ours["ap"] == pytest.approx(theirs["ap"], abs=0.01) and ours["ap"] > 0.3
    assert not (home / "runs" / "two" / "ray").exists()


@pytest.mark.slow
def test_processes_share_run_folder_evaluation_and_the_answers_of_a_teacher(home: Path, tmp_path: Path) -> None:
    save(tiny_detector(1), home / "teacher.safetensors")
    one, two = together(1, tmp_path / "one", distilled, home, "one-taught")[0], together(
        2, tmp_path / "two", distilled, home, "two-taught"
    )
    first, second = (
        [
            {name: value for name, value in record.items() if name in ("losses", "step", "rate", "ap")}
            for record in part["history"]
        ]
        for part in two
    )
    assert first == second
    for ours, theirs in zip(two[0]["history"], one["history"], strict=True):
        assert ours["losses"] == pytest.approx(theirs["losses"], rel=5e-3) and "teacher_cwd" in ours["losses"]
        assert ours["ap"] == pytest.approx(theirs["ap"], abs=0.01)
    assert apart(weights(home, "two-taught"), weights(home, "one-taught")) < NEAR
    there, wanted = (
        {
            file.name: np.fromfile(file, "<u8").nonzero()[0].tolist()
            for file in (home / f"cache-{name}").rglob("*.marks")
        }
        for name in ("two-taught", "one-taught")
    )
    assert (
        there == wanted and sum(map(len, there.values())) > 16
    ), "what both of them asked, and nothing else, lies there"


@pytest.mark.slow
def test_a_worker_killed_half_way_changes_nothing(home: Path, two: dict[str, Any]) -> None:
    from tests.nas.searcher.test_ray import until

    process = nas(*TRAIN, "--workers", "2", "--name", "killed", cwd=home)
    until(lambda: epochs_in(home / "runs" / "killed" / "journal.jsonl"), process, 240)
    os.kill(train_workers(process.pid)[-1], signal.SIGKILL)
    found = finish(process)
    assert len(found["history"]) == EPOCHS
    ours, theirs = weights(home, "killed"), weights(home, "two")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs), "the same bits"


@pytest.mark.slow
def test_interrupted_it_goes_on_in_one_process(home: Path, alone: dict[str, Any]) -> None:
    pytest.importorskip("ray")
    from tests.nas.searcher.test_ray import until

    process = nas(*TRAIN, "--workers", "2", "--name", "halved", cwd=home)
    until(lambda: epochs_in(home / "runs" / "halved" / "journal.jsonl"), process, 240)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and "resumes from here" in err and "Traceback" not in err, err
    assert epochs_in(home / "runs" / "halved" / "journal.jsonl") < EPOCHS
    found = finish(nas(*TRAIN, "--name", "halved", cwd=home))
    assert len(found["history"]) == EPOCHS
    assert apart(weights(home, "halved"), weights(home, "alone")) < NEAR


@pytest.mark.slow
def test_a_killed_driver_takes_its_workers_with_it_and_the_same_command_goes_on(
    home: Path, two: dict[str, Any]
) -> None:
    from tests.nas.searcher.test_ray import until

    process = nas(*TRAIN, "--workers", "2", "--name", "orphaned", cwd=home)
    until(lambda: epochs_in(home / "runs" / "orphaned" / "journal.jsonl"), process, 240)
    process.kill()
    process.communicate()
    finish(nas(*TRAIN, "--workers", "2", "--name", "orphaned", cwd=home))
    ours, theirs = weights(home, "orphaned"), weights(home, "two")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs), "the same bits"


@pytest.mark.slow
def test_data_that_break_for_one_worker_are_one_line(home: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    shutil.copytree(home / "data", tmp_path / "data")
    shutil.copy(home / "taught.safetensors", tmp_path)
    victim = sorted((tmp_path / "data" / "images" / "train").iterdir())[3]
    victim.write_bytes(b"no picture")
    process = nas(*TRAIN, "--workers", "2", "--name", "r", "--set", "augmentation=none", cwd=tmp_path)
    _, err = process.communicate(timeout=240)
    assert (
        process.returncode == 2
        and victim.name in err
        and len([line for line in err.splitlines() if line.startswith("nas: ")]) == 1
    ), err
    assert (tmp_path / "runs" / "r" / "resume.pt").exists(), "what was learnt before is written"


@pytest.mark.slow
def test_a_node_that_dies_leaves_its_work_to_another(
    home: Path, alone: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three nodes of one CPU for two workers; one of those at work goes without a word."""
    pytest.importorskip("ray")
    from tests.nas.searcher.test_ray import until

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    store = 80_000_000
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": store, "include_dashboard": False}
    )
    try:
        nodes = [cluster.add_node(num_cpus=1, object_store_memory=store) for _ in range(2)]
        process = nas(*TRAIN, "--workers", "2", "--address", cluster.address, "--name", "nodes", cwd=home)
        until(lambda: epochs_in(home / "runs" / "nodes" / "journal.jsonl"), process, 240)
        busy = next(node for node in nodes if train_workers(node.all_processes["raylet"][0].process.pid))
        cluster.remove_node(busy, allow_graceful=False)
        found = finish(process, 500)
    finally:
        cluster.shutdown()
    assert len(found["history"]) == EPOCHS
    assert apart(weights(home, "nodes"), weights(home, "alone")) < NEAR


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--workers", "0"], "--workers 0 must be from 1"),
        (["--workers", "3"], "--batch 3 or 6 can"),
        (["--gpus-per-worker", "1"], "add --workers N"),
        (["--cpus-per-worker", "2"], "add --workers N"),
        (["--address", "auto"], "add --workers N"),
        (["--workers", "2", "--cpus-per-worker", "0"], "--cpus-per-worker 0 must be at least 1"),
        (["--workers", "2", "--gpus-per-worker", "2"], "--gpus-per-worker 2 must be 0 or 1"),
        (["--workers", "2", "--address", "there"], "must be auto or HOST:PORT"),
        (["--workers", "2", "--device", "cuda"], "add --gpus-per-worker 1"),
        pytest.param(
            ["--workers", "2", "--gpus-per-worker", "1"],
            "needs 2 GPUs and torch sees",
            marks=pytest.mark.skipif(torch.cuda.device_count() > 1, reason="there are GPUs"),
        ),
    ],
)
def test_what_cannot_be_had_is_one_line(
    args: list[str], words: str, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    assert main([*TRAIN, *args, "--name", "bad"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("nas: ") and words in err and len(err.strip().splitlines()) == 1
    assert not (home / "runs" / "bad").exists()
