"""``nas.train``: train a detector on one's own data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from distill.prepare import train_from
from distill.request import TrainRequest
from distill.train.parallel.worker_request import worker_request
from nas.api.arguments import Text, optional_text, text_of

if TYPE_CHECKING:
    from distill.train.run import TrainResult

Changes = Sequence[str] | Mapping[str, Any]
"""Changed settings of a recipe: ``{"lr": 0.01}``, or ``["lr=0.01"]`` as on the command line."""


def changes_of(changes: Changes) -> tuple[str, ...]:
    """Changed settings as ``KEY=VALUE`` texts."""
    if isinstance(changes, Mapping):
        return tuple(f"{key}={'null' if value is None else value}" for key, value in changes.items())
    return tuple(changes)


def train(
    model: Text, data: Text, *, val: Text | None = None, weights: Text | None = None, inherit: Text | None = None,
    recipe: Text | None = None, changes: Changes = (), epochs: int | None = None, batch: int | None = None,
    input_px: int | None = None, device: str = "cpu", precision: str | None = None, data_workers: int | None = None,
    workers: int | None = None, gpus_per_worker: int | None = None, cpus_per_worker: int | None = None,
    address: str | None = None, seed: int = 0, deterministic: bool = False, name: str | None = None,
    runs: Text = "runs", fresh: bool = False, accept_changed_data: bool = False, patience: int | None = None,
    freeze: str | None = None, report: bool = True, quiet: bool = False,
) -> TrainResult:  # fmt: skip
    """Train a detector; the same call resumes an interrupted run and ends with the same weights.

    Args:
        model: an architecture YAML, a run folder, a model of the zoo, or a checkpoint.
        data: training data (COCO JSON, YOLO text folders or Pascal VOC), with a val split unless ``val`` is given.
        val: validation data.
        weights: checkpoint to start from; matching tensors are loaded.
        inherit: checkpoint of another detector of the family, whose weights are taken over.
        recipe: name of a recipe or a YAML file; None: ``small`` below 5,000 images, else the family's.
        changes: settings of the recipe to change.
        epochs: None takes the recipe's.
        batch: images a step; None takes the recipe's.
        input_px: side of the square input in pixels; None takes the model's own.
        device: ``cpu`` or ``cuda``.
        precision: ``fp32``, ``bf16`` or ``fp16``; None: fp32 on the CPU, the recipe's on a GPU.
        data_workers: processes that load images, for each worker; None tunes the number.
        workers: train in several processes of a local Ray, or of the cluster at ``address``; None: in this one.
        gpus_per_worker: 1 for a GPU each.
        cpus_per_worker: CPUs, and threads, of each worker.
        address: ``auto`` or HOST:PORT of a Ray cluster.
        seed: of weights, order and augmentation.
        deterministic: the same bits on a GPU too, slower.
        name: of the run; None makes it from model and data.
        runs: folder of runs.
        fresh: start over in a folder that holds an earlier training.
        accept_changed_data: resume although images changed since the run began.
        patience: end the run once AP has not risen for so many epochs; None trains all epochs.
        freeze: ``backbone``, or the number of its first parts that are not trained.
        report: write ``report.html`` and its pictures in the end.
        quiet: no progress line.
    """
    return train_from(TrainRequest(
        model=text_of(model), data=text_of(data), val=optional_text(val), weights=optional_text(weights),
        inherit=optional_text(inherit), recipe=optional_text(recipe), changes=changes_of(changes), epochs=epochs,
        batch=batch, input_px=input_px, device=device, precision=precision, data_workers=data_workers, seed=seed,
        deterministic=deterministic, name=name, runs=text_of(runs), fresh=fresh,
        accept_changed_data=accept_changed_data, quiet=quiet, patience=patience, freeze=freeze, report=report,
        workers=worker_request(workers, gpus_per_worker, cpus_per_worker, address),
    ))  # fmt: skip
