"""A training as its folder tells it: settings, epochs, machine; and its data, opened again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.data.dataset import DataSet
from distill.data.formats.readers import open_data, open_pair
from distill.train.detect import DetectOptions, detect, read_results
from distill.train.hooks.checkpoints import DETECTIONS
from distill.train.recipe import TrainRecipe
from distill.train.run_context import TrainData
from workbench.errors import BadInput
from workbench.files import write_atomic
from workbench.run_folder import read_journal, read_settings
from zoo.detector import Detector
from zoo.resolve import load_checkpoint


@dataclass(frozen=True, eq=False)
class Training:
    """What a training's folder holds."""

    folder: Path
    settings: dict[str, Any]
    history: list[dict[str, Any]]
    """One record an epoch."""
    machine: dict[str, Any]
    """Where it ran last; empty in trainings of older versions."""
    notes: list[str]

    @property
    def best_epoch(self) -> int:
        """The evaluated epoch with the largest AP; 0 where none was evaluated."""
        evaluated = [record for record in self.history if record.get("ap") is not None]
        return int(max(evaluated, key=lambda record: record["ap"])["epoch"]) if evaluated else 0

    @property
    def recipe(self) -> TrainRecipe:
        """Its recipe; settings that this version does not know are left out."""
        known = {field.name for field in dataclasses.fields(TrainRecipe)}
        return TrainRecipe(**{name: value for name, value in self.settings["recipe"].items() if name in known})

    def detector(self) -> Detector:
        """The detector with its best weights."""
        return load_checkpoint(self.folder / "best.safetensors")


def read_training(folder: Path) -> Training:
    """The training in ``folder``."""
    settings = read_settings(folder)
    if not isinstance(settings.get("recipe"), dict) or "data" not in settings:
        raise BadInput(f"{str(folder)!r} holds no training of nas train or nas distill: its settings have no recipe")
    records = read_journal(folder)
    epochs = {data["epoch"]: data for kind, data in records if kind == "epoch"}  # an epoch again after a rollback
    machines = [data for kind, data in records if kind == "machine"]
    notes = [data["text"] for kind, data in records if kind == "note"]
    return Training(folder, settings, [epochs[number] for number in sorted(epochs)], (machines or [{}])[-1], notes)


def open_training_data(training: Training, data: str | None = None, val: str | None = None) -> TrainData:
    """The data of a training, from ``data`` and ``val`` or where they were; others than it was trained on are refused.
    """
    path = data or training.settings["data"]
    val = val or training.settings.get("val")
    train, other = open_pair(path) if val is None else (open_data(path, "train"), open_data(val, "val"))
    for split, key, option in ((train, "data_sha256", "--data"), (other, "val_sha256", "--val")):
        if split.digest() != training.settings[key]:
            raise BadInput(
                f"{str(training.folder)!r}: the {split.name} data are not those of the training, by their checksum: "
                f"name these with {option}"
            )
    return TrainData(train, other)


def best_detections(
    training: Training, val: DataSet, log: Callable[[str], None] = lambda text: None
) -> list[dict[str, Any]]:
    """Detections of the best weights on ``val``: those that the training kept, else made now and kept."""
    file = training.folder / DETECTIONS
    if file.is_file():
        return read_results(file, val)
    options = DetectOptions(training.settings["input_px"], training.recipe.batch)
    detections = detect(training.detector(), val, options, log)
    write_atomic(file, json.dumps(detections))
    return detections
