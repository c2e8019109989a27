"""Measure anything on the rulers: FLOPs, parameters, activations, layers and predicted latency.

X is an architecture YAML, a run folder, a TinyNAS text, an ONNX file, a graph JSON, or damo-yolo-t, -s, -m, -l, -ns, -nm, -nl.
"""

from __future__ import annotations

import argparse

HELP = "measure an architecture, an ONNX file or a published model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas cost``."""
    parser.add_argument("subject", nargs="+", metavar="X", help="what to measure")
    parser.add_argument("--device", metavar="D", help="also predict latency on this profile")
    parser.add_argument("--input", type=int, default=640, metavar="PX", help="input side in pixels (default 640)")
    parser.add_argument("--scope", choices=("detector", "backbone"), help="whole detector (default) or backbone alone")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print one line a subject."""
    from nas.api import cost
    from workbench.console import print_json, table

    measured = [(name, cost(name, args.device, input_px=args.input, scope=args.scope)) for name in args.subject]
    if args.json:
        print_json([{"name": n, "input_px": args.input, "costs": m.costs, "latency_ms_by_part": m.parts_ms} for n, m in measured])
        return 0
    parts = list(dict.fromkeys(p for _, m in measured for p in m.parts_ms))
    rows = [
        [n, m.costs["flops"] / 1e9, m.costs["params"] / 1e6, m.costs["act_bytes"] / 1e6, m.costs.get("layers"), m.costs.get("latency_ms"), *(m.parts_ms.get(p) for p in parts)]
        for n, m in measured
    ]
    header = ["", "GFLOPs", "Mparams", "MBact", "layers", "ms", *(f"ms {p}" for p in parts)]
    print(table(header if args.device else header[:5], rows if args.device else [r[:5] for r in rows]))
    return 0
