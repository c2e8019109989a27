"""Does a teacher help? Pairs of teacher and student on the synthetic set, several seeds with and without the teacher.

Run ``python benchmarks/distillation.py --estimate`` for the minutes that it takes here, and then ``python
benchmarks/distillation.py --page docs/benchmarks/distillation.md``: the teachers are trained first, on other and
more pictures than their students, as a teacher with official weights has been; then every pair goes through ``nas
distill --control``, and its table is written between the marks of the page. Everything is kept in ``--runs``, and
the same command goes on after an interruption. Time and memory of a step are measured in a process of their own for
each arm. ``--device cuda`` takes a GPU; larger sizes are then affordable.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from distill.data.feed.batch_order import BatchPlan
from distill.data.feed.loader import Loader, ReadOptions
from distill.data.feed.presets import find_preset
from distill.data.formats.readers import open_data
from distill.prepare import PreparedRun, prepare, train_from
from distill.request import TrainRequest
from distill.study.control import control
from distill.study.control_result import PLAIN, TAUGHT, ControlResult
from distill.study.gain import CONFIDENCE
from distill.teach.balance import WARMUP_CALLS
from distill.teach.request import TeacherRequest
from distill.train.loop import Loop
from nas.evidence.images import make_easy
from nas.evidence.options import CHANGES, RECIPE
from workbench.files import write_atomic

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
SEED, TEACHER_PICTURES, TEACHER_SEED = 20, 1, 0
"""Seeds of the students' images and first training, of the teachers' images, and of their trainings.
Students' images of seeds 0, 2 and 7 were used for debugging, and are not evaluated on any more."""
MEASURED_STEPS = 32
"""Steps whose mean time is taken, after those in which the balance measures every time; two of them measure."""


@dataclass(frozen=True)
class Pair:
    """A teacher and its student, both models of the zoo."""

    kind: str
    teacher: str
    student: str

    @property
    def name(self) -> str:
        """Of its run folder."""
        return f"{self.teacher}-teaches-{self.student}"


PAIRS = (
    Pair("same family", "damo-yolo-t", "damo-yolo-ns"),
    Pair("dense to dense, across families", "damo-yolo-t", "yolox-nano"),
    Pair("RT-DETRv2 to dense", "rtdetrv2-s", "yolox-nano"),
)
SETTINGS = {
    "rtdetrv2-s": ("optimizer=adamw", "lr=0.0004", "clip_norm=0.5"),
    "yolox-nano": ("optimizer=adamw", "lr=0.002", "momentum=0.9"),
}
"""Of models that want others than ``CHANGES``: Muon takes as long as the rest of the step for twenty million
parameters, and leads YOLOX-nano nowhere in so few steps."""
STUDENTS = ("freeze_bn_from=0.7",)
"""Settings of all students. Without them some taught students diverge on a few images; the page has the reason."""
TEACHER_EPOCHS = {"damo-yolo-t": 4, "rtdetrv2-s": 3}


