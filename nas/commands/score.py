"""Zero-shot scores of anything that becomes a Graph: an architecture, a TinyNAS text, an ONNX file, a rival.

Closed forms take milliseconds and no torch; forward-pass scores build the network and run it.
"""

from __future__ import annotations

import argparse

HELP = "zero-shot scores of an architecture or any network file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas score``."""
    add = parser.add_argument
    add("subject", nargs="+", metavar="X", help="YAML, run folder, TinyNAS text, ONNX, graph JSON or model name")
    add(
        "--score", action="append", metavar="NAME",
        help="a score of docs/scores.md, or all; may be repeated (default: the additive ones)",
    )  # fmt: skip
    add("--weights", default="0,0,1,1,16", metavar="W,..", help="stage weights, coarsest last (default 0,0,1,1,16)")
    add("--input", type=int, default=640, metavar="PX", help="input side in pixels (default 640)")
    add("--seed", type=int, default=0, help="of the forward-pass scores (default 0)")
    add("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print one line a subject and score."""
    from nas.budgets import parse_weights
    from nas.scores import SCORES, additive_scores, get_score
    from workbench.console import print_json, table
    from zoo.resolve import resolve_subject

    names = args.score or [score.name for score in additive_scores()]
    names = list(SCORES) if "all" in names else names
    scores = [get_score(name) for name in names]
    weights = parse_weights(args.weights)
    lines, explanations = [], []
    for text in args.subject:
        subject = resolve_subject(text)
        for score in scores:
            graph, px = subject.score_graph(args.input, score.deployed)
            result = score(graph, px, **score.own(weights=weights, seed=args.seed))
            per_stage, notes = list(result.per_stage), dict(result.notes)
            lines.append(
                {"name": text, "score": score.name, "value": result.value, "per_stage": per_stage, "notes": notes}
            )
            if score.explain is not None:
                explanations.append(f"{text}: {score.explain(result)}")
    if args.json:
        print_json(lines)
        return 0
    rows = [
        [line["name"], line["score"], f"{line['value']:.6f}", "  ".join(f"{v:.2f}" for v in line["per_stage"])]
        for line in lines
    ]
    print("\n".join([table(["", "score", "value", "by level"], rows), *explanations]))
    return 0
