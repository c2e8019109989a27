"""Hooks: one class passed in a list extends a run; the run calls it at every point, in the order of the list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")

from distill.data.dataset import DataSet
from distill.data.formats.readers import open_data
from distill.data.synthetic.synth import make
from distill.train.hooks.base import Hook
from distill.train.hooks.evaluation import evaluation_epochs
from distill.train.hooks.progress_line import format_duration
from distill.train.hooks.stop import StopWhen
from distill.train.loop import StepReport
from distill.train.recipe import load_recipe
from distill.train.run import PRODUCTS, TrainResult, train
from distill.train.run_context import Request, Run, RunSettings, TrainData
from distill.train.task import SupervisedTask
from distill.train.transfer import adapt_classes
from tests.distill.tiny import PX, tiny_detector
from workbench.errors import BadInput
from workbench.run_folder import RunFolder

EPOCHS = 2


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    folder = tmp_path_factory.mktemp("hooks") / "data"
    make(folder, 10, 0)
    return open_data(folder, "train")


def run_with(data: DataSet, folder: Path, hooks: list[Hook]) -> TrainResult:
    recipe = load_recipe("small", {"epochs": EPOCHS, "batch": 4, "closing_epochs": 0, "freeze_bn_from": 1.0})
    torch.manual_seed(0)
    task = SupervisedTask(adapt_classes(tiny_detector(), data.classes)[0])
    run_folder = RunFolder.open(folder, {}, {}, PRODUCTS)
    try:
        return train(task, TrainData(data, data), recipe, run_folder, RunSettings(PX, data_workers=0), hooks=hooks)
    finally:
        run_folder.close()


class Recorder(Hook):
    """A toy hook: writes down each call."""

    def __init__(self, calls: list[str], name: str = "") -> None:
        self.calls, self.name = calls, name

    def before_training(self, run: Run) -> None:
        self.calls.append(f"{self.name}before_training {run.loop.step}")

    def before_step(self, run: Run) -> None:
        self.calls.append(f"{self.name}before_step {run.loop.step}")

    def after_step(self, run: Run, report: StepReport) -> None:
        assert report.losses and report.lr > 0
        self.calls.append(f"{self.name}after_step {run.loop.step}")

    def after_epoch(self, run: Run) -> None:
        # the run's own hooks came first: the epoch is evaluated and in the journal
        assert run.evaluation is not None and run.record["ap"] == run.evaluation.result.summary["ap"]
        assert (run.folder.folder / "resume.pt").exists()
        self.calls.append(f"{self.name}after_epoch {run.epoch_number}")


def test_a_hook_is_one_class_in_a_list(data: DataSet, tmp_path: Path) -> None:
    calls: list[str] = []
    result = run_with(data, tmp_path / "run", [Recorder(calls, "a "), Recorder(calls, "b ")])
    ours = [call.removeprefix("a ") for call in calls if call.startswith("a ")]
    assert ours == [
        "before_training 0", "before_step 0", "after_step 1", "before_step 1", "after_step 2", "after_epoch 1",
        "before_step 2", "after_step 3", "before_step 3", "after_step 4", "after_epoch 2",
    ]  # fmt: skip
    assert [call.removeprefix("b ") for call in calls if call.startswith("b ")] == ours
    assert calls[:2] == ["a before_training 0", "b before_training 0"], "in the order of the list"
    assert [record["epoch"] for record in result.history] == [1, 2] and result.best_epoch in (1, 2)
    assert set(result.metrics) >= {"ap", "ap50"}


class StopAt(Hook):
    """A toy hook: interrupts the run after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, run: Run, report: StepReport) -> None:
        if run.loop.step == self.step:
            run.ask(Request.STOP)


def state_of(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(folder / "resume.pt", weights_only=True)["loop"]
    return state


def test_a_damaged_state_is_refused(data: DataSet, tmp_path: Path) -> None:
    """One flipped bit, wherever it is."""
    with pytest.raises(KeyboardInterrupt):
        run_with(data, tmp_path / "run", [StopAt(1)])
    file = tmp_path / "run" / "resume.pt"
    whole = file.read_bytes()
    for place in np.linspace(0, len(whole) - 1, 12).astype(int).tolist():
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(BadInput, match="cannot resume from"):
            run_with(data, tmp_path / "run", [])


@pytest.mark.parametrize("step", [1, 2])
def test_an_interrupted_run_resumes_to_the_same_bits(step: int, data: DataSet, tmp_path: Path) -> None:
    """Within an epoch, and at its end."""
    run_with(data, tmp_path / "whole", [])
    with pytest.raises(KeyboardInterrupt):
        run_with(data, tmp_path / "run", [StopAt(step)])
    assert state_of(tmp_path / "run")["step"] == step
    run_with(data, tmp_path / "run", [])
    whole, resumed = state_of(tmp_path / "whole"), state_of(tmp_path / "run")
    for part in ("task", "average"):
        assert all(torch.equal(value, resumed[part][name]) for name, value in whole[part].items())


def test_a_run_with_enough_ends_before_the_next_epoch(data: DataSet, tmp_path: Path) -> None:
    result = run_with(data, tmp_path / "run", [StopWhen(lambda history: len(history) == 1)])
    assert len(result.history) == 1 and state_of(tmp_path / "run")["step"] == 2
    calls: list[str] = []
    assert len(run_with(data, tmp_path / "run", [Recorder(calls)]).history) == 2 and calls[0] == "before_training 2"


def test_evaluations_are_spread_evenly() -> None:
    assert evaluation_epochs(2) == {1, 2}
    assert evaluation_epochs(100) == set(range(5, 101, 5))
    assert max(evaluation_epochs(299)) == 299


def test_durations() -> None:
    assert [format_duration(s) for s in (45, 720, 12_240)] == ["45 s", "12 min", "3.4 h"]
