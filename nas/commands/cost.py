"""Cost any network: FLOPs, parameters, activations, layers and predicted latency.

X is an architecture YAML, a run folder, a TinyNAS text, an ONNX file, a graph JSON, a checkpoint or a model of the zoo.
"""

from __future__ import annotations

import argparse

from nas.commands import options

HELP = "cost an architecture, an ONNX file or a published model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas cost``."""
    add = parser.add_argument
    add("subject", nargs="+", metavar="X", help="network to cost")
    options.add_device_profile_option(add)
    options.add_input_option(add)
    add("--scope", choices=("detector", "backbone"), help="whole detector (default) or backbone alone")
    options.add_output_options(add, quiet=False)


def run(args: argparse.Namespace) -> int:
    """Print one line a network."""
    from nas.api.cost import cost
    from workbench.console import print_json

    result = cost(**options.api_options(args))
    if args.json:
        print_json(result.to_list())
    else:
        print(result)
    return 0
