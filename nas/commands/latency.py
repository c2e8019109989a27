"""Predict latency on devices that are not here, with an interval, by part and by layer.

MODEL is a model of the zoo, an architecture YAML, a run folder, a checkpoint (.safetensors), a graph JSON or any ONNX
file. `nas devices` lists the devices; `nas calibrate` adds this machine to them.

examples:
  nas latency damo-yolo-s yolo11n --device t4
  nas latency yolo.onnx --device t4,raspberry-pi-4 --input 320 --layers
  nas latency runs/NAME --device t4 --png latency.png
  nas latency yolo11n --device raspberry-pi-4-tflite --precision INT8
"""

from __future__ import annotations

import argparse

from nas.commands import options

HELP = "predict latency on a device, by part and by layer"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas latency``."""
    add = parser.add_argument
    add("models", nargs="+", metavar="MODEL", help="network to predict")
    add("--device", required=True, action="append", metavar="D[,D]", help="device profiles; may be repeated")
    add("--precision", metavar="P",
        help="take the profile of the same hardware and runtime in this precision, such as INT8")  # fmt: skip
    options.add_input_option(add, text="each model's own")
    add("--layers", action="store_true", help="list every layer, not only the 10 slowest")
    add("--png", metavar="FILE", help="also draw a picture")
    options.add_output_options(add, quiet=False)


def run(args: argparse.Namespace) -> int:
    """Predict and print."""
    from nas.api.latency import latency
    from workbench.console import print_json

    result = latency(**options.api_options(args, "layers"))
    if args.json:
        print_json(result.to_dict())
    else:
        print(result.text(all_layers=args.layers))
    return 0
