"""Zero-shot scores of anything that becomes a Graph: an architecture, a TinyNAS text, an ONNX file, a rival.

Closed forms take milliseconds and no torch; forward-pass scores build the network and run it.
"""

from __future__ import annotations

import argparse

from nas.commands import options

HELP = "zero-shot scores of an architecture or any network file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas score``."""
    add = parser.add_argument
    add("subject", nargs="+", metavar="X", help="YAML, run folder, TinyNAS text, ONNX, graph JSON or model name")
    add("--score", action="append", metavar="NAME",
        help="a score of docs/scores.md, a YAML file of a fit, or all; may be repeated "
        "(default: the additive ones)")  # fmt: skip
    add("--weights", default="0,0,1,1,16", metavar="W,..", help="stage weights, coarsest last (default 0,0,1,1,16)")
    options.add_input_option(add)
    options.add_seed_option(add, "the scores that run the network")
    options.add_output_options(add, quiet=False)


def run(args: argparse.Namespace) -> int:
    """Print one line a network and score."""
    from nas.api.score import score
    from nas.budgets import parse_weights
    from workbench.console import print_json

    args.weights = parse_weights(args.weights)
    result = score(**options.api_options(args))
    if args.json:
        print_json(result.to_list())
    else:
        print(result)
    return 0
