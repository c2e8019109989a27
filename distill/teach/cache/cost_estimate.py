"""Predicts the duration of a run with teachers, measured on this machine, and the size of the cache."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from distill.data.feed.views import Origin, View, Views
from distill.teach.balance import WARMUP_CALLS, Schedule
from distill.teach.cache.store import TeacherCache
from distill.teach.task import DistillationTask
from distill.train.hooks.progress_line import format_duration
from distill.train.loop import Loop
from distill.train.parallel.group import group
from distill.train.recipe import TrainRecipe
from zoo.images import Preprocess
from zoo.learning.targets import Targets

OBJECTS = 4
"""Objects in each image of the batch that is timed."""
EXPENSIVE = 0.4
"""A cache is suggested if the teachers take more than this part of a step without them."""


@dataclass(frozen=True, slots=True)
class SyntheticBatch:
    """A random batch to time a step with."""

    image: Tensor
    targets: Targets
    origin: Origin | None = None

    @staticmethod
    def random(images: int, input_px: int, classes: int, preprocess: Preprocess, seed: int = 0) -> SyntheticBatch:
        """Noise with ``OBJECTS`` boxes an image."""
        generator = torch.Generator().manual_seed(seed)
        mean, std = (torch.tensor(values)[:, None, None] for values in (preprocess.mean, preprocess.std))
        noise = torch.rand(images, 3, input_px, input_px, generator=generator) * 255
        image = (noise * preprocess.scale - mean) / std
        corners = torch.rand(images, OBJECTS, 2, generator=generator) * input_px * 0.6
        sides = (0.1 + 0.3 * torch.rand(images, OBJECTS, 2, generator=generator)) * input_px
        labels = torch.randint(classes, (images, OBJECTS), generator=generator)
        boxes = torch.cat([corners, corners + sides], -1)
        return SyntheticBatch(image, Targets(tuple(boxes), tuple(labels), tuple(torch.zeros(images, 0, 4))))


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Seconds per batch."""

    step: float
    """A whole step, teachers included."""
    teachers: float
    """The teachers that can be cached, alone."""


def time_steps(loop: Loop, task: DistillationTask, input_px: int) -> StepTimes:
    """Time a step and the teachers, the second of two runs each. The training state stays as it is."""
    detector = loop.task.detector
    batch = SyntheticBatch.random(loop.recipe.batch // group().world, input_px, detector.classes, detector.preprocess)
    calls = task.balance.get_buffer("calls")
    before = int(calls)
    # a call that measures no gradients
    calls.fill_(WARMUP_CALLS * task.balance.every + 1)
    step = [loop.rehearse(batch) for _ in range(2)][-1]
    calls.fill_(before)
    image = batch.image.to(loop.device)
    fixed = [part for part in task.parts if part.teacher.is_fixed]
    teachers = [loop.timed(lambda: [part.compute(image) for part in fixed]) for _ in range(2)][-1]
    return StepTimes(step, teachers)


def teacher_views(recipe: TrainRecipe, schedule: Schedule, views: Views) -> Counter[View]:
    """The views for which a run needs its teacher, with their number of epochs, in descending order of it."""
    counts: Counter[View] = Counter()
    for epoch in range(recipe.epochs):
        if schedule.factor(epoch / recipe.epochs) > 0:
            counts[views.of(epoch, epoch >= recipe.epochs - recipe.closing_epochs)] += 1
    return Counter(dict(sorted(counts.items(), key=lambda item: (-item[1], item[0].closing, item[0].number))))


def describe_cost(
    loop: Loop, task: DistillationTask, images: int, input_px: int, caches: Sequence[TeacherCache]
) -> str:
    """One line with the predicted duration of the run on ``images`` images; times a few steps first."""
    times = time_steps(loop, task, input_px)
    recipe, schedule = loop.recipe, task.balance.schedule
    batches = (loop.steps - loop.step) * recipe.accumulate
    with_teacher = max(0, batches - math.ceil(schedule.tail * loop.steps * recipe.accumulate))
    student_s = batches * (times.step - times.teachers)
    uncached_s = with_teacher * times.teachers
    if not caches:
        hint = ""
        if times.teachers > EXPENSIVE * (times.step - times.teachers):
            hint = "; nas distill --cache-views would run it once for each view of an image"
        share = 100 * times.teachers / times.step
        return (
            f"teacher: runs in {with_teacher:,} of {batches:,} steps and takes {share:.0f} % of each; about "
            f"{format_duration(student_s + uncached_s)} on this machine, {format_duration(uncached_s)} of it for the "
            f"teacher{hint}"
        )
    views = teacher_views(recipe, schedule, caches[0].views)
    computed = sum(
        cache.missing(view) + (images - cache.capacity(view)) * epochs
        for cache in caches
        for view, epochs in views.items()
    )
    cached_s = min(computed / len(caches) / recipe.batch, with_teacher) * times.teachers
    return (
        f"teacher: {_describe_size(views, images, caches)}; about {format_duration(student_s + cached_s)} on this "
        f"machine, {format_duration(cached_s)} of it for the teacher (without the cache "
        f"{format_duration(student_s + uncached_s)})"
    )


def _describe_size(views: Counter[View], images: int, caches: Sequence[TeacherCache]) -> str:
    sizes = [cache.size() for cache in caches]
    total, capacity, present = (sum(getattr(size, name) for size in sizes) for name in ("total", "capacity", "present"))
    closing = sum(view.closing for view in views)
    text = f"{count(images, 'image')} x {count(len(views) - closing, 'view')}"
    text += f"{f' + {closing} of the last epochs' if closing else ''}, "
    text += f"{total / max(1, images * len(views)) / 1e6:.2g} MB each: "
    text += f"{capacity / 1e9:.3g} GB of {sizes[0].budget / 1e9:.3g} GB budget"
    if total > capacity:
        text += f" (all would be {total / 1e9:.3g} GB)"
    if present:
        text += f", {count(present, 'record')} present"
    return text


def count(number: int, noun: str) -> str:
    """``1 view``, ``2 views``."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
