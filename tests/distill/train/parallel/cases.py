"""Short trainings that one process and several do alike: what each step reported, and the state it ended in."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch

from distill.teach.settings import DistillationSettings
from distill.teach.task import DistillationTask
from distill.teach.teacher import Teacher
from distill.train.loop import Batch, Loop
from distill.train.parallel.group import group
from distill.train.recipe import load_recipe
from distill.train.task import SupervisedTask, Task
from tests.distill.tiny import CLASSES, PX, TinyBatch, batches, tiny_detector
from zoo.detector import Detector, Recipe
from zoo.factory import build_recipe
from zoo.learning.targets import Targets

STEPS = 4
IMAGES = 4


def part_of(batch: Batch) -> Batch:
    """This process's images of a batch."""
    mine = group()
    share = len(batch.targets) // mine.world
    rows = slice(mine.rank * share, (mine.rank + 1) * share)
    targets = Targets(*(column[rows] for column in (batch.targets.boxes, batch.targets.labels, batch.targets.ignored)))
    return TinyBatch(batch.image[rows], targets)


def as_task(batch: Batch, task: Task) -> Batch:
    """A batch as precise as the task's weights."""
    return TinyBatch(batch.image.to(next(task.parameters()).dtype), batch.targets)


def emptied(batch: Batch, images: Sequence[int]) -> Batch:
    """A batch with some images of which nobody knows an object."""
    columns = [list(column) for column in (batch.targets.boxes, batch.targets.labels, batch.targets.ignored)]
    for image in images:
        columns[0][image], columns[1][image] = columns[0][image][:0], columns[1][image][:0]
    return TinyBatch(batch.image, Targets(*(tuple(column) for column in columns)))


def detector(model: str, seed: int = 0) -> Detector:
    """A small detector that says ``CLASSES`` classes."""
    if model == "tiny":
        return tiny_detector(seed)
    torch.manual_seed(seed)
    return build_recipe(Recipe(model, CLASSES))


def plain(model: str) -> Task:
    return SupervisedTask(detector(model))


def doubled(task: Task) -> Task:
    """The same in float64, for networks whose first gradients are so large that the order of float32 sums matters."""
    return task.double()


def distilled(features: Sequence[str], responses: Sequence[str]) -> Task:
    student = detector("tiny")
    teacher = Teacher(detector("tiny", 1), student, PX, PX)
    return DistillationTask(
        student, [teacher], DistillationSettings({name: {} for name in features}, {name: {} for name in responses}, 0.3)
    )


def ensemble() -> Task:
    student = detector("tiny")
    teachers = [Teacher(detector("tiny", seed), student, PX, PX) for seed in (1, 2)]
    return DistillationTask(student, teachers, DistillationSettings({"cwd": {}}, {"scores": {}}, 0.3))


TASKS: dict[str, Callable[[], Task]] = {
    "damo": lambda: plain("tiny"),
    "accumulated": lambda: plain("tiny"),
    "yolox": lambda: doubled(plain("yolox-nano")),
    "yolo11": lambda: doubled(plain("yolo11n")),
    "yolo26": lambda: doubled(plain("yolo26n")),
    "yolov7": lambda: doubled(plain("yolov7")),
    "rtdetr": lambda: doubled(plain("rtdetrv2-s")),
    "features": lambda: distilled(["cwd", "mgd", "mimic", "pkd", "fgd"], []),
    "cells": lambda: distilled(["pkd"], ["scores", "localisation", "boxes"]),
    "boxes": lambda: distilled([], ["overlap", "hungarian"]),
    "ensemble": ensemble,
}


def loop_of(name: str, **changes: Any) -> Loop:
    """A loop with SGD: an optimizer that divides by the gradient's size would hide a wrong factor."""
    settings = {
        "optimizer": "sgd",
        "momentum": 0.9,
        "lr": 1e-3,
        "nominal_batch": IMAGES,
        "batch": IMAGES,
        "epochs": 4,
        "closing_epochs": 1,
    }
    recipe = load_recipe("small", {**settings, **changes})
    return Loop(TASKS[name](), recipe, STEPS, 1)


def fed(count: int = STEPS) -> list[Batch]:
    """Batches, of which the second has no object in its latter half and the third none at all."""
    found = batches(count, IMAGES)
    if count > 2:
        found[1], found[2] = emptied(found[1], range(IMAGES // 2, IMAGES)), emptied(found[2], range(IMAGES))
    return found


def trained(name: str, accumulate: int = 1) -> dict[str, Any]:
    """The reports of ``STEPS`` steps and the state after them."""
    loop = loop_of(name, accumulate=accumulate)
    parts = [as_task(part_of(batch), loop.task) for batch in fed(STEPS * accumulate)]
    reports = [loop.advance(parts[at * accumulate : (at + 1) * accumulate]) for at in range(STEPS)]
    return {"reports": [dataclasses.asdict(report) for report in reports], "state": copy.deepcopy(loop.state())}


def all_trained(names: Sequence[str]) -> dict[str, Any]:
    """By name; one of them accumulates two batches a step, one overflows."""
    return {
        name: overflowed() if name == "overflowed" else trained(name, 2 if name == "accumulated" else 1)
        for name in names
    }


def overflowed() -> dict[str, Any]:
    """One good step, and one in which the last image of the batch is not to be calculated with."""
    loop = loop_of("damo")
    first, second, third = batches(3, IMAGES)
    poison = second.image.clone()
    poison[-1] = 3e38
    reports = [loop.advance([part_of(batch)]) for batch in (first, TinyBatch(poison, second.targets), third)]
    return {
        "rolled_back": reports[1].rolled_back,
        "steps": loop.step,
        "trouble": dataclasses.asdict(loop.overflows),
        "weights": copy.deepcopy(loop.state()["task"]),
    }
