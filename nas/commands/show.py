"""Draw an architecture: a table and a tree in the terminal, a picture with --png, other spellings with --tinynas.

examples:
  nas show damo-yolo-s --device t4
  nas show runs/NAME --png best.png
  nas show runs/NAME --tinynas damo > structure.txt
"""

from __future__ import annotations

import argparse
import sys

HELP = "draw an architecture; write it as TinyNAS text, YAML or PNG"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas show``."""
    parser.add_argument("subject", metavar="X", help="YAML, run folder, TinyNAS text, ONNX, graph JSON or model name")
    parser.add_argument("--input", type=int, default=640, metavar="PX", help="input side in pixels (default 640)")
    parser.add_argument("--device", metavar="D", help="add predicted milliseconds")
    parser.add_argument("--png", metavar="FILE", help="write a picture")
    parser.add_argument("--tinynas", choices=("tinynas", "damo"), help="print the structure text in this spelling, and nothing else")
    parser.add_argument("--yaml", action="store_true", help="print the architecture as YAML, and nothing else")
    parser.add_argument("--ascii", action="store_true", help="draw without Unicode")
    parser.add_argument("--json", action="store_true", help="print the architecture and the costs of its pieces as JSON")


def run(args: argparse.Namespace) -> int:
    """Print or write what was asked for."""
    from nas.console import print_json
    from nas.report.draw import architecture_text, graph_text, piece_costs
    from nas.resolve import resolve_subject
    from search_spaces.errors import BadInput
    from search_spaces.tinynas_text import to_text

    subject = resolve_subject(args.subject)
    arch = subject.arch
    if arch is None:
        if args.png or args.tinynas or args.yaml:
            raise BadInput(f"{args.subject!r} is a graph, not one of our architectures: only its table can be shown")
        graph = subject.graph()
        print_json(graph.to_json()) if args.json else print(graph_text(graph, args.input))
        return 0
    profile = None
    if args.device:
        from nas.latency.profile import load_device

        profile = load_device(args.device)
    if args.png:
        from nas.files import write_atomic
        from nas.report.plots import architecture_png

        write_atomic(args.png, architecture_png(arch))
    if args.tinynas:
        print(to_text(arch, args.tinynas), end="")
    elif args.yaml:
        print(arch.to_yaml(), end="")
    elif args.json:
        print_json({"name": subject.name, "architecture": arch.to_dict(), "digest": arch.digest(), "pieces": piece_costs(arch, args.input, profile)})
    else:
        plain = args.ascii or (sys.stdout.encoding or "ascii").lower().replace("-", "") != "utf8"
        print(architecture_text(arch, args.input, profile, plain))
    return 0
