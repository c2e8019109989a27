"""Draw an architecture: a table and a tree in the terminal, a picture with --png, other spellings with --tinynas.

X is an architecture YAML, a run folder, a TinyNAS text, a graph JSON, an ONNX file, a checkpoint or a published model's
name. Of a cut checkpoint it tells what was kept of the network; --png then draws the channels kept by layer.

examples:
  nas show damo-yolo-s --device t4
  nas show runs/NAME --png best.png
  nas show runs/NAME --tinynas damo > structure.txt
  nas show child.safetensors --png cuts.png
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.devices.profile import DeviceProfile
    from search_spaces.architecture import Architecture
    from search_spaces.graph import Graph
    from zoo.detector import Detector
    from zoo.pruning.cuts import Cuts
    from zoo.pruning.summary import CutSummary

HELP = "draw an architecture; write it as TinyNAS text, YAML or PNG"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas show``."""
    named = "YAML, run folder, TinyNAS text, ONNX, graph JSON, checkpoint or model name"
    parser.add_argument("subject", metavar="X", help=named)
    parser.add_argument("--input", type=int, metavar="PX", help="input side in pixels (default: the model's own)")
    parser.add_argument("--device", metavar="D", help="add predicted milliseconds on this device")
    parser.add_argument("--png", metavar="FILE", help="write a picture as well")
    parser.add_argument("--ascii", action="store_true", help="draw without Unicode")
    instead = parser.add_mutually_exclusive_group()
    spelling = "print only the structure text, in this spelling"
    instead.add_argument("--tinynas", choices=("tinynas", "damo"), help=spelling)
    instead.add_argument("--yaml", action="store_true", help="print only the architecture's YAML")
    stages = "print only JSON: the architecture and the costs of its stages"
    instead.add_argument("--json", action="store_true", help=stages)


def run(args: argparse.Namespace) -> int:
    """Print or write what was asked for."""
    from workbench.errors import BadInput
    from zoo.resolve import resolve_model

    if args.png and not args.png.lower().endswith(".png"):
        raise BadInput(f"--png {args.png!r} must end in .png")
    if args.input is not None and args.input < 1:
        raise BadInput(f"--input {args.input} must be at least 1 pixel; detectors take multiples of 32, such as 640")
    subject = resolve_model(args.subject)
    args.input = args.input or subject.input_px
    profile = None
    if args.device:
        from nas.devices.profile import load_device

        profile = load_device(args.device)
    if subject.detector is not None and subject.detector.recipe.cuts:
        return _show_cut(subject.detector, args, profile)
    if subject.arch is None:
        return _show_graph(subject.graph(input_px=args.input), args, profile)
    arch = subject.arch
    if args.tinynas:
        from search_spaces.tinynas_text import to_text

        text = to_text(arch, args.tinynas)
    elif args.yaml:
        text = arch.to_yaml()
    else:
        text = ""
    facts = _facts(arch, args.input, profile) if args.png or args.json else {}
    if args.png:
        from nas.report.architecture_plot import architecture_png
        from workbench.files import write_atomic

        write_atomic(args.png, architecture_png(arch, [_line(facts, args)]))
    if text:
        print(text, end="")
    elif args.json:
        from workbench.console import print_json

        print_json({"name": subject.name, "architecture": arch.to_dict(), "digest": arch.digest(), **facts})
    else:
        from nas.report.architecture_text import architecture_text

        print(architecture_text(arch, args.input, profile, _needs_ascii(args)))
        print(f"\n{subject.side_text(args.input)}")
        if args.png:
            print(f"\nwrote {args.png}")
    return 0


def _needs_ascii(args: argparse.Namespace) -> bool:
    """Whether the terminal, or whoever asks, takes no Unicode."""
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "").replace("_", "")
    return args.ascii or encoding not in ("utf8", "utf8sig")


def _show_cut(detector: Detector, args: argparse.Namespace, profile: DeviceProfile | None) -> int:
    """A cut network: what stays of it, where it comes from, its costs."""
    from nas.report.cut_text import cut_text
    from workbench.console import print_json
    from workbench.errors import BadInput
    from zoo.pruning.summary import summarize_cuts
    from zoo.weights.licence import notice

    for option in ("tinynas", "yaml"):
        if getattr(args, option):
            raise BadInput(f"--{option}: {args.subject!r} is a cut network, whose widths no architecture describes")
    summary = summarize_cuts(detector.recipe)
    graph = detector.graph(args.input)
    if args.json:
        if args.png:
            _write_cut_picture(detector.recipe.cuts, summary, args)
        print_json(graph.to_json() | {"cut": summary.to_dict()})
        return 0
    print(cut_text(summary, _needs_ascii(args)) + "\n")
    licence = notice(detector.info.provenance, detector.info.lineage)
    if licence:
        from zoo.weights.text import printable

        print(printable(licence) + "\n")
    _print_graph(graph, args, profile)
    if args.png:
        _write_cut_picture(detector.recipe.cuts, summary, args)
        print(f"\nwrote {args.png}")
    return 0


def _write_cut_picture(cuts: Cuts, summary: CutSummary, args: argparse.Namespace) -> None:
    from pathlib import Path

    from nas.report.cut_plot import cuts_png
    from workbench.files import write_atomic

    title = f"{Path(args.subject).stem}: cut from {summary.model}"
    write_atomic(args.png, cuts_png(summary.groups, cuts, title))


def _show_graph(graph: Graph, args: argparse.Namespace, profile: DeviceProfile | None) -> int:
    from workbench.console import print_json
    from workbench.errors import BadInput

    for option in ("png", "tinynas", "yaml"):
        if getattr(args, option):
            raise BadInput(
                f"--{option}: {args.subject!r} is a graph, not an architecture of this workbench; "
                "leave the option out for its table, or use --json"
            )
    if args.json:
        print_json(graph.to_json())
        return 0
    _print_graph(graph, args, profile)
    return 0


def _print_graph(graph: Graph, args: argparse.Namespace, profile: DeviceProfile | None) -> None:
    """Totals by kind of op, and the latency."""
    from nas.report.architecture_text import graph_text

    print(graph_text(graph, args.input))
    if profile is not None:
        size = graph.fixed_px or args.input
        print(f"\nlatency on {profile.name}: {profile.latency_ms(graph, size):.3f} ms")


def _facts(arch: Architecture, input_px: int, profile: DeviceProfile | None) -> dict[str, Any]:
    """Input side (pixels), device, costs of the whole in base units and costs by stage."""
    from nas.costs import architecture_costs
    from nas.report.architecture_text import piece_costs

    pieces = piece_costs(arch, input_px, profile)
    scope = "detector" if arch.neck is not None else "backbone"
    costs = architecture_costs(arch, input_px, profile, scope).costs
    device = None if profile is None else profile.name
    return {"input_px": input_px, "device": device, "scope": scope, "costs": costs, "stages": pieces}


def _line(facts: dict[str, Any], args: argparse.Namespace) -> str:
    """The costs in one line for the foot of the picture."""
    from nas.budgets import LATENCY, format_cost

    parts = [
        format_cost(name, value) + (f" on {facts['device']}" if name == LATENCY else "")
        for name, value in facts["costs"].items()
    ]
    return "   ".join([f"{args.input} x {args.input} pixels", *parts])
