"""Trainings that belong together, below one run folder: each is done once, and what came of it stands in the folder's journal.

A killed command finds in the journal what is finished, and the training it was in goes on by itself (see ``distill.train.run``).
What follows is decided from the journal's numbers alone, so that the answer is the same as without the interruption.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.study.request import TrainRequest, prepare
from workbench.errors import BadInput

if TYPE_CHECKING:
    from distill.train.run import TrainResult
    from workbench.run_folder import RunFolder

History = list[dict[str, Any]]


@dataclass(frozen=True)
class SubRunResult:
    """What came of one training."""

    folder: str
    """Below the run folder."""
    curve: dict[int, float]
    """AP (0 to 1) of the averaged weights by the number of the epoch after which it was measured, ascending."""
    epochs: int
    """Epochs that were trained."""
    seconds: float

    @property
    def ap(self) -> float:
        """AP at the last evaluation. The best one would be chosen on the pictures that it is measured on."""
        return self.curve[max(self.curve)]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; ``from_dict`` reads it back."""
        return {"folder": self.folder, "ap": self.ap, "epochs": self.epochs, "seconds": self.seconds, "curve": [[epoch, ap] for epoch, ap in self.curve.items()]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SubRunResult:
        """From a journal record."""
        return cls(data["folder"], {int(epoch): float(ap) for epoch, ap in data["curve"]}, int(data["epochs"]), float(data["seconds"]))


class SubRuns:
    """Does trainings in ``folder``/``below``, each once."""

    def __init__(self, folder: RunFolder, below: str) -> None:
        self.folder, self.below = folder, below

    def done(self, key: str) -> SubRunResult | None:
        """What the journal says of the training of that key."""
        record = self.folder.latest(key)
        return None if record is None else SubRunResult.from_dict(record)

    def run(
        self, key: str, name: str, request: TrainRequest, title: str = "", enough: Callable[[History], bool] = lambda history: False, keep_state: bool = False
    ) -> SubRunResult:
        """Train in the sub-folder ``name`` unless the journal has ``key`` already; ``enough`` as in ``distill.train.run``.

        ``keep_state`` leaves the training's ``resume.pt``, which another key may go on from.
        """
        found = self.done(key)
        where = self.folder.folder / self.below / name
        if found is None:
            outcome = prepare(dataclasses.replace(request, runs=str(where.parent), name=name, fresh=False)).run(enough, title)
            found = sub_run_result(outcome, f"{self.below}/{name}")
            self.folder.append(key, found.to_dict())
        if not keep_state:
            self.drop_state(name)
        return found

    def drop_state(self, name: str) -> None:
        """Remove what a training would go on from: it is done."""
        from distill.teach.cache.setup import FOLDER

        where = self.folder.folder / self.below / name
        (where / "resume.pt").unlink(missing_ok=True)
        shutil.rmtree(where / FOLDER, ignore_errors=True)


def curve_of(history: History) -> dict[int, float]:
    """AP by epoch; of an epoch that was fed again after an overflow, the last one."""
    found = {int(record["epoch"]): float(record["ap"]) for record in history if record.get("ap") is not None}
    return dict(sorted(found.items()))


def sub_run_result(outcome: TrainResult, folder: str) -> SubRunResult:
    """A training's outcome as it is written down."""
    curve = curve_of(outcome.history)
    if not curve:
        raise BadInput(f"{str(outcome.folder)!r} has no AP after {len(outcome.history)} epochs: the validation pictures hold no object, so nothing can be compared")
    return SubRunResult(folder, curve, int(outcome.history[-1]["epoch"]), outcome.seconds)


def runs_folder(request: TrainRequest, default: str) -> Path:
    """The folder of a run that holds others."""
    return Path(request.runs) / (request.name or default)
