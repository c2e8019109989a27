"""Trainings below one run folder: each is done once, and its result is in the folder's journal.

After an interruption finished trainings are read from the journal, and an unfinished one resumes by itself (see
``distill.train.run``). Decisions depend on the journal's numbers alone, so the result is the same as without the
interruption.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.prepare import History, never, prepare
from distill.request import TrainRequest
from workbench.errors import BadInput

if TYPE_CHECKING:
    from distill.train.run import TrainResult
    from workbench.run_folder import RunFolder


@dataclass(frozen=True)
class SubRunResult:
    """The result of one training."""

    folder: str
    """Relative to the run folder."""
    curve: dict[int, float]
    """AP (0 to 1) of the averaged weights by epoch, ascending."""
    epochs: int
    """Epochs that were trained."""
    seconds: float

    @property
    def ap(self) -> float:
        """AP at the last evaluation. The best one would be chosen on the images that it is measured on."""
        return self.curve[max(self.curve)]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; ``from_dict`` reads it back."""
        curve = [[epoch, ap] for epoch, ap in self.curve.items()]
        return {
            "folder": self.folder, "ap": self.ap, "epochs": self.epochs, "seconds": self.seconds, "curve": curve,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SubRunResult:
        """From a journal record."""
        curve = {int(epoch): float(ap) for epoch, ap in data["curve"]}
        return cls(data["folder"], curve, int(data["epochs"]), float(data["seconds"]))


class SubRuns:
    """Trainings in ``folder``/``below``."""

    def __init__(self, folder: RunFolder, below: str) -> None:
        self.folder, self.below = folder, below

    def done(self, key: str) -> SubRunResult | None:
        """The journal's result of the training ``key``; None if it is not finished."""
        record = self.folder.latest(key)
        return None if record is None else SubRunResult.from_dict(record)

    def run(
        self,
        key: str,
        name: str,
        request: TrainRequest,
        title: str = "",
        should_stop: Callable[[History], bool] = never,
        keep_state: bool = False,
    ) -> SubRunResult:
        """Train in the sub-folder ``name`` unless the journal has ``key`` already.

        Args:
            title: prefix of progress lines.
            should_stop: as in ``PreparedRun.run``.
            keep_state: keep ``resume.pt``, from which another key may resume.
        """
        result = self.done(key)
        folder = self.folder.folder / self.below / name
        if result is None:
            request = dataclasses.replace(request, runs=str(folder.parent), name=name, fresh=False)
            trained = prepare(request).run(should_stop, title)
            result = sub_run_result(trained, f"{self.below}/{name}")
            self.folder.append(key, result.to_dict())
        if not keep_state:
            self.drop_state(name)
        return result

    def drop_state(self, name: str) -> None:
        """Remove the state of a finished training."""
        from distill.teach.cache.setup import FOLDER

        folder = self.folder.folder / self.below / name
        (folder / "resume.pt").unlink(missing_ok=True)
        shutil.rmtree(folder / FOLDER, ignore_errors=True)


def curve_of(history: History) -> dict[int, float]:
    """AP by epoch; of an epoch that was repeated after an overflow, the last one."""
    curve = {int(record["epoch"]): float(record["ap"]) for record in history if record.get("ap") is not None}
    return dict(sorted(curve.items()))


def sub_run_result(trained: TrainResult, folder: str) -> SubRunResult:
    """The result of a training for the journal."""
    curve = curve_of(trained.history)
    if not curve:
        raise BadInput(
            f"{str(trained.folder)!r} has no AP after {len(trained.history)} epochs: the validation images hold no "
            "object, so nothing can be compared"
        )
    return SubRunResult(folder, curve, int(trained.history[-1]["epoch"]), trained.seconds)


def runs_folder(request: TrainRequest, default: str) -> Path:
    """The folder of a run that holds others."""
    return Path(request.runs) / (request.name or default)
