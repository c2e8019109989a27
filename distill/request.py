"""A training as it is asked for: ``nas train``, ``nas distill`` and the Python API build a ``TrainRequest``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from distill.teach.request import TeacherRequest
from distill.train.parallel.worker_request import WorkerRequest


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """A training; None stands for a default."""

    model: str
    data: str
    val: str | None = None
    weights: str | None = None
    inherit: str | None = None
    """Checkpoint of another detector of the family, whose weights this one takes over."""
    recipe: str | None = None
    changes: tuple[str, ...] = ()
    """Settings of the recipe to change, as ``KEY=VALUE``."""
    epochs: int | None = None
    batch: int | None = None
    input_px: int | None = None
    device: str = "cpu"
    precision: str | None = None
    data_workers: int | None = None
    """Processes that read images."""
    seed: int = 0
    deterministic: bool = False
    name: str | None = None
    runs: str = "runs"
    fresh: bool = False
    accept_changed_data: bool = False
    """Resume although images changed since the run began."""
    quiet: bool = False
    patience: int | None = None
    """Epochs without a higher AP after which the run ends; None trains all epochs."""
    freeze: str | None = None
    """``backbone``, or the number of its first parts that are not trained; None trains everything."""
    report: bool = True
    """Whether ``nas train`` and ``nas distill`` write ``report.html`` in the end."""
    teaching: TeacherRequest | None = None
    """The teachers of ``nas distill``."""
    workers: WorkerRequest | None = None
    """The processes that train; None trains in this process."""


def run_name(request: TrainRequest) -> str:
    """The name of the run folder, by default from the command, the model and the data."""
    command = "train" if request.teaching is None else "distill"
    return request.name or f"{command}-{folder_name(request.model)}-{folder_name(request.data)}"


def folder_name(text: str) -> str:
    """A folder name for a path or model name; checkpoints and best.yaml of a run are named after the run."""
    path = Path(text)
    stem = path.parent.name if path.stem in ("best", "last") and path.parent.name else path.stem
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in stem) or "run"
