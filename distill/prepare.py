"""Prepares and starts a training: the model is resolved, the data opened, the recipe chosen, the teachers loaded."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from distill.request import TrainRequest, run_name
from distill.teach.request import make_task
from distill.teach.same_network import same_network
from distill.train.parallel.worker_request import check_batch, check_worker_device
from workbench.console import Progress
from workbench.errors import BadInput, missing_package

if TYPE_CHECKING:
    from distill.data.dataset import DataSet
    from distill.train.inherit import InheritedStudent
    from distill.train.loop import Loop
    from distill.train.recipe import TrainRecipe
    from distill.train.run import TrainResult
    from distill.train.task import Task
    from workbench.run_folder import RunFolder
    from zoo.detector import Detector

DEVICES = ("cpu", "cuda")

History = list[dict[str, Any]]
"""One record an epoch."""


class LogFunction(Protocol):
    """Shows a line of progress; ``force`` shows it however recent the last one is."""

    def __call__(self, text: str, force: bool = False) -> None: ...


def never(history: History) -> bool:
    """The default of ``should_stop``: train to the last epoch."""
    return False


@dataclass
class PreparedRun:
    """A training that is ready to start: everything is checked, and nothing is written yet."""

    request: TrainRequest
    task: Task
    data: DataSet
    val: DataSet
    recipe: TrainRecipe
    input_px: int
    settings: dict[str, Any]
    """The run's settings, as the run folder records them."""
    provenance: dict[str, Any]
    """Origin of the weights, as the checkpoints record it."""
    remark: str
    """Lines that are logged before training."""

    @property
    def name(self) -> str:
        """The name of the run folder."""
        return run_name(self.request)

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.request.runs) / self.name

    def run(self, should_stop: Callable[[History], bool] = never, title: str = "") -> TrainResult:
        """Train, or resume what is in the folder.

        Args:
            should_stop: asked before every epoch with the records of those before; True ends the call there. With
                ``request.workers`` it is not asked.
            title: prefix of every progress line.
        """
        progress = Progress(self.request.quiet)

        def log(text: str, force: bool = False) -> None:
            progress.show(title + text, force)

        try:
            return self.train(log, should_stop) if self.request.workers is None else self._train_on_ray(log)
        finally:
            progress.done()

    def _train_on_ray(self, log: LogFunction) -> TrainResult:
        """Train in the processes of ``request.workers``, each of which prepares the run again."""
        from distill.train.parallel.on_ray import train_on_ray
        from distill.train.parallel.worker import WorkerJob
        from workbench.workers.base import environment_versions

        workers = self.request.workers
        assert workers is not None
        self.open_folder().close()  # an unusable folder is refused now, and --fresh is applied once
        data_workers = self.request.data_workers
        if data_workers is None:
            data_workers = workers.data_workers
        request = dataclasses.replace(
            self.request, workers=None, fresh=False, device=workers.device, data_workers=data_workers
        )
        job = WorkerJob(
            prepare=functools.partial(prepare, request), settings=self.settings, device=workers.device,
            cpus=workers.cpus, working_folder=os.getcwd(), versions=environment_versions(),
        )  # fmt: skip
        return train_on_ray(job, workers, self.folder, log)

    def open_folder(self) -> RunFolder:
        """Create the run folder, or open it to resume."""
        import torch

        import workbench
        from distill.train.run import PRODUCTS
        from workbench.run_folder import RunFolder

        versions = {"nas": workbench.__version__, "torch": str(torch.__version__)}
        try:
            return RunFolder.open(self.folder, self.settings, versions, PRODUCTS, self.request.fresh)
        except BadInput as error:
            last = self.folder / "last.safetensors"
            if " epochs=" not in str(error) or not last.is_file():
                raise
            raise BadInput(f"{error}; to train on from its weights: --name NEW --weights {last}") from error

    def train(
        self,
        log: LogFunction,
        should_stop: Callable[[History], bool] = never,
        asked_to_stop: Callable[[], bool] = lambda: False,
    ) -> TrainResult:
        """Train in this process, or its part of every batch among several.

        Args:
            should_stop: as in ``run``.
            asked_to_stop: asked between two steps; True saves the state and interrupts the run.
        """
        from distill.data.contents import check_contents
        from distill.train.hooks.base import BeforeTraining, Hook
        from distill.train.hooks.curves import TensorBoardCurves
        from distill.train.hooks.stop import EarlyStop, Interrupt, StopWhen
        from distill.train.parallel.group import group
        from distill.train.run import train
        from distill.train.run_context import RunSettings, TrainData
        from workbench.events import EventWriter
        from workbench.run_folder import RunFolder, RunFolderReader

        request = self.request
        folder = self.open_folder() if group().writes else RunFolderReader(self.folder)
        for line in self.remark.splitlines():
            log(line, force=True)
        log(
            f"{len(self.data)} training images, {len(self.val)} to validate, {len(self.data.classes)} classes; "
            f"recipe {self.recipe.name}, {self.recipe.epochs} epochs", force=True,
        )  # fmt: skip
        settings = RunSettings(
            self.input_px, request.seed, request.device, self.recipe.precision, request.data_workers, self.provenance
        )
        try:
            if isinstance(folder, RunFolder) and folder.result is None:
                check_contents(folder.folder, (self.data, self.val), request.accept_changed_data, log)
            with ExitStack() as stack:
                before_training = stack.enter_context(self._teacher_cache(log))
                hooks: list[Hook] = [BeforeTraining(before_training), StopWhen(should_stop), Interrupt(asked_to_stop)]
                hooks += [] if request.patience is None else [EarlyStop(request.patience)]
                if group().writes:
                    hooks.append(TensorBoardCurves(stack.enter_context(EventWriter(folder.folder / "events"))))
                data = TrainData(self.data, self.val)
                return train(self.task, data, self.recipe, folder, settings, hooks=hooks, log=log)
        finally:
            folder.close()

    def _teacher_cache(self, log: LogFunction) -> AbstractContextManager[Callable[[Loop], None]]:
        """A cache of the teachers' outputs, if views are repeated."""
        from distill.teach.cache.setup import CacheOptions, use_cache

        request, teaching = self.request, self.request.teaching
        teachers = [
            {name: value for name, value in record.items() if name.startswith("teacher")}
            for record in self.settings.get("teachers", [self.settings])
        ]
        options = CacheOptions(
            run=self.folder, device=request.device, folder=None if teaching is None else teaching.cache,
            budget_gb=None if teaching is None else teaching.cache_gb,
        )  # fmt: skip
        log_cost = None if request.quiet else lambda text: log(text, force=True)
        return use_cache(
            self.task,
            teachers,
            self.data,
            self.recipe,
            options,
            input_px=self.input_px,
            seed=request.seed,
            log=log_cost,
        )