class Bench:
    """Everything in one folder."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.runs = args, Path(args.runs)
        self.data = self._images(args.images, SEED)

    def _images(self, images: int, seed: int) -> Path:
        """The easy synthetic set, drawn once."""
        folder = self.runs / f"easy-{images}-{self.args.input}px-seed{seed}"
        if not folder.exists():
            self.runs.mkdir(parents=True, exist_ok=True)
            make_easy(folder, images, seed, self.args.input, lambda _: None)
        return folder

    def request(self, model: str, data: Path, epochs: int, seed: int, **others: Any) -> TrainRequest:
        """A training of ``model``."""
        args = self.args
        changes = (*CHANGES, *SETTINGS.get(model, ()), *args.set, *others.pop("changes", ()))
        return TrainRequest(
            model,
            str(data),
            recipe=RECIPE,
            epochs=epochs,
            batch=args.batch,
            input_px=args.input,
            device=args.device,
            data_workers=args.data_workers,
            seed=seed,
            runs=str(self.runs),
            quiet=args.quiet,
            changes=changes,
            **others,
        )

    def student(self, pair: Pair, taught: bool) -> TrainRequest:
        """Its training, with the trained teacher or alone."""
        teaching = TeacherRequest((str(self.teacher_file(pair.teacher)),)) if taught else None
        changes = (*STUDENTS, *([f"views={self.args.views}"] if self.args.views else []))
        return self.request(
            pair.student, self.data, self.args.epochs, SEED, teaching=teaching, name=pair.name, changes=changes
        )

    def teacher(self, model: str) -> TrainRequest:
        """Its training, on images of its own."""
        images = self._images(self.args.teacher_images, TEACHER_PICTURES)
        return self.request(
            model, images, self.args.teacher_epochs or TEACHER_EPOCHS[model], TEACHER_SEED, name=f"teacher-{model}"
        )

    def teacher_file(self, model: str) -> Path:
        """Where a trained teacher lies."""
        return self.runs / f"teacher-{model}" / "best.safetensors"

    def train_teacher(self, model: str) -> float:
        """Its AP on images that it was not trained on. Done once."""
        return float(train_from(self.teacher(model)).metrics["ap"])

    def compare(self, pair: Pair) -> ControlResult:
        """With and without the teacher."""
        return control(self.student(pair, taught=True), self.args.seeds)

    def cost(self, pair: Pair, arm: str) -> dict[str, float]:
        """Seconds and memory of a step, measured in a process of its own, once."""
        file = self.runs / pair.name / f"cost-{arm}.json"
        if not file.exists():
            command = [sys.executable, __file__, *sys.argv[1:], "--cost-of", pair.name, arm]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            write_atomic(file, done.stdout)
        costs: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
        return costs

    def measure_cost(self, pair: Pair, arm: str) -> dict[str, float]:
        """Seconds a step and the most memory that this process has held, MiB (on a GPU: that torch has held there)."""
        prepared = prepare(self.student(pair, arm == TAUGHT))
        times = step_times(prepared, self.args.data_workers, WARMUP_CALLS + MEASURED_STEPS)[WARMUP_CALLS:]
        if prepared.request.device == "cuda":
            peak = torch.cuda.max_memory_allocated() / 2**20
        else:
            # getrusage would also count what the process that started this one held
            status = Path("/proc/self/status").read_text(encoding="ascii")
            peak = float(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 2**10
        return {"step_s": statistics.fmean(times), "peak_mib": peak}

    def estimate_minutes(self) -> float:
        """What all of it will take on this machine, from a few steps of every model; what is done already is not
        left out.
        """
        args = self.args
        teachers = {pair.teacher: self.teacher(pair.teacher) for pair in PAIRS}
        students = {pair.student: self.student(pair, taught=False) for pair in PAIRS}
        step_s = {model: self.step_s(request) for model, request in (teachers | students).items()}
        total = sum(step_s[model] * self.steps(request) for model, request in teachers.items())
        for pair in PAIRS:
            alone, teacher = step_s[pair.student], step_s[pair.teacher]
            steps = args.seeds * self.steps(students[pair.student]) + WARMUP_CALLS + MEASURED_STEPS
            # a forward pass of the teacher is about a third of its training step
            with_teacher = min(args.views or args.epochs, args.epochs) / args.epochs
            total += steps * (2 * alone + with_teacher * teacher / 3)
        # evaluations, reading and starting
        return 1.2 * total / 60

    def step_s(self, request: TrainRequest) -> float:
        """Seconds of a step, from a few."""
        return statistics.fmean(step_times(prepare(request), self.args.data_workers, 4)[2:])

    def steps(self, request: TrainRequest) -> int:
        """Of the whole training."""
        assert request.epochs is not None
        return request.epochs * -(-len(open_data(request.data, "train")) // self.args.batch)


def step_times(prepared: PreparedRun, data_workers: int | None, count: int) -> list[float]:
    """Seconds of each of the first ``count`` steps, without waiting for data."""
    recipe = prepared.recipe
    preset = find_preset(recipe.augmentation).with_sizes(recipe.multi_scale)
    plan, reading = BatchPlan(recipe.batch, SEED), ReadOptions(data_workers)
    loader = Loader(prepared.data, prepared.task.detector.preprocess, preset, prepared.input_px, plan, reading)
    seconds: list[float] = []
    with loader:
        loop = Loop(
            prepared.task,
            recipe,
            recipe.epochs * len(loader),
            len(loader),
            seed=SEED,
            device=prepared.request.device,
            precision=recipe.precision,
        )
        epoch = 0
        while len(seconds) < count:
            for batch in loader.epoch(epoch):
                began = time.perf_counter()
                assert not loop.advance([batch]).rolled_back
                seconds.append(time.perf_counter() - began)
                if len(seconds) == count:
                    break
            epoch += 1
    return seconds


def table(header: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])


Measured = tuple[Pair, ControlResult, dict[str, float], dict[str, float]]
"""A pair, its comparison, and the costs of a step without and with the teacher."""


def row(
    teachers: dict[str, float], pair: Pair, result: ControlResult, plain: dict[str, float], taught: dict[str, float]
) -> list[str]:
    """One pair in the table."""
    interval, ap = result.gain.interval, result.mean_ap
    verdict = {"helps": "helps", "harms": "**harms**", "open": "nothing shown"}[result.verdict]
    return [
        pair.kind, f"{pair.teacher} ({100 * teachers[pair.teacher]:.1f})", pair.student, f"{100 * ap[PLAIN]:.2f}",
        f"{100 * ap[TAUGHT]:.2f}", f"{100 * result.gain.mean:+.2f}",
        "-" if interval is None else f"{100 * interval[0]:+.2f} to {100 * interval[1]:+.2f}", verdict,
        f"{100 * (taught['step_s'] / plain['step_s'] - 1):+.0f} %", f"{taught['peak_mib'] - plain['peak_mib']:+.0f}",
    ]  # fmt: skip


def report(bench: Bench, teachers: dict[str, float], measured: list[Measured]) -> str:
    """What stands between the marks."""
    header = [
        "", "teacher (its AP)", "student", "AP without", "AP with", "gain", f"{100 * CONFIDENCE:.0f} % interval", "",
        "time of a step", "MiB more",
    ]  # fmt: skip
    rows = [row(teachers, *pair) for pair in measured]
    differences = "; ".join(
        f"{pair.student} from {pair.teacher} " + ", ".join(f"{100 * d:+.2f}" for d in result.gain.differences)
        for pair, result, *_ in measured
    )
    differences = f"Differences of every seed: {differences}."
    return "\n".join([conditions(bench.args, list(teachers)), "", table(header, rows), "", differences])


def conditions(args: argparse.Namespace, teachers: list[str]) -> str:
    """Machine, data and settings of the measurement."""
    machine = f"{os.cpu_count()} CPUs ({platform.machine()}), torch with {torch.get_num_threads()} threads"
    if args.device == "cuda":
        machine = torch.cuda.get_device_name()
    epochs = "; ".join(f"{model} {args.teacher_epochs or TEACHER_EPOCHS[model]}" for model in teachers)
    own_settings = "".join(f"; {model}: {', '.join(settings)}" for model, settings in SETTINGS.items())
    views = f", {args.views} views of each image" if args.views else ""
    return (
        f"Measured on {datetime.date.today()}: {machine}. The easy synthetic set of `nas bench-scores --train`, "
        f"{args.input} px, one class; students: {args.images} images, a fifth of them to validate, {args.epochs} "
        f"epochs, seeds {SEED} to {SEED + args.seeds - 1}{views}; teachers: {args.teacher_images} other images, "
        f"epochs: {epochs}. Batches of {args.batch}, recipe {RECIPE} with {', '.join((*CHANGES, *args.set))}; "
        f"students: {', '.join(STUDENTS)}{own_settings}. AP in %, of students after the last epoch, of "
        "teachers on images of their own set that they were not trained on."
    )


def main() -> None:
    """Estimate, or measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default="runs/distillation-benchmark", help="folder of data and trainings")
    parser.add_argument("--page", help="Markdown file to write the table into")
    parser.add_argument("--images", type=int, default=500, help="of the students")
    parser.add_argument("--teacher-images", type=int, default=4000)
    parser.add_argument("--input", type=int, default=96, help="side of the images and of the input in pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=14, help="of students")
    parser.add_argument(
        "--teacher-epochs",
        type=int,
        help=f"of all teachers (default: {', '.join(f'{model} {epochs}' for model, epochs in TEACHER_EPOCHS.items())})",
    )
    parser.add_argument(
        "--views",
        type=int,
        default=4,
        help="repeated views of each image, with and without the teacher, which runs once for each "
        "(0: new ones in every epoch)",
    )
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="settings of the recipe, of teachers and students alike",
    )
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--data-workers", type=int, default=0, help="processes that read images")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--pairs", type=int, nargs="+", default=[1, 2, 3], help="which pairs, from 1 on")
    parser.add_argument("--estimate", action="store_true", help="only say how long it takes")
    parser.add_argument("--cost-of", nargs=2, metavar=("PAIR", "ARM"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    bench = Bench(args)
    pairs = [PAIRS[number - 1] for number in args.pairs]
    if args.cost_of:
        print(
            json.dumps(
                bench.measure_cost(next(pair for pair in PAIRS if pair.name == args.cost_of[0]), args.cost_of[1])
            )
        )
        return
    if args.estimate:
        print(f"about {bench.estimate_minutes():.0f} minutes here for all pairs")
        return
    teachers = {model: bench.train_teacher(model) for model in dict.fromkeys(pair.teacher for pair in pairs)}
    measured = [(pair, bench.compare(pair), bench.cost(pair, PLAIN), bench.cost(pair, TAUGHT)) for pair in pairs]
    text = report(bench, teachers, measured)
    print(text)
    if args.page:
        page = Path(args.page)
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        write_atomic(page, f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
