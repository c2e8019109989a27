"""Does a teacher help? Pairs of teacher and student on the synthetic set, several seeds with and without the teacher.

Run ``python benchmarks/distillation.py --estimate`` for the minutes that it takes here, and then
``python benchmarks/distillation.py --page docs/benchmarks/distillation.md``: the teachers are trained first, on other and more
pictures than their students, as a teacher with official weights has been; then every pair goes through ``nas distill --control``,
and its table is written between the marks of the page. Everything is kept in ``--runs``, and the same command goes on after an
interruption. Time and memory of a step are measured in a process of their own for each arm. ``--device cuda`` takes a GPU; larger sizes
are then affordable.
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

from distill.data.feed.loader import Loader
from distill.data.formats.readers import open_data
from distill.prepare import PreparedRun, prepare, train_from
from distill.request import TrainRequest
from distill.study.control import PLAIN, TAUGHT, ControlResult, control
from distill.study.gain import CONFIDENCE
from distill.teach.balance import EAGER
from distill.teach.request import TeacherRequest
from distill.train.loop import Loop
from nas.evidence.images import make_easy
from nas.evidence.options import CHANGES, RECIPE
from workbench.files import write_atomic

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
SEED, TEACHER_PICTURES, TEACHER_SEED = 20, 1, 0
"""Of the students' pictures and trainings (the first of them), of the teachers' pictures, and of their trainings. Students' pictures of seeds 0, 2 and 7 have been looked at while flaws were sought,
and judge nothing any more."""
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
SETTINGS = {"rtdetrv2-s": ("optimizer=adamw", "lr=0.0004", "clip_norm=0.5"), "yolox-nano": ("optimizer=adamw", "lr=0.002", "momentum=0.9")}
"""Of models that want others than ``CHANGES``: Muon takes as long as the rest of the step for twenty million parameters, and leads YOLOX-nano nowhere in so few
steps."""
STUDENTS = ("freeze_bn_from=0.7",)
"""Of all students. Without it some taught ones fall apart on a few pictures, for which the page has the reason."""
TEACHER_EPOCHS = {"damo-yolo-t": 4, "rtdetrv2-s": 3}


class Bench:
    """Everything in one folder."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.runs = args, Path(args.runs)
        self.data = self._pictures(args.images, SEED)

    def _pictures(self, images: int, seed: int) -> Path:
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
            model, str(data), recipe=RECIPE, epochs=epochs, batch=args.batch, input_px=args.input, device=args.device, data_workers=args.data_workers, seed=seed,
            runs=str(self.runs), quiet=args.quiet, changes=changes, **others,
        )  # fmt: skip

    def student(self, pair: Pair, taught: bool) -> TrainRequest:
        """Its training, with the trained teacher or alone."""
        teaching = TeacherRequest((str(self.teacher_file(pair.teacher)),)) if taught else None
        changes = (*STUDENTS, *([f"views={self.args.views}"] if self.args.views else []))
        return self.request(pair.student, self.data, self.args.epochs, SEED, teaching=teaching, name=pair.name, changes=changes)

    def teacher(self, model: str) -> TrainRequest:
        """Its training, on pictures of its own."""
        pictures = self._pictures(self.args.teacher_images, TEACHER_PICTURES)
        return self.request(model, pictures, self.args.teacher_epochs or TEACHER_EPOCHS[model], TEACHER_SEED, name=f"teacher-{model}")

    def teacher_file(self, model: str) -> Path:
        """Where a trained teacher lies."""
        return self.runs / f"teacher-{model}" / "best.safetensors"

    def train_teacher(self, model: str) -> float:
        """Its AP on pictures that it has not seen. Done once."""
        return float(train_from(self.teacher(model)).verdict["ap"])

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
        found: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
        return found

    def measure_cost(self, pair: Pair, arm: str) -> dict[str, float]:
        """Seconds a step and the most memory that this process has held, MiB (on a GPU: that torch has held there)."""
        prepared = prepare(self.student(pair, arm == TAUGHT))
        times = step_times(prepared, self.args.data_workers, EAGER + MEASURED_STEPS)[EAGER:]
        if prepared.request.device == "cuda":
            peak = torch.cuda.max_memory_allocated() / 2**20
        else:
            # getrusage would also count what the process that started this one held
            status = Path("/proc/self/status").read_text(encoding="ascii")
            peak = float(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 2**10
        return {"step_s": statistics.fmean(times), "peak_mib": peak}

    def estimate_minutes(self) -> float:
        """What all of it will take on this machine, from a few steps of every model; what is done already is not left out."""
        args = self.args
        teachers = {pair.teacher: self.teacher(pair.teacher) for pair in PAIRS}
        students = {pair.student: self.student(pair, taught=False) for pair in PAIRS}
        step_s = {model: self.step_s(request) for model, request in (teachers | students).items()}
        total = sum(step_s[model] * self.steps(request) for model, request in teachers.items())
        for pair in PAIRS:
            alone, teacher = step_s[pair.student], step_s[pair.teacher]
            steps = args.seeds * self.steps(students[pair.student]) + EAGER + MEASURED_STEPS
            # a forward pass of the teacher is about a third of its training step
            asked = min(args.views or args.epochs, args.epochs) / args.epochs
            total += steps * (2 * alone + asked * teacher / 3)
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
    loader = Loader(
        prepared.data, prepared.task.detector.preprocess, recipe.augmentation, prepared.input_px, recipe.batch, SEED, workers=data_workers, multi_scale=recipe.multi_scale
    )
    found: list[float] = []
    with loader:
        loop = Loop(prepared.task, recipe, recipe.epochs * len(loader), len(loader), seed=SEED, device=prepared.request.device, precision=recipe.precision)
        epoch = 0
        while len(found) < count:
            for batch in loader.epoch(epoch):
                began = time.perf_counter()
                assert not loop.advance([batch]).rolled_back
                found.append(time.perf_counter() - began)
                if len(found) == count:
                    break
            epoch += 1
    return found


def table(header: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])