def train_from(request: TrainRequest) -> TrainResult:
    """Train what ``request`` asks for."""
    prepared = prepare(request)
    result = prepared.run()
    if request.report:
        write_missing_report(prepared)
    return result


def write_missing_report(prepared: PreparedRun) -> None:
    """Write the report of a finished training, unless it is there and no older than the journal."""
    from distill.report.write import REPORT, write_report
    from distill.train.run_context import TrainData

    report, journal = prepared.folder / REPORT, prepared.folder / "journal.jsonl"
    if report.is_file() and report.stat().st_mtime >= journal.stat().st_mtime:
        return
    progress = Progress(prepared.request.quiet)
    try:
        write_report(prepared.folder, TrainData(prepared.data, prepared.val), progress.show)
    finally:
        progress.done()


def prepare(request: TrainRequest) -> PreparedRun:
    """Resolve and check ``request``; nothing is written."""
    _import_packages()
    import torch

    device = _check_options(request)
    data, val = _open_data(request)
    detector, trained = resolve_student(request)
    own_px = detector.info.input_px
    px = request.input_px or own_px
    step = detector.strides[-1]
    if px < 64 or px % step:
        raise BadInput(f"--input {px} must be a multiple of {step} of at least 64 pixels")
    detector, inherited, remark = _fit_to_data(request, detector, data)
    remark = "\n".join(filter(None, [remark, _freeze(request, detector)]))
    if px != own_px:
        remark = "\n".join(filter(None, [remark, f"input {px} px instead of the model's own {own_px} px"]))
    recipe = choose_recipe(request, detector.family, len(data), detector.recipe.model)
    precision = request.precision or ("fp32" if device == "cpu" else recipe.precision)
    recipe = dataclasses.replace(recipe, precision=precision)
    if request.workers is not None:
        check_batch(request.workers, recipe.batch)
    if request.deterministic:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    if request.teaching is not None:
        from distill.teach.cache.setup import check_cache

        check_cache(recipe, request.teaching.cache, request.teaching.cache_gb)
        request = dataclasses.replace(request, teaching=request.teaching.with_precision(device, recipe.precision))
    task, teacher_settings = make_task(detector, request.teaching, request.seed, px)
    remark = "\n".join(filter(None, [remark, task.remark]))
    settings: dict[str, Any] = {
        "model": request.model, "weights": request.weights, "data": str(request.data), "data_sha256": data.digest(),
        "val_sha256": val.digest(), "input_px": px, "seed": request.seed, "device": device, "recipe": recipe.to_dict(),
        **teacher_settings,
    }  # fmt: skip
    settings |= {name: str(value) for name in ("val", "freeze") if (value := getattr(request, name)) is not None}
    provenance = _provenance(request, settings, detector, trained)
    if inherited is not None:
        settings |= inherited.settings
        provenance |= {"started_from": "inherited weights", "inherited": inherited.provenance}
    return PreparedRun(request, task, data, val, recipe, px, settings, provenance, remark)


