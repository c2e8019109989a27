"""Measure the latency of networks on this machine, in turns, with an interval that another run keeps.

MODEL is a model of the zoo, an architecture YAML, a run folder, a checkpoint (.safetensors), a graph JSON or any ONNX
file. Our models run without decoding; an ONNX file runs as it is.

examples:
  nas bench damo-yolo-ns yolox-nano --input 320
  nas bench runs/NAME damo-yolo-s --runtime openvino --threads 2
  nas bench yolo.onnx --json
  nas bench damo-yolo-ns yolox-nano --input 320 --out measured.jsonl.gz --source my-lab
"""

from __future__ import annotations

import argparse

from nas.commands import options

HELP = "measure latency on this machine, with the prediction beside"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas bench``."""
    add = parser.add_argument
    add("models", nargs="+", metavar="MODEL", help="networks to measure, in turns")
    options.add_target_options(add)
    options.add_input_option(add, text="each model's own")
    add("--seconds", type=float, default=3.0, metavar="S", help="time for each network (default: %(default)s)")
    add("--repeats", type=int, default=3, metavar="N", help="least number of runs a round (default: %(default)s)")
    add("--rounds", type=int, default=8, metavar="N",
        help="rounds; their spread gives the interval (default: %(default)s)")  # fmt: skip
    add("--out", metavar="FILE", help="append to this file of measurements (.jsonl or .jsonl.gz) for nas devices fit")
    add("--source", metavar="NAME", help="with --out: name under which you send measurements (default: unnamed)")
    add("--profile", metavar="D", help="device profile to compare with (default: this machine's, if calibrated)")
    options.add_output_options(add)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from nas.api.bench import bench
    from workbench.console import print_json

    result = bench(**options.api_options(args))
    if args.json:
        print_json(result.to_dict())
    else:
        print(result)
    return 0