def report(bench: Bench, teachers: dict[str, float], found: list[tuple[Pair, ControlResult, dict[str, float], dict[str, float]]]) -> str:
    """What stands between the marks."""
    args = bench.args
    rows = []
    for pair, one, plain, taught in found:
        told = one.to_dict()
        interval = "-" if told["interval"] is None else f"{100 * told['interval'][0]:+.2f} to {100 * told['interval'][1]:+.2f}"
        word = {"helps": "helps", "harms": "**harms**", "open": "nothing shown"}[told["verdict"]]
        rows.append([
            pair.kind, f"{pair.teacher} ({100 * teachers[pair.teacher]:.1f})", pair.student, f"{100 * told['ap'][PLAIN]:.2f}", f"{100 * told['ap'][TAUGHT]:.2f}",
            f"{100 * told['gain']:+.2f}", interval, word, f"{100 * (taught['step_s'] / plain['step_s'] - 1):+.0f} %", f"{taught['peak_mib'] - plain['peak_mib']:+.0f}",
        ])  # fmt: skip
    where = torch.cuda.get_device_name() if args.device == "cuda" else f"{os.cpu_count()} CPUs ({platform.machine()}), torch with {torch.get_num_threads()} threads"
    epochs = "; ".join(f"{model} {args.teacher_epochs or TEACHER_EPOCHS[model]}" for model in teachers)
    lines = [
        f"Measured on {datetime.date.today()}: {where}. The easy synthetic set of `nas bench-scores --train`, {args.input} px, one class; "
        f"students: {args.images} pictures, a fifth of them to validate, {args.epochs} epochs, seeds {SEED} to {SEED + args.seeds - 1}"
        f"{f', {args.views} views of each picture' if args.views else ''}; teachers: {args.teacher_images} other pictures, epochs: {epochs}. Batches of {args.batch}, "
        f"recipe {RECIPE} with {', '.join((*CHANGES, *args.set))}; students: {', '.join(STUDENTS)}{''.join(f'; {model}: ' + ', '.join(settings) for model, settings in SETTINGS.items())}. "
        "AP in %, of students after the last epoch, of teachers on pictures of their own set that they did not learn from.", "",
        table(["", "teacher (its AP)", "student", "AP without", "AP with", "gain", f"{100 * CONFIDENCE:.0f} % interval", "", "time of a step", "MiB more"], rows), "",
        "Differences of every seed: " + "; ".join(f"{pair.student} from {pair.teacher} " + ", ".join(f"{100 * d:+.2f}" for d in one.gain.differences) for pair, one, *_ in found) + ".",
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Estimate, or measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default="runs/distillation-benchmark", help="folder of data and trainings")
    parser.add_argument("--page", help="Markdown file to write the table into")
    parser.add_argument("--images", type=int, default=500, help="of the students")
    parser.add_argument("--teacher-images", type=int, default=4000)
    parser.add_argument("--input", type=int, default=96, help="side of the pictures and of the input in pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=14, help="of students")
    parser.add_argument("--teacher-epochs", type=int, help=f"of all teachers (default: {', '.join(f'{model} {epochs}' for model, epochs in TEACHER_EPOCHS.items())})")
    parser.add_argument("--views", type=int, default=4, help="views of each picture that come round again, for both arms of a pair: the teacher is asked once for each (0: new ones in every epoch)")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of the recipe, of teachers and students alike")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--data-workers", type=int, default=0, help="processes that read pictures")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--pairs", type=int, nargs="+", default=[1, 2, 3], help="which pairs, from 1 on")
    parser.add_argument("--estimate", action="store_true", help="only say how long it takes")
    parser.add_argument("--cost-of", nargs=2, metavar=("PAIR", "ARM"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    bench = Bench(args)
    pairs = [PAIRS[number - 1] for number in args.pairs]
    if args.cost_of:
        print(json.dumps(bench.measure_cost(next(pair for pair in PAIRS if pair.name == args.cost_of[0]), args.cost_of[1])))
        return
    if args.estimate:
        print(f"about {bench.estimate_minutes():.0f} minutes here for all pairs")
        return
    teachers = {model: bench.train_teacher(model) for model in dict.fromkeys(pair.teacher for pair in pairs)}
    found = [(pair, bench.compare(pair), bench.cost(pair, PLAIN), bench.cost(pair, TAUGHT)) for pair in pairs]
    text = report(bench, teachers, found)
    print(text)
    if args.page:
        page = Path(args.page)
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        write_atomic(page, f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
