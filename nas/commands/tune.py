"""Search settings of training, or of distillation with --teacher: learning rate, weight decay, batch, augmentation …

Every trial is a training of its own, in the study's folder. Optuna's sampler chooses the settings, and trials that are
not among the best third at a ninth and at a third of the epochs end there (ASHA). The same command resumes after an
interruption, or with more --trials continues. The study is an Optuna storage: optuna-dashboard runs/NAME/optuna.log

A range is KEY=LOW..HIGH, KEY=log:LOW..HIGH, or a list KEY=A,B,C of a recipe's settings; with --teacher, share too.
Without --vary it is the recipe's lr and weight_decay, ten times up and down.

examples:
  nas tune small --model yolox-nano --data my-data --trials 8 --epochs 3
  nas tune small --model yolox-nano --data my-data --vary lr=log:1e-4..1e-2 --vary batch=4,8 --trials 4 --epochs 2
"""

from __future__ import annotations

import argparse

from nas.commands import options

HELP = "search settings of training, resumable"
RESUMES = True
"""Whether the same command resumes after an interruption."""
OF_TRIALS = options.TrainingDefaults(of=" of a trial that is not ended early")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas tune``."""
    add = parser.add_argument
    add("recipe", metavar="RECIPE", help="recipe to start from: its name or a YAML file")
    options.add_model_argument(add, "--model", required=True)
    options.add_data_options(add)
    options.add_weights_option(add)
    add("--vary", action="append", default=[], metavar="KEY=RANGE",
        help="lr=log:1e-4..1e-2, warmup_epochs=1..5, batch=8,16; may be repeated")  # fmt: skip
    add("--ranges", metavar="FILE", help="the same as a YAML table of settings and ranges")
    options.add_training_options(add, OF_TRIALS)
    add("--trials", type=int, default=20, metavar="N", help="trials, earlier calls included (default: %(default)s)")
    options.add_input_option(add)
    add("--keep-all", action="store_true", help="end no trial early")
    options.add_teacher_options(add)
    options.add_compute_options(add)
    options.add_precision_option(add)
    options.add_worker_options(add, "trials at once, on a local Ray or the cluster at --address")
    add("--cpus", type=int, default=1, metavar="N", help="with --workers: CPUs of a trial (default: %(default)s)")
    add("--gpus", type=float, default=0.0, metavar="N", help="with --workers: GPUs of a trial, 0.5 too (default: 0)")
    options.add_seed_option(add, "the sampler and of every trial")
    options.add_run_options(add, "study", "tune-MODEL-DATA")
    options.add_changed_data_option(add)
    options.add_output_options(add, json="print JSON (format nas-tune-1)")


def run(args: argparse.Namespace) -> int:
    """Tune, and print the best settings."""
    from nas.api.tune import tune
    from workbench.console import print_json

    args.quiet = args.quiet or args.json
    result = tune(**options.api_options(args))
    if args.json:
        print_json(result.to_dict())
    else:
        print(result)
    return 0
