"""From the words of a command to a training run: the model is resolved, the data opened, the recipe chosen."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.console import Progress
from search_spaces.errors import BadInput, missing_package

if TYPE_CHECKING:
    from distill.recipe import TrainRecipe
    from distill.task import Task
    from distill.train import Outcome
    from zoo.detector import Detector

DEVICES = ("cpu", "cuda")


@dataclass(frozen=True, slots=True)
class Request:
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
    workers: int | None = None
    seed: int = 0
    deterministic: bool = False
    name: str | None = None
    runs: str = "runs"
    fresh: bool = False
    quiet: bool = False
    teaching: Teaching | None = None
    """What ``nas distill`` adds."""


@dataclass(frozen=True, slots=True)
class Teaching:
    """The teacher and its methods as a command names them; None stands for a default."""

    teacher: str
    weights: str | None = None
    input_px: int | None = None
    features: tuple[str, ...] = ("cwd",)
    responses: tuple[str, ...] | None = None
    share: float | None = None
    half: bool = False


def check_device(device: str) -> None:
    """Refuse a device that torch does not have here."""
    import torch

    if device not in DEVICES:
        raise BadInput(f"--device {device!r} must be {' or '.join(DEVICES)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: torch sees no CUDA GPU here; leave it out to use the CPU")


def choose_recipe(request: Request, family: str, images: int) -> TrainRecipe:
    """The recipe asked for, or the default, with the command's changes."""
    from distill.recipe import default_recipe, load_recipe, parse_changes

    changes = parse_changes(list(request.changes))
    for key in ("epochs", "batch"):
        value = getattr(request, key)
        if value is not None:
            changes[key] = value
    recipe = load_recipe(request.recipe or default_recipe(family, images), changes)
    if recipe.closing_epochs > recipe.epochs // 3 and "closing_epochs" not in changes:
        # Shortened runs keep the proportion between augmented and closing epochs bearable.
        recipe = dataclasses.replace(recipe, closing_epochs=max(1, recipe.epochs // 6))
    if recipe.batch > images:
        recipe = dataclasses.replace(recipe, batch=images)
    return recipe


def train_from(request: Request) -> Outcome:
    """Do what a request says; the run's outcome."""
    try:
        import torch

        import nas
        from distill.data.classes import check_same
        from distill.data.readers import open_data, open_pair
        from distill.events import EventWriter
        from distill.run_folder import RunFolder
        from distill.train import PRODUCTS, train
        from distill.transfer import for_classes
        from nas.resolve import resolve_detector
    except ModuleNotFoundError as error:
        raise missing_package("training", error.name, "train") from error
    check_device(request.device)
    if not 0 <= request.seed < 2**31:
        raise BadInput(f"--seed {request.seed} must be from 0 to {2**31 - 1}")
    if request.val is None:
        data, val = open_pair(request.data)
    else:
        data, val = open_data(request.data, "train"), open_data(request.val, "val")
        check_same(data.classes, val.classes, "the training data", "the validation data")
    detector, trained = resolve_detector(request.model, request.seed)
    if request.weights is not None:
        given, _ = resolve_detector(request.weights, request.seed)
        if not same_network(given, detector):
            raise BadInput(f"--weights {request.weights!r} are of {given.recipe.model}, not of {detector.recipe.model}")
        detector, trained = given, True
    if detector.fused:
        raise BadInput(f"{request.model!r} is folded for deployment and cannot be trained: give the unfolded checkpoint")
    px = request.input_px or detector.info.input_px
    if px < 64 or px % 32:
        raise BadInput(f"--input {px} must be a multiple of 32 of at least 64 pixels")
    torch.manual_seed(request.seed)
    detector, fresh = for_classes(detector, data.classes)
    recipe = choose_recipe(request, detector.family, len(data))
    precision = request.precision or ("fp32" if request.device == "cpu" else recipe.precision)
    recipe = dataclasses.replace(recipe, precision=precision)
    if request.deterministic:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    task, taught = make_task(detector, request, px)
    name = request.name or f"{'train' if request.teaching is None else 'distill'}-{_plain_name(request.model)}-{_plain_name(request.data)}"
    settings: dict[str, Any] = {
        "model": request.model, "weights": request.weights, "data": str(request.data), "data_sha256": data.digest(), "val_sha256": val.digest(),
        "input_px": px, "seed": request.seed, "device": request.device, "recipe": recipe.to_dict(), **taught,
    }  # fmt: skip
    folder = RunFolder.open(Path(request.runs) / name, settings, {"nas": nas.__version__, "torch": str(torch.__version__)}, PRODUCTS, request.fresh)
    progress = Progress(request.quiet)
    provenance = {
        "trained_with": f"nas-workbench {nas.__version__}", "data": Path(request.data).name, "data_sha256": settings["data_sha256"],
        "started_from": dict(detector.info.provenance) if trained else "random weights",
    }  # fmt: skip
    if fresh:
        progress.show(f"{len(fresh)} tensors start afresh for {len(data.classes)} classes: {', '.join(fresh[:4])} ...", force=True)
    progress.show(f"{len(data)} training images, {len(val)} to validate, {len(data.classes)} classes; recipe {recipe.name}, {recipe.epochs} epochs", force=True)
    try:
        with EventWriter(folder.folder / "events") as board:
            return train(
                task, data, val, recipe, folder, input_px=px, seed=request.seed, device=request.device, precision=precision,
                workers=request.workers, provenance=provenance, board=board, say=progress.show,
            )  # fmt: skip
    finally:
        progress.done()
        folder.close()


def same_network(a: Detector, b: Detector) -> bool:
    """Whether two detectors are one model, whatever they are called and however many classes they have."""

    def network(of: Detector) -> object:
        arch = of.recipe.architecture
        if arch is None or arch.head is None:
            return of.recipe.model
        return dataclasses.replace(arch, name="", head=dataclasses.replace(arch.head, classes=1))

    return network(a) == network(b)


def make_task(student: Detector, request: Request, px: int) -> tuple[Task, dict[str, Any]]:
    """What is learnt, and what a run's settings must say of it."""
    from distill.task import Supervised

    teaching = request.teaching
    if teaching is None:
        return Supervised(student), {}
    from distill.teach import DEFAULT_SHARE, Distilled, Lessons, Teacher, student_lineage
    from nas.resolve import resolve_detector

    if teaching.weights is None and Path(teaching.teacher).suffix != ".safetensors":
        raise BadInput(f"--teacher {teaching.teacher!r} has no trained weights of its own: add --teacher-weights FILE (nas zoo import makes one)")
    source = teaching.weights or teaching.teacher
    teacher, _ = resolve_detector(source, request.seed)
    if teaching.weights is not None:
        wanted, _ = resolve_detector(teaching.teacher, request.seed)
        if not same_network(wanted, teacher):
            raise BadInput(f"--teacher-weights {teaching.weights!r} are of {teacher.recipe.model}, not of {wanted.recipe.model}")
    sha256 = hashlib.sha256(Path(source).read_bytes()).hexdigest()
    lessons = Lessons(
        {name: {} for name in teaching.features}, None if teaching.responses is None else {name: {} for name in teaching.responses},
        DEFAULT_SHARE if teaching.share is None else teaching.share,
    )  # fmt: skip
    task = Distilled(student, Teacher(teacher, student, teaching.input_px or px, px, teaching.half), lessons)
    student.info = dataclasses.replace(student.info, lineage=student_lineage(student, teacher, sha256))
    return task, {
        "teacher": teacher.recipe.model, "teacher_sha256": sha256, "teacher_input_px": teaching.input_px or px, "teacher_half": teaching.half,
        "features": list(task.features), "responses": list(task.responses), "share": lessons.share,
    }  # fmt: skip


def _plain_name(text: str) -> str:
    """A name for a folder out of a path or model name; a run's best.yaml goes by the run."""
    path = Path(text)
    stem = path.parent.name if path.stem in ("best", "last") and path.parent.name else path.stem
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in stem) or "run"
