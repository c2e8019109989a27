"""Search settings of training, or of distillation with --teacher: rate, weight decay, batch, augmentation, whatever a recipe has.

Every trial is a training of its own, in the study's folder. Optuna's sampler chooses the settings, and trials that are not among the
best third at a ninth and at a third of the epochs end there (ASHA). Give the same command again to go on after an interruption, or with
more --trials to look further. The study is an Optuna storage: optuna-dashboard runs/NAME/optuna.log

A range is KEY=LOW..HIGH, KEY=log:LOW..HIGH, or a list KEY=A,B,C of a recipe's settings; with --teacher, share too. Without --vary it is
the recipe's lr and weight_decay, ten times up and down.

examples:
  nas tune small --model yolox-nano --data my-data --trials 8 --epochs 3
  nas tune small --model yolox-nano --data my-data --vary lr=log:1e-4..1e-2 --vary batch=4,8 --trials 4 --epochs 2
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill.teach.request import TeacherRequest
    from nas.tuning.study import TuningResult
    from workbench.workers import Workers

HELP = "search settings of training, resumable"
RESUMES = True
"""Whether the same command goes on after an interruption."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas tune``."""
    add = parser.add_argument
    add("recipe", metavar="RECIPE", help="the recipe to begin from: its name or a YAML file")
    add("--model", required=True, metavar="M", help="architecture YAML, run folder, model of the zoo, or checkpoint")
    add("--data", required=True, metavar="PATH", help="training data (with a val split, unless --val is given)")
    add("--val", metavar="PATH", help="validation data, when it is not beside the training data")
    add("--weights", metavar="FILE", help="checkpoint (.safetensors) that every trial starts from")
    add("--vary", action="append", default=[], metavar="KEY=RANGE", help="lr=log:1e-4..1e-2, warmup_epochs=1..5, batch=8,16; again for more")
    add("--ranges", metavar="FILE", help="the same as a YAML table of settings and ranges")
    add("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes", help="change one setting of the recipe in all trials; again for more")
    add("--trials", type=int, default=20, metavar="N", help="trials in all, those of earlier calls included (default: %(default)s)")
    add("--epochs", type=int, metavar="N", help="epochs of a trial that goes to its end (default: the recipe's)")
    add("--batch", type=int, metavar="N", help="images a step (default: the recipe's)")
    add("--input", type=int, metavar="PX", help="input side in pixels (default: the model's own)")
    add("--keep-all", action="store_true", help="end no trial early")
    add("--teacher", action="append", metavar="T", help="distil in all trials: as for nas distill")
    add("--teacher-weights", action="append", default=[], metavar="FILE", help="checkpoint of the teacher, as for nas distill")
    add("--device", default="cpu", help="cpu (default) or cuda")
    add("--precision", help="fp32, bf16 or fp16 (default: fp32 on the CPU, the recipe's on a GPU)")
    add("--data-workers", type=int, metavar="N", help="processes that read images for a trial (default: tuned; 0 with --workers)")
    add("--workers", type=int, metavar="N", help="trials at once, on a local Ray or the cluster at --address (default: one, in this process)")
    add("--address", metavar="A", help="join the Ray cluster at auto or HOST:PORT; its nodes must see data and run folder under the same paths")
    add("--cpus", type=int, default=1, metavar="N", help="with --workers: CPUs of a trial (default: %(default)s)")
    add("--gpus", type=float, default=0.0, metavar="N", help="with --workers: GPUs of a trial, also a half (default: 0)")
    add("--seed", type=int, default=0, help="seed of the sampler and of every trial (default: %(default)s)")
    add("--name", help="name of the study (default: tune-MODEL-DATA)")
    add("--runs", default="runs", metavar="DIR", help="folder of runs (default: %(default)s)")
    add("--fresh", action="store_true", help="start over in a folder that holds an earlier study")
    add("--quiet", action="store_true", help="no progress line")
    add("--json", action="store_true", help="print JSON (format nas-tune-1)")


def run(args: argparse.Namespace) -> int:
    """Tune, and say which settings were best."""
    from workbench.console import Progress, print_json
    from workbench.errors import BadInput, missing_package
    from workbench.workers import check_workers

    check_workers(args.workers, args.address)
    if args.workers is None and (args.cpus != 1 or args.gpus):
        raise BadInput("--cpus and --gpus say what a trial on a worker has: add --workers N")
    if args.cpus < 1 or args.gpus < 0:
        raise BadInput(f"--cpus {args.cpus} must be at least 1, and --gpus {args.gpus:g} at least 0")
    try:
        from distill.request import TrainRequest
        from nas.tuning.study import TuningRequest, tune
    except ModuleNotFoundError as error:
        raise missing_package("nas tune", error.name, "train") from error
    data_workers = args.data_workers if args.data_workers is not None or args.workers is None else 0
    request = TrainRequest(
        model=args.model, data=args.data, val=args.val, weights=args.weights, recipe=args.recipe, changes=tuple(args.changes), epochs=args.epochs,
        batch=args.batch, input_px=args.input, device=args.device, precision=args.precision, data_workers=data_workers, seed=args.seed, name=args.name,
        runs=args.runs, fresh=args.fresh, quiet=args.quiet or args.json, teaching=_teaching(args),
    )  # fmt: skip
    progress = Progress(args.quiet or args.json)
    try:
        found = tune(
            TuningRequest(request, args.trials, tuple(args.vary), args.ranges, not args.keep_all), lambda: _workers(args), lambda text: progress.show(text, force=True)
        )
    finally:
        progress.done()
    if args.json:
        print_json(found.to_dict())
    else:
        print(_text(found, args))
    return 0


def _teaching(args: argparse.Namespace) -> TeacherRequest | None:
    from distill.teach.request import TeacherRequest
    from workbench.errors import BadInput

    if args.teacher is None:
        if args.teacher_weights:
            raise BadInput("--teacher-weights belong to a teacher: add --teacher")
        return None
    return TeacherRequest(tuple(args.teacher), tuple(args.teacher_weights))


def _workers(args: argparse.Namespace) -> Workers:
    if args.workers is None:
        from workbench.workers.in_process import InProcess

        return InProcess()
    from workbench.workers.on_ray import RayWorkers

    return RayWorkers(args.workers, args.address, args.cpus, args.gpus)


def _text(found: TuningResult, args: argparse.Namespace) -> str:
    from workbench.console import table

    assert found.best is not None
    complete = sorted((t for t in found.trials if t["state"] == "complete"), key=lambda t: (-t["ap"], t["number"]))
    names = [one.name for one in found.ranges]
    rows: list[list[Any]] = [[t["number"] + 1, t["ap"], *(t["settings"][name] for name in names)] for t in complete[:10]]
    counts = found.to_dict()["counts"]
    lines = [table(["trial", "AP", *names], rows), ""]
    lines.append(f"{len(found.trials)} trials: {counts['complete']} completed, {counts['pruned']} ended early, {counts['fail']} failed")
    lines += [f"trial {t['number'] + 1} failed: {t['reason']}" for t in found.trials if t["state"] == "fail"]
    share = f" --share {found.best['settings']['share']:.4g}" if "share" in names else ""
    lines.append(f"\nwritten to {found.folder}: best.yaml (a recipe), trials.csv, optuna.log (optuna-dashboard), trials/")
    command = "train" if args.teacher is None else f"distill --teacher {args.teacher[0]}"
    words = command.split(" ", 1)
    lines.append(f"next: nas {words[0]} {args.model}{' ' + words[1] if len(words) > 1 else ''} --data {args.data} --recipe {found.folder / 'best.yaml'}{share}")
    return "\n".join(lines)