def _fit_to_data(
    request: TrainRequest, detector: Detector, data: DataSet
) -> tuple[Detector, InheritedStudent | None, str]:
    """The detector with the data's class map, what it inherits, and a remark about its weights."""
    import torch

    from distill.train.inherit import inherit_student
    from distill.train.transfer import adapt_classes

    if request.inherit is not None:
        inherited = inherit_student(detector, data.classes, request.inherit, request.seed)
        return inherited.detector, inherited, inherited.remark
    torch.manual_seed(request.seed)
    detector, new_tensors = adapt_classes(detector, data.classes)
    if not new_tensors:
        return detector, None, ""
    names = ", ".join(new_tensors[:4])
    text = f"{len(new_tensors)} tensors are initialized anew for {len(data.classes)} classes: {names} ..."
    return detector, None, text


def _freeze(request: TrainRequest, detector: Detector) -> str:
    """Take the parts that ``--freeze`` names from the training; a remark that says which, empty without."""
    from distill.train.freeze import freeze_parts

    return "" if request.freeze is None else f"not trained: {freeze_parts(detector, request.freeze)}"


def _import_packages() -> None:
    """Refuse to start without the packages that training needs."""
    try:
        import torch  # noqa: F401

        import distill.data.formats.readers
        import distill.teach.cache.setup
        import distill.train.transfer  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_package("training", error.name, "train") from error


def _check_options(request: TrainRequest) -> str:
    """Refuse a device or seed that cannot be used; the device that the training runs on."""
    if request.workers is None:
        check_device(request.device)
    else:
        check_worker_device(request.workers, request.device)
    if request.patience is not None and request.patience < 1:
        raise BadInput(f"--patience {request.patience} must be at least 1 epoch")
    if not 0 <= request.seed < 2**31:
        raise BadInput(f"--seed {request.seed} must be from 0 to {2**31 - 1}")
    return request.device if request.workers is None else request.workers.device


def check_device(device: str) -> None:
    """Refuse a device that torch does not have here."""
    import torch

    if device not in DEVICES:
        raise BadInput(f"--device {device!r} must be {' or '.join(DEVICES)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: torch sees no CUDA GPU here; leave it out to use the CPU")


def _open_data(request: TrainRequest) -> tuple[DataSet, DataSet]:
    """Training and validation data."""
    from distill.data.classes import check_same
    from distill.data.formats.readers import open_data, open_pair

    if request.val is None:
        return open_pair(request.data)
    data, val = open_data(request.data, "train"), open_data(request.val, "val")
    check_same(data.classes, val.classes, "the training data", "the validation data")
    return data, val


def choose_recipe(request: TrainRequest, family: str, images: int, model: str = "") -> TrainRecipe:
    """The recipe that is asked for, or the default for ``family`` and ``images``, with the request's changes.

    ``model`` is the zoo's name of the detector, for the official recipe of its size.
    """
    from distill.train.recipe import default_recipe, load_recipe, parse_changes
    from zoo.families import find_family

    changes = parse_changes(list(request.changes))
    for key in ("epochs", "batch"):
        value = getattr(request, key)
        if value is not None:
            changes[key] = value
    recipe = load_recipe(request.recipe or default_recipe(find_family(family).recipe, images), changes, family, model)
    if recipe.closing_epochs > recipe.epochs // 3 and "closing_epochs" not in changes:
        # a shortened run keeps most of its epochs with augmentation
        recipe = dataclasses.replace(recipe, closing_epochs=max(1, recipe.epochs // 6))
    if recipe.batch > images:
        recipe = dataclasses.replace(recipe, batch=images)
    return recipe


def resolve_student(request: TrainRequest) -> tuple[Detector, bool]:
    """The detector to train, and whether its weights are trained already."""
    from zoo.resolve import resolve_detector

    if request.weights is not None and request.inherit is not None:
        raise BadInput(
            "--weights and --inherit: give one of the two; --weights is for a checkpoint of the same network"
        )
    detector, trained = resolve_detector(request.model, request.seed)
    if request.weights is not None:
        weights, _ = resolve_detector(request.weights, request.seed)
        if not same_network(weights, detector):
            raise BadInput(
                f"--weights {request.weights!r} are of {weights.recipe.model}, not of {detector.recipe.model}"
            )
        detector, trained = weights, True
    if detector.fused:
        raise BadInput(
            f"{request.model!r} is folded for deployment and cannot be trained: give the unfolded checkpoint"
        )
    return detector, trained


def _provenance(request: TrainRequest, settings: dict[str, Any], detector: Detector, trained: bool) -> dict[str, Any]:
    import workbench
    from zoo.pruning.lineage import kept_provenance

    return {
        **kept_provenance(detector),
        "trained_with": f"nas-workbench {workbench.__version__}", "data": Path(request.data).name,
        "data_sha256": settings["data_sha256"], "val_sha256": settings["val_sha256"],
        "started_from": dict(detector.info.provenance) if trained else "random weights",
    }  # fmt: skip
