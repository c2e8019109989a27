"""Compare what you found and trained with every detector of the zoo, on one page that opens anywhere.

X is a run folder (of a search or a training), a checkpoint, a model of the zoo, an architecture YAML, a graph JSON or
an ONNX file. Latency is predicted on every --device, with its interval, and measured where a search measured its
finalists or --bench brings what `nas bench --json` printed. Published AP and your own have a Pareto front each.

Writes compare.html (one file, no network), compare.png and compare.md into --out.

examples:
  nas compare runs/NAME --device t4
  nas compare runs/NAME best.safetensors --device t4,raspberry-pi-4 --only damo-yolo,yolo26
  nas compare runs/NAME --only damo-yolo --atlas DIR
  nas compare runs/NAME --device raspberry-pi-4 --input 192
  nas compare yolo.onnx damo-yolo-s yolo26s --no-zoo --out page
"""

from __future__ import annotations

import argparse

from nas.commands import options

HELP = "one page: your detectors beside those of the zoo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas compare``."""
    add = parser.add_argument
    add("subjects", nargs="*", metavar="X", help="runs, checkpoints, models or network files")
    add("--device", action="append", metavar="D[,D]", help="device profiles (default t4); may be repeated")
    add("--only", action="append", metavar="F[,F]", help="only these families or models of the zoo (default: all)")
    add("--no-zoo", action="store_false", dest="zoo", help="no detectors of the zoo but those that are named")
    add("--bench", action="append", default=[], metavar="FILE", help="what nas bench --json printed; may be repeated")
    add("--top", type=int, default=1, metavar="N", help="candidates of each search (default: %(default)s, the best)")
    add(
        "--atlas", nargs="*", metavar="DIR",
        help="trained detectors faintly behind the plot, from these folders (default: zoo and the folders of "
        "$NAS_ATLAS)",
    )  # fmt: skip
    options.add_input_option(add, text="each model's own; a find stays at its side")
    add("--out", default="compare", metavar="DIR", help="folder to write into (default: %(default)s)")
    add("--title", default="Detectors compared", help="heading of the page (default: %(default)s)")
    options.add_output_options(add)


def run(args: argparse.Namespace) -> int:
    """Write the three files, and print who is on the front."""
    from nas.api.compare import compare
    from workbench.console import print_json

    args.quiet = args.quiet or args.json
    result = compare(**options.api_options(args))
    if args.json:
        print_json(result.to_dict())
    else:
        print(result)
    return 0
