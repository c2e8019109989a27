"""Evaluate a checkpoint on your data: COCO's AP, by class, with the confusion matrix.

--out writes detections in COCO's result form, for pycocotools and evaluation servers. The result does not depend on the
batch size. --shard K/N takes every N-th image from the K-th on; the files of all parts are evaluated with --results.

examples:
  nas eval runs/train-best-my-data/best.safetensors --data my-data
  nas eval best.safetensors --data my-data --out results.json --per-class --confusion
  nas eval best.safetensors --data big --shard 0/4 --out part0.json
  nas eval best.safetensors --data big --results part0.json part1.json part2.json part3.json
"""

from __future__ import annotations

import argparse

from nas.commands import options

HELP = "evaluate a checkpoint's AP on your data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas eval``."""
    add = parser.add_argument
    add("model", metavar="MODEL", help="checkpoint (.safetensors), or a file of nas export with its contract beside it")
    add("--data", required=True, metavar="PATH", help="data to evaluate on")
    add("--split", default="val", help="split of the data (default: %(default)s)")
    options.add_input_option(add, text="the checkpoint's")
    options.add_batch_option(add, 8)
    options.add_compute_options(add)
    add("--shard", default="0/1", metavar="K/N", help="only every N-th image from the K-th on, without an evaluation")
    options.add_branch_option(add, "the checkpoint's")
    add("--results", nargs="+", metavar="FILE", help="evaluate these files of detections instead of detecting")
    add("--out", metavar="FILE", help="write detections in COCO's result form")
    add("--per-class", action="store_true", help="print AP of every class")
    add("--confusion", action="store_true", help="print the confusion matrix")
    options.add_output_options(add)


def run(args: argparse.Namespace) -> int:
    """Detect, evaluate, print."""
    from nas.api.evaluate import evaluate
    from workbench.console import print_json

    args.quiet = args.quiet or args.json
    result = evaluate(**options.api_options(args, "per_class", "confusion"))
    if args.json and result.evaluation is not None:
        print_json(result.to_dict())
    else:
        print(result.text(args.per_class, args.confusion))
    return 0
