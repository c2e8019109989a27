"""Sets up the caches of a run: which views they serve, what they depend on, and how long they live."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from distill.data.contents import contents_digest
from distill.data.dataset import DataSet
from distill.data.feed.views import Views
from distill.teach.cache.cost_estimate import describe_cost, teacher_views
from distill.teach.cache.store import DEFAULT_GB, CacheContents, TeacherCache
from distill.teach.losses import TeacherLosses
from distill.teach.task import DistillationTask
from distill.train.loop import Loop
from distill.train.recipe import TrainRecipe
from distill.train.task import Task
from workbench.checks import check_number
from workbench.errors import BadInput

FOLDER = "teacher-cache"
"""The cache's folder in the run folder, until the run is done."""


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """Where a run keeps its caches."""

    run: Path
    """The run folder."""
    device: str = "cpu"
    folder: str | None = None
    """A folder that outlives the run and may be shared; None is the run folder, until the run is done."""
    budget_gb: float | None = None
    """Disk space in 1e9 bytes; 0 disables the cache."""


@contextmanager
def use_cache(
    task: Task,
    teachers: Sequence[Mapping[str, Any]],
    data: DataSet,
    recipe: TrainRecipe,
    options: CacheOptions,
    *,
    input_px: int,
    seed: int,
    log: Callable[[str], None] | None = None,
) -> Iterator[Callable[[Loop], None]]:
    """Give each teacher of ``task`` a cache, if the recipe repeats views and the budget is not 0.

    ``teachers`` are their entries in the run's settings, in the order of the task. Yields a function to be called
    before the first step, which predicts the duration of the run and logs it; without ``log`` it does not.
    """
    loops: list[Loop] = []
    with ExitStack() as stack:
        caches: list[TeacherCache] = []
        if isinstance(task, DistillationTask) and recipe.views:
            views = views_of(recipe, len(data), seed, input_px)
            keys = [
                cache_key(part, task, data, views, teacher) for part, teacher in zip(task.parts, teachers, strict=True)
            ]
            caches = _open_caches(stack, task, keys, recipe, views, options, log or (lambda text: None))

        def before_training(loop: Loop) -> None:
            loops.append(loop)
            if isinstance(task, DistillationTask) and log is not None:
                log(describe_cost(loop, task, len(data), input_px, caches))

        yield before_training
        if options.folder is None and all(loop.step >= loop.steps for loop in loops):
            stack.close()
            shutil.rmtree(options.run / FOLDER, ignore_errors=True)


def _open_caches(
    stack: ExitStack,
    task: DistillationTask,
    keys: Sequence[Mapping[str, Any]],
    recipe: TrainRecipe,
    views: Views,
    options: CacheOptions,
    log: Callable[[str], None],
) -> list[TeacherCache]:
    """A cache for each teacher whose outputs are fixed; the budget is spent in the order of the teachers."""
    budget_gb = DEFAULT_GB if options.budget_gb is None else check_number("--cache-gb", options.budget_gb)
    if not budget_gb:
        return []
    used = tuple(teacher_views(recipe, task.balance.schedule, views))
    left = int(budget_gb * 1e9)
    caches = []
    for number, (part, key) in enumerate(zip(task.parts, keys, strict=True), start=1):
        if not part.teacher.is_fixed:
            continue
        in_run = options.run / FOLDER / f"teacher-{number}" if len(keys) > 1 else options.run / FOLDER
        folder = in_run if options.folder is None else Path(options.folder) / digest(key)
        contents = CacheContents(views, used, part.required)
        cache = TeacherCache.open(folder, key, contents, part.compute, torch.device(options.device), left, log)
        stack.callback(cache.close)
        stack.callback(setattr, part, "cache", None)
        left -= cache.size().capacity
        part.cache = cache
        caches.append(cache)
    return caches


def check_cache(recipe: TrainRecipe, folder: str | None, budget_gb: float | None) -> None:
    """Refuse a cache for a recipe that repeats no view."""
    if budget_gb is not None:
        check_number("--cache-gb", budget_gb)
    option = "--cache" if folder is not None else "--cache-gb" if budget_gb else ""
    if option and not recipe.views:
        raise BadInput(
            f"{option} stores the teacher's outputs of repeated views, and this recipe repeats none: "
            "add --cache-views, for instance 4"
        )


def views_of(recipe: TrainRecipe, images: int, seed: int, input_px: int) -> Views:
    """The views that the loader shows in a run by ``recipe``."""
    preset = recipe.preset()
    return Views(recipe.views, images, recipe.batch, seed, preset, input_px)


def cache_key(
    part: TeacherLosses, task: Task, data: DataSet, views: Views, teacher: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that a record depends on. ``teacher`` is the teacher's entry in the run's settings."""
    several_sizes = len(views.all_sides_px()) > 1
    required = part.required
    kept = {
        "features": required.features,
        "answer": required.predictions,
        "distributions": required.distributions,
        "columns": required.columns,
    }
    return {
        **teacher,
        "kept": kept,
        "data_sha256": data.digest(),
        "contents_sha256": contents_digest(data),
        "input_px": views.input_px,
        "seed": views.seed,
        "preprocess": asdict(task.detector.preprocess),
        "augmentation": asdict(views.preset),
        "batch": views.batch if several_sizes else None,
    }


def digest(key: Mapping[str, Any]) -> str:
    """A short hash of ``key``, as a folder name."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
