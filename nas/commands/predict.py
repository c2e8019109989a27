"""Detect objects in images: JSON, and pictures with the boxes drawn.

examples:
  nas predict best.safetensors photo.jpg
  nas predict yolo26n.safetensors photos/ --out found --score 0.4
  nas predict best.onnx photos/
  nas predict best.safetensors "photos/**/*.jpg" --classes person,dog --save coco,csv
"""

from __future__ import annotations

import argparse

from nas.commands import options

HELP = "detect objects in images with a checkpoint"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas predict``."""
    add = parser.add_argument
    add("model", metavar="MODEL", help="checkpoint (.safetensors), or a file of nas export with its contract beside it")
    add("images", nargs="+", metavar="IMAGE", help="image files, folders of them, and patterns")
    add("--out", default="predictions", metavar="FOLDER",
        help="folder for predictions.json and pictures (default: %(default)s)")  # fmt: skip
    add("--score", type=float, default=0.3, help="smallest score to keep (default: %(default)s)")
    add("--iou", type=float, metavar="I", help="IoU from which the lower of two boxes of a class is dropped "
        "(default: the model's own)")  # fmt: skip
    add("--max", type=int, metavar="N", help="detections an image at most (default: the model's own)")
    add("--classes", metavar="C[,C]", help="keep these classes alone (default: all)")
    add("--save", action="append", default=[], metavar="F[,F]",
        help="also write coco (coco.json), yolo (labels/*.txt) or csv (predictions.csv)")  # fmt: skip
    options.add_input_option(add)
    options.add_batch_option(add, 4)
    options.add_branch_option(add)
    add("--multi-label", action="store_true", help="every class of a box above the score, not its best alone")
    add("--no-pictures", action="store_false", dest="pictures", help="write only the JSON")
    options.add_output_options(add, json="also print the JSON")


def run(args: argparse.Namespace) -> int:
    """Predict, write, print one line an image."""
    from nas.api.predict import predict
    from workbench.console import print_json

    args.quiet = args.quiet or args.json
    result = predict(**options.api_options(args))
    if args.json:
        print_json(result.to_dict())
    else:
        print(result)
    return 0
