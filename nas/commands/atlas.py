"""Trained detectors that are known: accuracy with recipe and source, sizes, latencies.

The data are the zoo's cards and every folder of --data or $NAS_ATLAS: accuracy.csv (arch, input_px, columns of mAP)
and graphs.jsonl.gz or NAME.onnx; trainings.csv, sizes.csv, latency.csv, latency_facts.csv and int8.csv where known.

examples:
  nas atlas --family yolo26,damo-yolo --sort params
  nas atlas --data DIR --recipe coco-only --params 10M --plot atlas.png
  nas atlas show damo-yolo-s --device t4
"""

from __future__ import annotations

import argparse

from nas.commands import options

HELP = "list, filter and draw trained detectors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas atlas``."""
    add = parser.add_argument
    add("show", nargs="*", metavar="show NAME", help="show these networks: sizes, trainings, latencies, INT8")
    add(
        "--data", action="append", default=[], metavar="DIR",
        help="folder of trained detectors, or zoo; may be repeated (default: zoo and the folders of $NAS_ATLAS)",
    )  # fmt: skip
    add("--family", action="append", default=[], metavar="F[,F]", help="only these families (default: all)")
    add("--source", action="append", default=[], metavar="S[,S]", help="only sources or folders with this in the name")
    add(
        "--recipe", action="append", default=[], metavar="T[,T]",
        help="only recipes with these traits: coco-only, scratch, imagenet, self-supervised, objects365, coco-boxes, "
        "pseudo-labels, teacher, nms-free, not-stated; no-teacher: without",
    )  # fmt: skip
    add("--px", nargs="+", type=int, default=[], metavar="PX", help="only these input sizes (default: all)")
    add("--params", metavar="RANGE", help="only networks of so many parameters, for instance 1..10M")
    add("--task", metavar="COLUMN", help="only accuracies of this column, by its beginning (default: all)")
    add(
        "--device", action="append", default=[], metavar="D[,D]",
        help="show these latencies: columns of the data by the beginning of their name, or device profiles",
    )  # fmt: skip
    add(
        "--sort", default="ap", metavar="COLUMN",
        help="ap, px, name, family, recipe, source, task, params, gflops, activations or a --device (default "
        "%(default)s)",
    )  # fmt: skip
    add("--top", type=int, metavar="N", help="only the first N entries (default: all)")
    add("--plot", metavar="FILE.png", help="draw AP over --cost, families as lines")
    add(
        "--cost", metavar="COST",
        help="what --plot draws: params, gflops, activations, a latency column or a profile (default: the first "
        "--device, else params)",
    )  # fmt: skip
    add("--csv", metavar="FILE", help="write the list into this file")
    options.add_output_options(add)


def run(args: argparse.Namespace) -> int:
    """Print the list or the networks that were named."""
    from nas.api.atlas import atlas
    from workbench.console import print_json

    args.quiet = args.quiet or args.json
    result = atlas(**options.api_options(args))
    if args.json:
        print_json(result.to_dict())
    else:
        print(result)
    return 0
