"""A cache of the teachers' answers for a run: which views it serves, what it depends on, and how long it lives."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from distill.data.dataset import DataSet
from distill.data.feed.presets import find_preset
from distill.data.feed.views import Views
from distill.teach.balance import Balance
from distill.teach.cache.cost_estimate import announce, taught_views
from distill.teach.cache.store import DEFAULT_GB, TeacherCache
from distill.teach.ensemble import Ensemble
from distill.teach.task import DistillationTask, TeacherLosses
from distill.train.loop import Loop
from distill.train.recipe import TrainRecipe
from distill.train.task import Task
from workbench.checks import check_number
from workbench.errors import BadInput

FOLDER = "teacher-cache"
"""Where a run keeps its cache, in its own folder, until it is done."""


@contextmanager
def use_cache(
    task: Task, teachers: Sequence[Mapping[str, Any]], data: DataSet, recipe: TrainRecipe, run: Path, *,
    input_px: int, seed: int, device: str, folder: str | None = None, budget_gb: float | None = None,
    log: Callable[[str], None] | None = None,
) -> Iterator[Callable[[Loop], None]]:  # fmt: skip
    """Gives ``task`` a cache for each of its teachers where the recipe's views come round again and the budget is not 0.

    ``teachers`` say who is asked and how, in the order of the task's. Without a ``folder`` the cache lies in that of the ``run``
    and goes when the run is done; a ``folder`` has one for each teacher, seed and so on, which runs share. Yields what is to be
    called before the first step: it measures and says what the run will take; None for ``log`` spares it that.
    """
    lessons = teacher_losses_of(task)
    budget = DEFAULT_GB if budget_gb is None else check_number("--cache-gb", budget_gb)
    tell = log or (lambda text: None)
    with ExitStack() as stack:
        caches: list[TeacherCache] = []
        if lessons and recipe.views and budget:
            views = views_of(recipe, len(data), seed, input_px)
            used = tuple(taught_views(recipe, balance_of(task).schedule, views))
            left = int(budget * 1e9)
            several = len(lessons) > 1
            for at, (lesson, teacher) in enumerate(zip(lessons, teachers, strict=True), start=1):
                if not lesson.teacher.steady:
                    continue
                key = cache_key(lesson, task, data, views, teacher)
                own = run / FOLDER / f"teacher-{at}" if several else run / FOLDER
                cache = TeacherCache.open(
                    own if folder is None else Path(folder) / digest(key), key, views, used, lesson.kept, lesson.ask, torch.device(device), left, tell
                )
                stack.callback(cache.close)
                stack.callback(setattr, lesson, "memory", None)
                left -= cache.size().room
                lesson.memory = cache
                caches.append(cache)
        loops: list[Loop] = []

        def ready(loop: Loop) -> None:
            loops.append(loop)
            if lessons and log is not None:
                log(announce(loop, lessons, balance_of(task), len(data), input_px, caches))

        yield ready
        if folder is None and all(loop.step >= loop.steps for loop in loops):
            stack.close()
            shutil.rmtree(run / FOLDER, ignore_errors=True)


def check_cache(recipe: TrainRecipe, folder: str | None, budget_gb: float | None) -> None:
    """Refuse a cache that nothing would ever be found in."""
    if budget_gb is not None:
        check_number("--cache-gb", budget_gb)
    asked = "--cache" if folder is not None else "--cache-gb" if budget_gb else ""
    if asked and not recipe.views:
        raise BadInput(f"{asked} keeps what the teacher says of views that come round again, and every view is new: add --cache-views, for instance 4")


def teacher_losses_of(task: Task) -> list[TeacherLosses]:
    """One lesson a teacher; none where nobody teaches."""
    if isinstance(task, Ensemble):
        return task.each
    return [task] if isinstance(task, DistillationTask) else []


def balance_of(task: Task) -> Balance:
    """What weighs the teachers' losses."""
    assert isinstance(task, (Ensemble, DistillationTask))
    return task.balance


def views_of(recipe: TrainRecipe, pictures: int, seed: int, input_px: int) -> Views:
    """The views that a run by ``recipe`` shows, as its loader makes them."""
    return Views(recipe.views, pictures, recipe.batch, seed, find_preset(recipe.augmentation).with_sizes(recipe.multi_scale), input_px)


def cache_key(lesson: TeacherLosses, task: Task, data: DataSet, views: Views, teacher: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that a cached answer depends on. ``teacher`` says which one, by the hash of its weights, and how it looks."""
    several = len(views.all_sides_px()) > 1
    return {
        **teacher, "kept": asdict(lesson.kept), "data_sha256": data.digest(), "files_sha256": _files_digest(data), "input_px": views.input_px,
        "seed": views.seed, "preprocess": asdict(task.detector.preprocess), "augmentation": asdict(views.preset), "batch": views.batch if several else None,
    }  # fmt: skip


def digest(key: Mapping[str, Any]) -> str:
    """A name for what was made for ``key``."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]


def _files_digest(data: DataSet) -> str:
    """Names and sizes of the pictures' files: the data's own digest does not look at pixels."""
    found = hashlib.sha256()
    for picture in data.pictures:
        file = Path(picture.file)
        # a file that is gone is the loader's to name
        found.update(f"{file.name}:{file.stat().st_size if file.exists() else -1}\n".encode())
    return found.hexdigest()
