"""What a teacher adds to a training step: the student alone, with a live teacher, and with cached teacher outputs.

    python benchmarks/distill_overhead.py  # damo-yolo-t taught by damo-yolo-s and others, 320 px
    python benchmarks/distill_overhead.py --pairs yolox-s:rtdetrv2-s --input 640 \\
        --batch 16 --device cuda --precision bf16

All three take whole steps of the loop (forward, losses, backward, optimizer, average) on the same batches, one after
another, so that a busy machine disturbs them alike; in which order is drawn anew for each round, so that none always
comes after the same other. Overheads are medians of the ratios within rounds, with a 95 % interval from resampled
rounds. In some steps with a teacher gradients are measured too, which balances the losses: such steps are timed by
themselves and count as often as they occur in a run of --steps. The cache is filled before; its records are read from
files that the system may hold in memory. Weights are random, but a teacher predicts the true objects of
an image, so that the methods have as much to do as with a trained one. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from distill.data.feed.presets import find_preset
from distill.data.feed.views import Origin, View, Views
from distill.teach.balance import WARMUP_CALLS
from distill.teach.cache.cost_estimate import SyntheticBatch
from distill.teach.cache.store import CacheContents, TeacherCache
from distill.teach.outputs import TeacherOutputs
from distill.teach.request import TeacherRequest
from distill.teach.settings import DistillationSettings
from distill.teach.task import DistillationTask
from distill.teach.teacher import Teacher
from distill.train.loop import Loop
from distill.train.recipe import load_recipe
from distill.train.task import SupervisedTask
from zoo.factory import build
from zoo.images import Preprocess

Array = npt.NDArray[np.float64]

CLASSES = 20
BATCHES = 3
"""Batches that are taken in turn."""
NOTHING = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
SURE, SEVERAL = 0.9, 5
"""Score that a teacher gives to a true object, and in how many cells."""
PAIRS = ("damo-yolo-t:damo-yolo-t", "damo-yolo-t:damo-yolo-s", "yolox-s:yolo11s", "damo-yolo-s:rtdetrv2-s")
"""STUDENT:TEACHER."""


class Knowing(Teacher):
    """A teacher of random weights that finds every object: dense ones with several predictions each, as trained ones
    do.
    """

    truth: Mapping[tuple[float, ...], tuple[Tensor, Tensor]] = {}
    """Boxes and labels of every image by its first pixel."""

    def __call__(self, image: Tensor, with_predictions: bool = True) -> TeacherOutputs:
        outputs = super().__call__(image, with_predictions)
        predictions = outputs.predictions
        if predictions is None:
            return outputs
        boxes, scores = predictions.boxes.clone(), predictions.scores.clone()
        each = SEVERAL if predictions.strides else 1
        for i, pixel in enumerate(image[:, :, 0, 0].tolist()):
            truth, labels = self.truth.get(tuple(pixel), NOTHING)
            at = torch.arange(each * len(truth))
            boxes[i, at] = truth.repeat(each, 1).to(boxes)
            scores[i, at, labels.repeat(each)] = SURE
        return replace(outputs, predictions=replace(predictions, box_source=boxes, scores=scores))


class Arm:
    """One way to train, and the seconds of its steps."""

    def __init__(self, task: SupervisedTask | DistillationTask, args: argparse.Namespace) -> None:
        recipe = load_recipe(
            "small", {"batch": args.batch, "nominal_batch": args.batch, "epochs": 1000, "closing_epochs": 0, "lr": 1e-5}
        )
        self.task = task
        self.loop = Loop(task, recipe, 10**6, 1000, seed=args.seed, device=args.device, precision=args.precision)
        self.clock = args.clock

    def step(self, batch: SyntheticBatch, measuring: bool) -> float:
        """Seconds of one step; one that is ``measuring`` balances the losses too."""
        if isinstance(self.task, DistillationTask):
            self.task.balance.get_buffer("calls").fill_(WARMUP_CALLS * self.task.balance.every + (not measuring))
        # the loop's snapshot in memory is none of the step's work
        self.loop.step = 1
        return self.timed(lambda: self.loop.advance([batch]))

    def timed(self, do: Callable[[], object]) -> float:
        """Seconds that ``do`` takes, by the chosen clock."""
        if self.clock == "wall":
            return self.loop.timed(do)
        began = time.process_time()
        do()
        return time.process_time() - began


class Steps:
    """Seconds of the arms' steps by round: (rounds, arms), plain ones and those that measure gradients, of which
    there are ``often`` in one step.
    """

    def __init__(self, often: float) -> None:
        self.often = often
        self.plain: list[list[float]] = []
        self.measuring: list[list[float]] = []

    def mean(self, of: Callable[[Array], Array]) -> Array:
        """``of`` the plain steps and of those that measure, each as often as it occurs."""
        return (1 - self.often) * of(np.array(self.plain)) + self.often * of(np.array(self.measuring))

    def seconds(self) -> Array:
        """Of a step of every arm: (arms,)."""
        return self.mean(lambda steps: np.median(steps, axis=0))

    def overheads(self, rng: np.random.Generator, draws: int = 2000) -> tuple[Array, Array, Array]:
        """What the arms' steps take beyond those of the first arm, as shares of them: (arms,) each, median and 95 %
        interval.
        """
        drawn = self.mean(
            lambda steps: np.median((steps / steps[:, :1])[rng.integers(len(steps), size=(draws, len(steps)))], axis=1)
        )
        low, high = np.quantile(drawn, (0.025, 0.975), axis=0) - 1
        return self.mean(lambda steps: np.median(steps / steps[:, :1], axis=0)) - 1, low, high


def synthetic_batches(args: argparse.Namespace, preprocess: Preprocess) -> list[SyntheticBatch]:
    """The batches that are taken in turn, with the origin of cached views."""
    batches = []
    for i in range(BATCHES):
        batch = SyntheticBatch.random(args.batch, args.input, CLASSES, preprocess, args.seed + i)
        indices = tuple(range(i * args.batch, (i + 1) * args.batch))
        batches.append(replace(batch, origin=Origin(View(0), indices, args.input)))
    return batches


def measure(pair: str, args: argparse.Namespace, folder: Path) -> list[object]:
    """One row of the table."""
    names = pair.split(":")
    torch.manual_seed(args.seed)
    student, teacher = (build(name, CLASSES) for name in names)
    responses: dict[str, dict[str, Any]] | None = (
        None if args.responses is None else {name: {} for name in args.responses}
    )
    settings = DistillationSettings({name: {} for name in args.features}, responses)
    arms = {"alone": Arm(SupervisedTask(copy.deepcopy(student)), args)}
    for name in ("live", "cached"):
        twin = copy.deepcopy(student)
        knowing = Knowing(copy.deepcopy(teacher), twin, args.input, args.input, args.teacher_half)
        arms[name] = Arm(DistillationTask(twin, [knowing], settings), args)
    batches = synthetic_batches(args, student.preprocess)
    Knowing.truth = {
        tuple(pixel): (boxes, labels)
        for batch in batches
        for pixel, boxes, labels in zip(
            batch.image[:, :, 0, 0].tolist(), batch.targets.boxes, batch.targets.labels, strict=True
        )
    }
    task = arms["cached"].task
    assert isinstance(task, DistillationTask)
    views = Views(1, args.batch * BATCHES, args.batch, args.seed, find_preset("none"), args.input)
    part = task.parts[0]
    contents = CacheContents(views, (View(0),), part.required)
    cache = TeacherCache.open(folder / pair, {}, contents, part.compute, torch.device(args.device), 10**12)
    part.cache = cache
    steps, rng = (
        Steps(sum(map(task.balance.measures_at, range(args.steps))) / args.steps),
        np.random.default_rng(args.seed),
    )
    for round_number in range(-BATCHES, args.rounds):
        batch, measuring = batches[round_number % BATCHES], round_number % 4 == 0
        passed = {at: list(arms.values())[at].step(batch, measuring) for at in rng.permutation(len(arms)).tolist()}
        if round_number >= 0:
            (steps.measuring if measuring else steps.plain).append([passed[at] for at in range(len(arms))])
    bare, live, cached = steps.seconds()
    overheads = [
        f"{100 * m:+.1f} % ({100 * low:.1f} to {100 * high:.1f})"
        for m, low, high in zip(*steps.overheads(np.random.default_rng(0)), strict=True)
    ]
    image = batches[0].image.to(arms["live"].loop.device)
    teacher_s = [arms["live"].timed(lambda: part.compute(image)) for _ in range(5)]
    megabytes = cache.size().total / (args.batch * BATCHES) / 1e6
    cache.close()
    return [
        names[0],
        names[1],
        *overheads[1:],
        f"{bare:.3f}",
        f"{live:.3f}",
        f"{cached:.3f}",
        f"{median(teacher_s) / bare * 100:.1f} %",
        f"{megabytes:.2f}",
        "+".join(part.names),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", default=list(PAIRS), metavar="STUDENT:TEACHER")
    parser.add_argument("--input", type=int, default=320)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--steps", type=int, default=10_000, help="of the run that a step is taken from")
    parser.add_argument("--features", nargs="*", default=["cwd"])
    parser.add_argument("--responses", nargs="*")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument(
        "--clock",
        choices=["wall", "cpu"],
        default="wall",
        help="cpu: processor time, which other programs disturb less (CPU only)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--teacher-half",
        action=argparse.BooleanOptionalAction,
        help="the teacher in half precision (default: where nas distill has it so)",
    )
    args = parser.parse_args()
    args.teacher_half = (
        TeacherRequest(("teacher",), half=args.teacher_half).with_precision(args.device, args.precision).half
    )
    print(f"The teacher calculates in {'half' if args.teacher_half else 'single'} precision.\n")
    print(
        "| student | teacher | live | cached | alone, s | live, s | cached, s | the teacher alone | MB an image | "
        "methods |"
    )
    print("|" + "---|" * 10)
    with tempfile.TemporaryDirectory() as folder:
        for pair in args.pairs:
            print("| " + " | ".join(map(str, measure(pair, args, Path(folder)))) + " |", flush=True)


if __name__ == "__main__":
    main()
