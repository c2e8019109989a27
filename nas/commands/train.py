"""Train a detector on your own data: a searched best.yaml, a model of the zoo, or a checkpoint to start from.

The data may be COCO JSON, YOLO text folders or Pascal VOC (nas data show PATH tells what is read). Everything goes to
runs/NAME; the same command resumes an interrupted run, and ends with the same weights.

examples:
  nas data synth my-data --images 600
  nas train runs/search/best.yaml --data my-data
  nas train yolox-s --weights yolox_s.safetensors --data my-data --epochs 50
  nas train runs/search/best.yaml --inherit damo-yolo-s.safetensors --data my-data
  nas train damo-yolo-t --data my-data --recipe damo-yolo --set lr=0.005 --batch 32 --device cuda
  nas train damo-yolo-t --data my-data --batch 32 --workers 4 --gpus-per-worker 1
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nas.commands import options

if TYPE_CHECKING:
    from distill.train.run import TrainResult

HELP = "train a detector on your data, resumable"
RESUMES = True
"""Whether the same command resumes after an interruption."""


class HelpSettings(argparse._HelpAction):
    """``--help-settings``: print the settings that ``--set`` changes, and exit."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from distill.train.recipe_help import settings_table

        print(settings_table())
        parser.exit()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas train``."""
    add = parser.add_argument
    options.add_model_argument(add)
    options.add_data_options(add)
    options.add_weights_option(add)
    options.add_inherit_option(add)
    options.add_recipe_option(add)
    options.add_training_options(add)
    add("--help-settings", action=HelpSettings, help="list the settings that --set changes, and exit")
    options.add_input_option(add)
    options.add_compute_options(add)
    options.add_precision_option(add)
    options.add_worker_options(add, "train in N processes of a local Ray, or of the cluster at --address")
    add("--gpus-per-worker", type=int, metavar="G", help="with --workers: 1 for a GPU each (default: 0, on CPUs)")
    add("--cpus-per-worker", type=int, metavar="C", help="with --workers: CPUs, and threads, of each (default: 1)")
    options.add_seed_option(add, "weights, order and augmentation")
    add("--deterministic", action="store_true", help="same bits on a GPU too, slower")
    options.add_run_options(add, "training", "train-MODEL-DATA")
    add("--patience", type=int, metavar="N", help="end the run once AP has not risen for N epochs")
    add("--freeze", metavar="F", help="backbone, or the number of its first parts that are not trained")
    add("--no-report", action="store_false", dest="report", help="leave out report.html and its pictures")
    options.add_changed_data_option(add)
    options.add_output_options(add)


def run(args: argparse.Namespace) -> int:
    """Train, and print AP and files."""
    from nas.api.train import train

    args.quiet = args.quiet or args.json
    return show(train(**options.api_options(args)), args)


def show(result: TrainResult, args: argparse.Namespace) -> int:
    """Print what a training left, and what to do next."""
    if args.json:
        from workbench.console import print_json

        print_json(result.to_dict())
        return 0
    evaluate = f"nas eval {result.best} --data {args.data}"
    export = f"nas export {result.best} --format onnx --verify {args.data}"
    print(f"{result}\nnext: {evaluate}; {export}")
    return 0
