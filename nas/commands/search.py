"""Search a space for the best detector under one or more budgets.

Budgets are of the whole detector (backbone, RepGFPN, ZeroHead; folded, batch 1) unless --scope backbone:
  3ms  latency on --device        20GFLOPs  2 x multiply-accumulates      9Mparams  parameters
  25layers  backbone convolutions  64MBact  activations in FP16           2.5..3ms  a range

Additive scores are searched exactly: the answer comes with a proof, and with the whole Pareto front below the budget.
Other scores and --strategy evolution, random, tpe, nsga2 sample --steps candidates.
Results are kept in runs/NAME; the same command again resumes an interrupted run.

examples:
  nas search --budget 3ms --device t4
  nas search --budget 3.3ms --device t4 --budget 25layers --space res
  nas search --budget 20GFLOPs --budget 10Mparams --strategy evolution --steps 500000 --set children=256
  nas search --budget 2.5..3ms --device t4 --space my-space.yaml --json
  nas search --device t4 --device raspberry-pi-4 --budget t4:3ms --budget raspberry-pi-4:900ms
  nas search --device cpu --budget 60ms --measure 5      (after nas calibrate)
  nas search --device t4 --budget 3ms --data my-data     (says what the boxes ask of levels and input side)
  nas search --device t4 --budget 3ms --then distill --teacher rtdetrv2-x.safetensors --data my-data --top 5
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from nas.commands import options

if TYPE_CHECKING:
    from distill.data.check.box_levels import BoxLevels
    from nas.api.search import SearchOutcome

HELP = "find the best architecture under budgets, with a proof"
RESUMES = True
"""Whether the same command resumes after an interruption."""
SHORTLIST = options.TrainingDefaults(
    prefix="train", unset=True, of=" of architectures trained to the end", epochs="30",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas search``."""
    add = parser.add_argument
    add("--budget", action="append", metavar="B", required=True,
        help="3ms, 20GFLOPs, 9Mparams, 25layers, 64MBact or a range; may be repeated")  # fmt: skip
    add("--device", action="append", metavar="D",
        help="latency profile, by name or YAML file (see `nas devices`); may be repeated")  # fmt: skip
    add("--space", default="res", metavar="S", help="space, by name or YAML file (see `nas spaces`; default res)")
    add("--grid", type=int, metavar="N", help="channel grid instead of the space's own (8, 16, 32 ...)")
    add("--score",
        help="a score of docs/scores.md, or the YAML file of a fit (default: the first additive one that the space "
        "allows)")  # fmt: skip
    add("--forecast-recipe", default="", metavar="TRAITS",
        help="recipe of the COCO AP that is forecast, such as objects365,teacher,epochs=72 (default: COCO alone from "
        "scratch, 300 epochs)")  # fmt: skip
    add("--weights", metavar="W,..", help="stage weights of maxent and deepmad, coarsest last (default 0,0,1,1,16)")
    add("--strategy", help="exact, evolution, random, tpe or nsga2 (default: exact where it applies)")
    add("--scope", default="detector", help="what budgets count: detector (default) or backbone")
    options.add_input_option(add, text="those of the space, else 640")
    options.add_seed_option(add, "the search")
    add("--steps", type=int, help="candidates of a sampling strategy (default 200000)")
    add("--population", type=int, help="population of a sampling strategy (default 512)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", dest="options",
        help="change an option of the strategy, such as children=256; may be repeated")  # fmt: skip
    add("--time-limit", type=float, default=300.0, metavar="S", dest="time_limit_s",
        help="seconds after which the exact search stops proving (default 300)")  # fmt: skip
    add("--top-k", type=int, default=5, help="architectures written to top/ (default 5)")
    add("--measure", type=int, metavar="K", help="measure the best K of the front on this machine, and rank them anew")
    add("--measure-on", default="cpu", metavar="D", help="with --measure: cpu (default) or cuda")
    options.add_runtime_options(add, "with --measure: ")
    options.add_worker_options(add, "processes of a local Ray, or jobs at once on the cluster at --address")
    add("--islands", type=int, metavar="N",
        help="populations of an evolution (default: one, or one a worker where scores are cheap)")  # fmt: skip
    options.add_run_options(add, "search", "made from the settings")
    add("--no-pictures", action="store_false", dest="pictures", help="skip the PNGs")
    options.add_output_options(add, json="print JSON (format nas-search-1)")
    _add_shortlist_options(parser.add_argument_group("training the shortlist"))


def _add_shortlist_options(group: argparse._ArgumentGroup) -> None:
    """``--then`` and its options, all without a default, so that one given without ``--then`` (but ``--data``) is
    refused."""
    add = group.add_argument
    add("--then", choices=("train", "distill"),
        help="train the best of the front by successive halving, beside stock models")  # fmt: skip
    more = "; without --then too, its boxes are held against levels and input side, which leaves the search as it is"
    options.add_data_options(add, required=False, more=more)
    add("--top", type=int, metavar="N", help="candidates, spread over the costlier half of the front (default 5)")
    add("--against", nargs="*", metavar="MODEL",
        help="stock models trained beside them (default: the nearest in cost; none after it: none)")  # fmt: skip
    options.add_teacher_options(add, unset=True)
    options.add_training_options(add, SHORTLIST)
    options.add_recipe_option(add, SHORTLIST)
    options.add_input_option(add, text="--input", name="--train-input")
    options.add_compute_options(add, SHORTLIST)


def run(args: argparse.Namespace) -> int:
    """Search, then print the table (or JSON)."""
    from nas.api.search import search
    from nas.budgets import parse_weights
    from workbench.console import print_json

    args.quiet = args.quiet or args.json
    args.weights = None if args.weights is None else parse_weights(args.weights)
    said = {} if args.json else {"callback": _print, "on_data": _print_boxes}
    result = search(**options.api_options(args), **said)
    if args.json:
        print_json(result.to_dict())
    elif result.trained is not None:
        print(f"\n{result.trained}")  # the search itself was printed before the training
    else:
        _print(result)
    return 0


def _print(result: SearchOutcome) -> None:
    """Everything but the boxes of the data, which were printed before the search."""
    print(replace(result, data=None), flush=True)


def _print_boxes(boxes: BoxLevels) -> None:
    print(f"{boxes}\n", flush=True)
