"""From the words of a command to a training run: the model is resolved, the data opened, the recipe chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from distill.teach.request import TeacherRequest, make_task, same_network
from distill.train.parallel.worker_request import WorkerRequest, check_batch, check_spread_device
from workbench.console import Progress
from workbench.errors import BadInput, missing_package

if TYPE_CHECKING:
    from distill.data.dataset import DataSet
    from distill.train.loop import Loop
    from distill.train.recipe import TrainRecipe
    from distill.train.run import TrainResult
    from distill.train.task import Task
    from workbench.run_folder import RunFolder
    from zoo.detector import Detector

DEVICES = ("cpu", "cuda")


class LogFunction(Protocol):
    """What shows a line of progress; ``force`` shows it however fresh the last one is."""

    def __call__(self, text: str, force: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What ``nas train`` was asked for; None stands for a default."""

    model: str
    data: str
    val: str | None = None
    weights: str | None = None
    recipe: str | None = None
    changes: tuple[str, ...] = ()
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
    quiet: bool = False
    teaching: TeacherRequest | None = None
    """What ``nas distill`` adds."""
    spread: WorkerRequest | None = None
    """The processes that train, unless it is this one."""


def check_device(device: str) -> None:
    """Refuse a device that torch does not have here."""
    import torch

    if device not in DEVICES:
        raise BadInput(f"--device {device!r} must be {' or '.join(DEVICES)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: torch sees no CUDA GPU here; leave it out to use the CPU")


