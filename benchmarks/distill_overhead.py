"""What a teacher adds to a training step: the student alone, with the teacher asked live, and with its answers cached.

    python benchmarks/distill_overhead.py                                   # damo-yolo-t taught by damo-yolo-s and others, 320 px
    python benchmarks/distill_overhead.py --pairs yolox-s:rtdetrv2-s --input 640 --batch 16 --device cuda --precision bf16

All three take whole steps of the loop (forward, losses, backward, optimiser, average) on the same batches in alternating turns,
so that a busy machine disturbs them alike; figures are medians of a run and ratios within it. Every so many steps with a teacher
gradients are measured too, which balances the losses: such steps are timed by themselves and count as often as they occur. The
cache is filled before; its records are read from files that the system may hold in memory. Weights are random. Prints a
Markdown table.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from distill.balance import EAGER
from distill.data.presets import find_preset
from distill.data.views import Origin, View, Views
from distill.forecast import Rehearsal
from distill.loop import Loop
from distill.recipe import load_recipe
from distill.task import Supervised
from distill.teach import Distilled, Lessons, Teacher
from distill.teacher_cache import TeacherCache
from zoo.families import build

CLASSES = 20
BATCHES = 3
"""Batches that are taken in turn."""
PAIRS = ("damo-yolo-t:damo-yolo-t", "damo-yolo-t:damo-yolo-s", "yolox-s:yolo11s", "damo-yolo-s:rtdetrv2-s")
"""STUDENT:TEACHER."""


class Arm:
    """One way to train, and the seconds of its steps."""

    def __init__(self, task: Supervised | Distilled, args: argparse.Namespace) -> None:
        recipe = load_recipe("small", {"batch": args.batch, "nominal_batch": args.batch, "epochs": 1000, "closing_epochs": 0, "lr": 1e-5})
        self.task = task
        self.loop = Loop(task, recipe, 10**6, 1000, seed=args.seed, device=args.device, precision=args.precision)
        self.clock = args.clock
        self.plain: list[float] = []
        self.measuring: list[float] = []

    def step(self, batch: Rehearsal, measuring: bool, counts: bool) -> None:
        """One step; one that is ``measuring`` balances the losses too."""
        if isinstance(self.task, Distilled):
            self.task.balance.get_buffer("calls").fill_(EAGER * self.task.balance.every + (not measuring))
        # the loop's snapshot in memory is none of the step's work
        self.loop.step = 1
        passed = self.timed(lambda: self.loop.advance([batch]))
        if counts:
            (self.measuring if measuring else self.plain).append(passed)

    def timed(self, do: Callable[[], object]) -> float:
        """Seconds that ``do`` takes, by the clock that was asked for."""
        if self.clock == "wall":
            return self.loop.timed(do)
        began = time.process_time()
        do()
        return time.process_time() - began

    def seconds(self) -> float:
        """Of a step, on average."""
        if not isinstance(self.task, Distilled):
            return median(self.plain + self.measuring)
        every = self.task.balance.every
        return ((every - 1) * median(self.plain) + median(self.measuring)) / every


def measure(pair: str, args: argparse.Namespace, folder: Path) -> list[object]:
    """One row of the table."""
    names = pair.split(":")
    torch.manual_seed(args.seed)
    student, teacher = (build(name, CLASSES) for name in names)
    lessons = Lessons({name: {} for name in args.features}, None if args.responses is None else {name: {} for name in args.responses})
    arms = {"alone": Arm(Supervised(copy.deepcopy(student)), args)}
    for name in ("live", "cached"):
        mine = copy.deepcopy(student)
        arms[name] = Arm(Distilled(mine, Teacher(copy.deepcopy(teacher), mine, args.input, args.input), lessons), args)
    task = arms["cached"].task
    assert isinstance(task, Distilled)
    views = Views(1, args.batch * BATCHES, args.batch, args.seed, find_preset("none"), args.input)
    cache = TeacherCache.open(folder / pair, {}, views, [View(0)], task.kept, task.ask, torch.device(args.device), 10**12)
    task.memory = cache
    batches = []
    for at in range(BATCHES):
        plain = Rehearsal.of(args.batch, args.input, CLASSES, student.preprocess, args.seed + at)
        batches.append(replace(plain, origin=Origin(View(0), tuple(range(at * args.batch, (at + 1) * args.batch)), args.input)))
    for round_number in range(-BATCHES, args.rounds):
        batch = batches[round_number % BATCHES]
        for arm in arms.values():
            arm.step(batch, round_number % 4 == 0, round_number >= 0)
    bare, live, cached = (arm.seconds() for arm in arms.values())
    asked = [arms["live"].timed(lambda: task.ask(batches[0].image.to(arms["live"].loop.device))) for _ in range(5)]
    megabytes = cache.size().wanted / (args.batch * BATCHES) / 1e6
    cache.close()
    return [
        names[0], names[1], "+".join(task.names), f"{bare:.3f}", f"{live:.3f}", f"{cached:.3f}", f"{100 * (live / bare - 1):+.1f} %", f"{100 * (cached / bare - 1):+.1f} %",
        f"{median(asked) / bare * 100:.1f} %", f"{megabytes:.2f}",
    ]  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", default=list(PAIRS), metavar="STUDENT:TEACHER")
    parser.add_argument("--input", type=int, default=320)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--features", nargs="*", default=["cwd"])
    parser.add_argument("--responses", nargs="*")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: processor time, which other programs disturb less (CPU only)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print("| student | teacher | methods | alone, s | live, s | cached, s | live | cached | the teacher alone | MB a picture |")
    print("|" + "---|" * 10)
    with tempfile.TemporaryDirectory() as folder:
        for pair in args.pairs:
            print("| " + " | ".join(map(str, measure(pair, args, Path(folder)))) + " |", flush=True)


if __name__ == "__main__":
    main()
