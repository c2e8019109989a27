"""Measure how long networks take on this machine, in turns, with an interval that another run keeps.

MODEL is a model of the zoo, an architecture YAML, a run folder, a checkpoint (.safetensors), a graph JSON or any ONNX
file. Ours run bare, to their raw maps; an ONNX file runs as it is.

examples:
  nas bench damo-yolo-ns yolox-nano --input 320
  nas bench runs/NAME damo-yolo-s --runtime openvino --threads 2
  nas bench yolo.onnx --json
"""

from __future__ import annotations

import argparse

HELP = "measure networks on this machine, predicted beside measured"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas bench``."""
    parser.add_argument("models", nargs="+", metavar="MODEL", help="what to measure; several take turns")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--runtime", help="onnxruntime (default), openvino or torch")
    parser.add_argument("--input", type=int, metavar="PX", help="input side in pixels (default: each model's own)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all CPUs)")
    parser.add_argument("--precision", default="FP32", help="FP32 (default), or FP16 with --device cuda --runtime torch")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="time for each network (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="least runs a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=8, metavar="N", help="rounds; their spread is the interval (default: %(default)s)")
    parser.add_argument("--profile", metavar="D", help="device profile to set beside (default: this machine's own, if calibrated)")
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from nas.devices.bench import bench
    from nas.devices.profile import load_device
    from nas.devices.session import choose_target
    from nas.devices.timing import Plan
    from workbench.console import Progress, print_json

    plan = Plan(args.seconds, args.repeats, args.rounds)
    target = choose_target(args.device, args.runtime, args.threads, args.precision)
    profile = load_device(args.profile) if args.profile else None
    progress = Progress(args.quiet)
    try:
        result = bench(args.models, target, plan, args.input, profile, progress.show)
    finally:
        progress.done()
    if args.json:
        print_json(result.to_dict())
    else:
        print(result)
    return 0
