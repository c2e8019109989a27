"""Predict latency on devices that are not here, with an interval, by part and by layer.

MODEL is a model of the zoo, an architecture YAML, a run folder, a checkpoint (.safetensors), a graph JSON or any ONNX
file. `nas devices` lists the devices; `nas calibrate` adds this machine to them.

examples:
  nas latency damo-yolo-s yolo11n --device t4
  nas latency yolo.onnx --device t4,raspberry-pi-4 --input 320 --layers
  nas latency runs/NAME --device t4 --png latency.png
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.devices.prediction import LatencyPrediction

HELP = "predict latency on a device, by part and by layer"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas latency``."""
    parser.add_argument("models", nargs="+", metavar="MODEL", help="what to cost")
    parser.add_argument("--device", required=True, action="append", metavar="D[,D]", help="device profile; several with commas or again")
    parser.add_argument("--input", type=int, metavar="PX", help="input side in pixels (default: each model's own)")
    parser.add_argument("--layers", action="store_true", help="list every layer, not only the 10 slowest")
    parser.add_argument("--png", metavar="FILE", help="also draw a picture")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print tables or JSON; draw where asked."""
    import dataclasses
    from pathlib import Path

    from nas.devices.find_network import find_network
    from nas.devices.prediction import predict_latencies
    from nas.devices.profile import load_device
    from workbench.console import print_json
    from workbench.errors import BadInput
    from workbench.files import write_atomic

    names = [name.strip() for text in args.device for name in text.split(",")]
    if not all(names):
        raise BadInput(
            f"--device {','.join(args.device)!r} holds an empty name: give names of nas devices with commas between"
        )
    if args.png and Path(args.png).suffix.lower() != ".png":
        raise BadInput(f"--png {args.png!r} must end in .png")
    profiles = [load_device(name) for name in dict.fromkeys(names)]
    result = predict_latencies([find_network(text, args.input) for text in args.models], profiles)
    if args.png:
        from nas.report.latency_plot import latency_png

        bars = {p.name: [_bar(x) for x in result.predictions if x.device == p.name] for p in profiles}
        write_atomic(args.png, latency_png(bars))
        result = dataclasses.replace(result, png=args.png)
    if args.json:
        print_json(result.to_dict())
    else:
        print(result.text(args.layers))
    return 0


def _bar(prediction: LatencyPrediction) -> Any:
    from nas.report.latency_plot import Bar

    interval = prediction.interval
    layers = [(layer.name, layer.part, layer.ms) for layer in prediction.layers]
    bounds = None if interval is None else (interval.low_ms, interval.high_ms)
    return Bar(prediction.model, prediction.parts_ms, bounds, layers)
