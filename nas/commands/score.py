"""Zero-shot scores of anything that becomes a Graph: an architecture, a TinyNAS text, an ONNX file, a rival.

Closed forms (calibrated, maxent, deepmad, activations) take milliseconds and no torch; forward-pass scores build the network and run it.
"""

from __future__ import annotations

import argparse

HELP = "zero-shot scores of an architecture or any network file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas score``."""
    parser.add_argument("subject", nargs="+", metavar="X", help="YAML, run folder, TinyNAS text, ONNX, graph JSON or model name")
    parser.add_argument("--score", action="append", metavar="NAME", help="a score of docs/scores.md, or all; may be repeated (default calibrated and maxent)")
    parser.add_argument("--weights", default="0,0,1,1,16", metavar="W,..", help="stage weights, coarsest last (default 0,0,1,1,16)")
    parser.add_argument("--input", type=int, default=640, metavar="PX", help="input side in pixels (default 640)")
    parser.add_argument("--seed", type=int, default=0, help="of the forward-pass scores (default 0)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print one line a subject and score."""
    from nas.budgets import parse_weights
    from nas.scores import SCORES, get_score
    from nas.scores.calibrated import in_words
    from workbench.console import print_json, table
    from zoo.resolve import resolve_model

    names = args.score or ["calibrated", "maxent"]
    names = list(SCORES) if "all" in names else names
    scores = [get_score(name) for name in names]
    weights = parse_weights(args.weights)
    lines = []
    for text in args.subject:
        subject = resolve_model(text)
        for score in scores:
            graph, px = subject.score_graph(args.input, score.deployed)
            result = score(graph, px, weights=weights, seed=args.seed)
            lines.append({"name": text, "score": score.name, "value": result.value, "per_stage": list(result.per_stage), "notes": dict(result.notes)})
    if args.json:
        print_json(lines)
        return 0
    print(table(["", "score", "value", "by level"], [[d["name"], d["score"], f"{d['value']:.6f}", "  ".join(f"{v:.2f}" for v in d["per_stage"])] for d in lines]))
    for line in lines:
        if "effectiveness" in line["notes"]:
            print(f"{line['name']}: DeepMAD effectiveness (depth against width) {line['notes']['effectiveness']:.3f}")
        if line["score"] == "calibrated":
            print(f"{line['name']}: {in_words(line['value'], line['notes']['outside'])}")
    return 0