def choose_recipe(request: TrainRequest, family: str, images: int) -> TrainRecipe:
    """The recipe asked for, or the default, with the command's changes."""
    from distill.train.recipe import default_recipe, load_recipe, parse_changes
    from zoo.families import find_family

    changes = parse_changes(list(request.changes))
    for key in ("epochs", "batch"):
        value = getattr(request, key)
        if value is not None:
            changes[key] = value
    recipe = load_recipe(request.recipe or default_recipe(find_family(family).recipe, images), changes)
    if recipe.closing_epochs > recipe.epochs // 3 and "closing_epochs" not in changes:
        # Shortened runs keep the proportion between augmented and closing epochs bearable.
        recipe = dataclasses.replace(recipe, closing_epochs=max(1, recipe.epochs // 6))
    if recipe.batch > images:
        recipe = dataclasses.replace(recipe, batch=images)
    return recipe


@dataclass
class PreparedRun:
    """A training that may begin: everything is checked, and nothing is written yet."""

    request: TrainRequest
    task: Task
    data: DataSet
    val: DataSet
    recipe: TrainRecipe
    input_px: int
    name: str
    """Of its folder below ``request.runs``."""
    settings: dict[str, Any]
    provenance: dict[str, Any]
    remark: str
    """What a person should know before it begins."""

    def run(self, enough: Callable[[list[dict[str, Any]]], bool] = lambda history: False, title: str = "") -> TrainResult:
        """Train, or go on with what is in the folder; ``enough`` as in ``distill.train.run``. ``title`` stands before every progress line.

        Other processes, where they are asked for, do not ask whether it is ``enough``.
        """
        progress = Progress(self.request.quiet)

        def log(text: str, force: bool = False) -> None:
            progress.show(title + text, force)

        try:
            if self.request.spread is None:
                return self.train(log, enough)
            from distill.train.parallel.on_ray import train_on_ray

            return train_on_ray(self, log)
        finally:
            progress.done()

    def open_folder(self) -> RunFolder:
        """The run's folder, new or gone on with."""
        import torch

        import workbench
        from distill.train.run import PRODUCTS
        from workbench.run_folder import RunFolder

        versions = {"nas": workbench.__version__, "torch": str(torch.__version__)}
        return RunFolder.open(Path(self.request.runs) / self.name, self.settings, versions, PRODUCTS, self.request.fresh)

    def train(
        self, log: LogFunction, enough: Callable[[list[dict[str, Any]]], bool] = lambda history: False, asked_to_stop: Callable[[], bool] = lambda: False
    ) -> TrainResult:
        """Train in this process, or do its part among those that share every batch; ``enough`` and ``asked_to_stop`` as in ``distill.train.run``."""
        from distill.train.parallel.group import group
        from distill.train.run import train
        from workbench.events import EventWriter
        from workbench.run_folder import RunFolderReader

        request = self.request
        folder = self.open_folder() if group().writes else RunFolderReader(Path(request.runs) / self.name)
        if self.remark:
            log(self.remark, force=True)
        told = f"{len(self.data)} training images, {len(self.val)} to validate, {len(self.data.classes)} classes; recipe {self.recipe.name}, {self.recipe.epochs} epochs"
        log(told, force=True)
        try:
            with ExitStack() as stack:
                board = stack.enter_context(EventWriter(folder.folder / "events")) if group().writes else None
                ready = stack.enter_context(self._remembering(folder.folder, log))
                return train(
                    self.task, self.data, self.val, self.recipe, folder, input_px=self.input_px, seed=request.seed, device=request.device,
                    precision=self.recipe.precision, workers=request.data_workers, provenance=self.provenance, board=board,
                    log=log, ready=ready, enough=enough, asked_to_stop=asked_to_stop,
                )  # fmt: skip
        finally:
            folder.close()

    def _remembering(self, run: Path, log: LogFunction) -> AbstractContextManager[Callable[[Loop], None]]:
        """A cache of what the teachers say, where views come round again."""
        from distill.teach.cache.setup import use_cache

        teaching, told = self.request.teaching, self.settings.get("teachers", [self.settings])
        return use_cache(
            self.task, [{name: value for name, value in one.items() if name.startswith("teacher")} for one in told], self.data, self.recipe, run,
            input_px=self.input_px, seed=self.request.seed, device=self.request.device, folder=None if teaching is None else teaching.cache,
            budget_gb=None if teaching is None else teaching.cache_gb, log=None if self.request.quiet else lambda text: log(text, force=True),
        )  # fmt: skip


def train_from(request: TrainRequest) -> TrainResult:
    """Do what a request says; the run's outcome."""
    return prepare(request).run()


def prepare(request: TrainRequest) -> PreparedRun:
    """Resolve and check what a request says; nothing is written."""
    try:
        import torch

        import distill.train.run  # noqa: F401
        import workbench
        from distill.data.classes import check_same
        from distill.data.formats.readers import open_data, open_pair
        from distill.teach.cache.setup import check_cache
        from distill.train.transfer import adapt_classes
    except ModuleNotFoundError as error:
        raise missing_package("training", error.name, "train") from error
    device = request.device if request.spread is None else request.spread.device
    if request.spread is None:
        check_device(device)
    else:
        check_spread_device(request.spread, request.device)
    if not 0 <= request.seed < 2**31:
        raise BadInput(f"--seed {request.seed} must be from 0 to {2**31 - 1}")
    if request.val is None:
        data, val = open_pair(request.data)
    else:
        data, val = open_data(request.data, "train"), open_data(request.val, "val")
        check_same(data.classes, val.classes, "the training data", "the validation data")
    detector, trained = resolve_student(request)
    px = request.input_px or detector.info.input_px
    if px < 64 or px % 32:
        raise BadInput(f"--input {px} must be a multiple of 32 of at least 64 pixels")
    torch.manual_seed(request.seed)
    detector, fresh = adapt_classes(detector, data.classes)
    recipe = choose_recipe(request, detector.family, len(data))
    recipe = dataclasses.replace(recipe, precision=request.precision or ("fp32" if device == "cpu" else recipe.precision))
    if request.spread is not None:
        check_batch(request.spread, recipe.batch)
    if request.deterministic:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    if request.teaching is not None:
        check_cache(recipe, request.teaching.cache, request.teaching.cache_gb)
        request = dataclasses.replace(request, teaching=request.teaching.decided(device, recipe.precision))
    task, taught = make_task(detector, request.teaching, request.seed, px)
    settings: dict[str, Any] = {
        "model": request.model, "weights": request.weights, "data": str(request.data), "data_sha256": data.digest(), "val_sha256": val.digest(),
        "input_px": px, "seed": request.seed, "device": device, "recipe": recipe.to_dict(), **taught,
    }  # fmt: skip
    provenance = {
        "trained_with": f"nas-workbench {workbench.__version__}", "data": Path(request.data).name, "data_sha256": settings["data_sha256"],
        "val_sha256": settings["val_sha256"],
        "started_from": dict(detector.info.provenance) if trained else "random weights",
    }  # fmt: skip
    remark = f"{len(fresh)} tensors start afresh for {len(data.classes)} classes: {', '.join(fresh[:4])} ..." if fresh else ""
    return PreparedRun(request, task, data, val, recipe, px, run_name(request), settings, provenance, remark)


def resolve_student(request: TrainRequest) -> tuple[Detector, bool]:
    """The detector that is to learn, and whether its weights are trained."""
    from zoo.resolve import resolve_detector

    detector, trained = resolve_detector(request.model, request.seed)
    if request.weights is not None:
        given, _ = resolve_detector(request.weights, request.seed)
        if not same_network(given, detector):
            raise BadInput(f"--weights {request.weights!r} are of {given.recipe.model}, not of {detector.recipe.model}")
        detector, trained = given, True
    if detector.fused:
        raise BadInput(f"{request.model!r} is folded for deployment and cannot be trained: give the unfolded checkpoint")
    return detector, trained


def run_name(request: TrainRequest) -> str:
    """The name of a run's folder, unless the command says one."""
    return request.name or f"{'train' if request.teaching is None else 'distill'}-{folder_name(request.model)}-{folder_name(request.data)}"


def folder_name(text: str) -> str:
    """A name for a folder out of a path or model name; a run's best.yaml goes by the run."""
    path = Path(text)
    stem = path.parent.name if path.stem in ("best", "last") and path.parent.name else path.stem
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in stem) or "run"
