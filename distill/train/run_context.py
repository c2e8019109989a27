"""What the hooks of a training run see, and what they may ask for."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from distill.data.dataset import DataSet
from distill.data.feed.loader import Loader
from distill.train.evaluate import EvaluationResult
from distill.train.loop import Loop, StepReport
from distill.train.parallel.group import group
from distill.train.recipe import TrainRecipe
from distill.train.run_state import RunProgress
from workbench.run_folder import RunFolder, RunFolderReader
from zoo.detector import Detector


class Request(enum.IntEnum):
    """What a hook asks for after a step. Of several processes' requests all of them follow the strongest."""

    NONE = 0
    SAVE = 1
    """Write the state."""
    STOP = 2
    """Write the state and raise ``KeyboardInterrupt``; at the end of an epoch after the hooks' ``after_epoch``."""


@dataclass(frozen=True, eq=False)
class TrainData:
    """The images to train on, and those to evaluate on. Both have the detector's class map."""

    train: DataSet
    val: DataSet


@dataclass(frozen=True)
class RunSettings:
    """How a run is carried out, beside its recipe."""

    input_px: int
    """Side of the network's input."""
    seed: int = 0
    device: str = "cpu"
    precision: str = "fp32"
    data_workers: int | None = None
    """Processes that read images; None finds a number that keeps up."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What every checkpoint says of where it comes from."""


@dataclass(frozen=True, eq=False)
class EpochEvaluation:
    """The evaluation after an epoch."""

    detector: Detector
    """The averaged weights as they were evaluated, batch norms calibrated."""
    result: EvaluationResult
    detections: list[dict[str, Any]]
    """In COCO's result format."""


@dataclass
class EpochTotals:
    """Sums over the steps of an epoch since it was begun or resumed."""

    losses: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    lr: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def add(self, report: StepReport) -> None:
        """Count a step."""
        self.steps += 1
        self.lr = report.lr
        for name, value in report.losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + value


class Run:
    """A training run in progress."""

    def __init__(
        self, loop: Loop, loader: Loader, data: TrainData, folder: RunFolder | RunFolderReader, settings: RunSettings,
        progress: RunProgress, log: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.loop, self.loader, self.data, self.folder, self.settings = loop, loader, data, folder, settings
        self.progress, self.log = progress, log
        self.group = group()
        self.epoch_number = 0
        """From 1."""
        self.epoch = EpochTotals()
        self.evaluation: EpochEvaluation | None = None
        """Of the latest epoch, where it was evaluated."""
        self._request = Request.NONE
        self._began, self._seconds_before = time.monotonic(), progress.seconds

    @property
    def recipe(self) -> TrainRecipe:
        """The training recipe."""
        return self.loop.recipe

    @property
    def is_complete(self) -> bool:
        """Whether all steps are done."""
        return self.loop.step >= self.loop.steps

    @property
    def images_per_step(self) -> int:
        """Images of all processes and accumulated batches together."""
        return self.recipe.batch * self.recipe.accumulate

    @property
    def record(self) -> dict[str, Any]:
        """The latest epoch's record in the history."""
        return self.progress.history[-1]

    @property
    def evaluation_workers(self) -> int | None:
        """Processes that read images for evaluation and calibration."""
        data_workers = self.settings.data_workers
        return self.loader.workers if data_workers is None and self.group.world > 1 else data_workers

    def ask(self, request: Request) -> None:
        """Request something after the current step."""
        self._request = max(self._request, request)

    def take_request(self) -> Request:
        """The strongest request of any process since the last call."""
        request, self._request = self._request, Request.NONE
        return Request(self.group.most(request))

    def update_seconds(self) -> None:
        """Bring the run's duration in ``progress`` up to date."""
        self.progress.seconds = self._seconds_before + time.monotonic() - self._began

    def begin_epoch(self) -> None:
        """Start counting the epoch that the loop's next step belongs to."""
        self.epoch_number = self.loop.step // self.loop.steps_per_epoch + 1
        self.epoch = EpochTotals()

    def finish_epoch(self) -> None:
        """Append the epoch's record to the history."""
        totals, passed = self.epoch, time.monotonic() - self.epoch.began
        self.progress.history.append({
            "epoch": self.epoch_number, "step": self.loop.step, "rate": totals.lr,
            "losses": {name: value / max(totals.steps, 1) for name, value in totals.losses.items()},
            "steps_fed": totals.steps, "images_per_s": totals.steps * self.images_per_step / max(passed, 1e-9),
            "waited_share": self.loader.waited_share,
        })  # fmt: skip
