"""``nas.tune``: search settings of training or distillation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from distill.request import TrainRequest
from distill.teach.request import TeacherRequest
from nas.api.arguments import Text, optional_text, text_of, texts_of
from nas.api.train import Changes, changes_of
from workbench.console import Progress
from workbench.errors import BadInput, missing_package
from workbench.workers import check_workers

if TYPE_CHECKING:
    from nas.tuning.result import TuningResult
    from workbench.workers import Workers


def tune(
    recipe: Text, model: Text, data: Text, *, val: Text | None = None, weights: Text | None = None,
    vary: str | Sequence[str] = (), ranges: Text | None = None, changes: Changes = (), trials: int = 20,
    epochs: int | None = None, batch: int | None = None, input_px: int | None = None, keep_all: bool = False,
    teacher: Text | Sequence[Text] | None = None, teacher_weights: Text | Sequence[Text] = (), device: str = "cpu",
    precision: str | None = None, data_workers: int | None = None, workers: int | None = None,
    address: str | None = None, cpus: int = 1, gpus: float = 0.0, seed: int = 0, name: str | None = None,
    runs: Text = "runs", fresh: bool = False, accept_changed_data: bool = False, quiet: bool = False,
) -> TuningResult:  # fmt: skip
    """Search settings of a recipe; every trial is a training. The same call resumes a study, also with more trials.

    Args:
        recipe: name of a recipe or a YAML file to start from.
        model: what ``nas.train`` takes, as ``data``, ``val``, ``weights``, ``epochs`` and ``batch``, for every trial.
        vary: ranges such as ``lr=log:1e-4..1e-2``, ``warmup_epochs=1..5``, ``batch=8,16``; none: lr and weight decay.
        ranges: the same as a YAML file.
        changes: settings of the recipe that are changed in all trials.
        trials: number of trials in all, earlier calls included.
        keep_all: end no trial early.
        teacher: distil in all trials.
        workers: trials at once on a local Ray, or on the cluster at ``address``; None: one, in this process.
        cpus: with ``workers``: CPUs of a trial.
        gpus: with ``workers``: GPUs of a trial, also a half.
        seed: of the sampler and of every trial.
    """
    _check(workers, address, cpus, gpus)
    try:
        import nas.tuning.study as tuning
    except ModuleNotFoundError as error:
        raise missing_package("nas tune", error.name, "train") from error
    request = TrainRequest(
        model=text_of(model), data=text_of(data), val=optional_text(val), weights=optional_text(weights),
        recipe=text_of(recipe), changes=changes_of(changes), epochs=epochs, batch=batch, input_px=input_px,
        device=device, precision=precision,
        data_workers=data_workers if data_workers is not None or workers is None else 0, seed=seed, name=name,
        runs=text_of(runs), fresh=fresh, accept_changed_data=accept_changed_data, quiet=quiet,
        teaching=_teaching(teacher, teacher_weights),
    )  # fmt: skip
    progress = Progress(quiet)
    try:
        return tuning.tune(
            tuning.TuningRequest(request, trials, texts_of(vary), optional_text(ranges), not keep_all),
            lambda: _workers(workers, address, cpus, gpus), lambda text: progress.show(text, force=True),
        )  # fmt: skip
    finally:
        progress.done()


def _check(workers: int | None, address: str | None, cpus: int, gpus: float) -> None:
    check_workers(workers, address)
    if workers is None and (cpus != 1 or gpus):
        raise BadInput("--cpus and --gpus say what a trial on a worker has: add --workers N")
    if cpus < 1 or gpus < 0:
        raise BadInput(f"--cpus {cpus} must be at least 1, and --gpus {gpus:g} at least 0")


def _teaching(teacher: Text | Sequence[Text] | None, weights: Text | Sequence[Text]) -> TeacherRequest | None:
    if teacher is None:
        if weights:
            raise BadInput("--teacher-weights belong to a teacher: add --teacher")
        return None
    return TeacherRequest(texts_of(teacher), texts_of(weights))


def _workers(workers: int | None, address: str | None, cpus: int, gpus: float) -> Workers:
    if workers is None:
        from workbench.workers.in_process import InProcess

        return InProcess()
    from workbench.workers.on_ray import RayWorkers

    return RayWorkers(workers, address, cpus, gpus)
