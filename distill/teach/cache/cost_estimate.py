"""What a run with a teacher will take, said before it starts: hours, measured on this machine, and gigabytes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from distill.data.feed.views import Origin, View, Views
from distill.teach.balance import EAGER, Balance, Schedule
from distill.teach.cache.store import TeacherCache
from distill.teach.task import TeacherLosses
from distill.train.hooks.progress_line import format_duration
from distill.train.loop import Loop
from distill.train.parallel.group import group
from distill.train.recipe import TrainRecipe
from zoo.images import Preprocess
from zoo.learning.targets import Targets

OBJECTS = 4
"""Objects on each picture that a step is timed with."""
DEAR = 0.4
"""Teachers that take more than this part of what the step takes without them are worth a cache."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A batch that looks like any other, to time a step with."""

    image: Tensor
    targets: Targets
    origin: Origin | None = None

    @staticmethod
    def of(images: int, input_px: int, classes: int, preprocess: Preprocess, seed: int = 0) -> Rehearsal:
        """Noise with ``OBJECTS`` boxes a picture."""
        random = torch.Generator().manual_seed(seed)
        mean, std = (torch.tensor(values)[:, None, None] for values in (preprocess.mean, preprocess.std))
        image = (torch.rand(images, 3, input_px, input_px, generator=random) * 255 * preprocess.scale - mean) / std
        corners = torch.rand(images, OBJECTS, 2, generator=random) * input_px * 0.6
        sides = (0.1 + 0.3 * torch.rand(images, OBJECTS, 2, generator=random)) * input_px
        labels = torch.randint(classes, (images, OBJECTS), generator=random)
        return Rehearsal(image, Targets(tuple(torch.cat([corners, corners + sides], -1)), tuple(labels), tuple(torch.zeros(images, 0, 4))))


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Seconds a batch."""

    step: float
    """With the teachers asked."""
    teachers: float
    """Those that can be cached, alone."""


def time_steps(loop: Loop, lessons: Sequence[TeacherLosses], balance: Balance, input_px: int) -> StepTimes:
    """Time a step and the teachers, the second of two times each. Nothing is learnt from it."""
    detector = loop.task.detector
    batch = Rehearsal.of(loop.recipe.batch // group().world, input_px, detector.classes, detector.preprocess)
    calls = balance.get_buffer("calls")
    before = int(calls)
    # past the first calls, each of which measures gradients, and on none that does
    calls.fill_(EAGER * balance.every + 1)
    step = [loop.rehearse(batch) for _ in range(2)][-1]
    calls.fill_(before)
    image = batch.image.to(loop.device)
    steady = [lesson for lesson in lessons if lesson.teacher.steady]
    teachers = [loop.timed(lambda: [lesson.ask(image) for lesson in steady]) for _ in range(2)][-1]
    return StepTimes(step, teachers)


def taught_views(recipe: TrainRecipe, schedule: Schedule, views: Views) -> Counter[View]:
    """The views for which a run needs its teacher, and in how many epochs; those seen most often come first."""
    found: Counter[View] = Counter()
    for epoch in range(recipe.epochs):
        if schedule.share(epoch / recipe.epochs) > 0:
            found[views.of(epoch, epoch >= recipe.epochs - recipe.closing_epochs)] += 1
    return Counter(dict(sorted(found.items(), key=lambda item: (-item[1], item[0].closing, item[0].number))))


def announce(loop: Loop, lessons: Sequence[TeacherLosses], balance: Balance, pictures: int, input_px: int, caches: Sequence[TeacherCache]) -> str:
    """One line on what lies ahead: measures, then predicts."""
    times = time_steps(loop, lessons, balance, input_px)
    recipe = loop.recipe
    left = (loop.steps - loop.step) * recipe.accumulate
    taught = max(0, left - math.ceil(balance.schedule.tail * loop.steps * recipe.accumulate))
    bare_s = left * (times.step - times.teachers)
    live_s = bare_s + taught * times.teachers
    if not caches:
        way_out = "; nas distill --cache-views would ask it once for each view of a picture" if times.teachers > DEAR * (times.step - times.teachers) else ""
        return (
            f"teacher: asked in {taught:,} of {left:,} steps, {100 * times.teachers / times.step:.0f} % of each; about {format_duration(live_s)} on this machine, "
            f"{format_duration(taught * times.teachers)} of it the teacher's{way_out}"
        )
    visits = taught_views(recipe, balance.schedule, caches[0].views)
    asked = sum(cache.missing(view) + (pictures - cache.fits(view)) * times_seen for cache in caches for view, times_seen in visits.items()) / len(caches)
    asked_s = min(asked / recipe.batch, taught) * times.teachers
    sizes = [cache.size() for cache in caches]
    wanted, room, there = (sum(getattr(size, name) for size in sizes) for name in ("wanted", "room", "there"))
    closing = sum(view.closing for view in visits)
    told = f"{count(pictures, 'picture')} x {count(len(visits) - closing, 'view')}{f' + {closing} of the last epochs' if closing else ''}, "
    told += f"{wanted / max(1, pictures * len(visits)) / 1e6:.2g} MB each: {room / 1e9:.3g} GB of {sizes[0].budget / 1e9:.3g} GB budget"
    if wanted > room:
        told += f" (all would be {wanted / 1e9:.3g} GB)"
    if there:
        told += f", {count(there, 'answer')} there already"
    return f"teacher: {told}; about {format_duration(bare_s + asked_s)} on this machine, {format_duration(asked_s)} of it the teacher's (without the cache {format_duration(live_s)})"


def count(number: int, what: str) -> str:
    """``1 view``, ``2 views``."""
    return f"{number:,} {what}{'s' * (number != 1)}"
