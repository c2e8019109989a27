"""Cut a trained detector to a budget, with a certificate, and teach the child by its parent.

Channels that belong together, residual blocks and decoder layers go; what stays keeps the most importance that fits the
budgets, which is proved. With --data importance is measured on your images, and the child learns from its parent; with
--control it is compared with the child untaught and with the same architecture from random weights.

examples:
  nas shrink yolox-s.safetensors --budget 1.8ms --device t4 --data my-data
  nas shrink yolox-s.safetensors --budget 1.8ms --device t4 --data my-data --control --against yolox-tiny.safetensors
  nas shrink yolox-m.safetensors --budget t4:3ms --budget raspberry-pi-5:600ms --device t4 --device raspberry-pi-5
  nas shrink yolox-m.safetensors --budget 2ms --device t4 --front 4
  nas shrink rtdetrv2-s.safetensors --budget 40GFLOPs --budget 20MBweights --data my-data --rounds 3
"""

from __future__ import annotations

import argparse

from nas.commands import options

HELP = "cut a trained detector to a budget and teach the child by its parent"
RESUMES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas shrink``."""
    add = parser.add_argument
    add("parent", metavar="PARENT", help="checkpoint (.safetensors) of a trained detector of any family")
    add("--budget", action="append", required=True, metavar="B",
        help="such as 1.8ms, 10GFLOPs, 3Mparams, 6MBweights, 30MBact or 1.5..1.8ms; may be repeated")  # fmt: skip
    add("--device", action="append", metavar="D", help="latency profile (see nas devices); may be repeated")
    options.add_data_options(add, required=False)
    add("--importance", metavar="M", help="taylor or norm (default: taylor with --data, else norm)")
    add("--images", type=int, default=256, metavar="N", help="images for importance (default: %(default)s)")
    add("--grid", type=int, default=8, metavar="C", help="channels stay in multiples of C (default: %(default)s)")
    add("--front", type=int, default=1, metavar="N", help="N children between the parent and the budget (default: 1)")
    add("--rounds", type=int, default=1, metavar="R", help="cut in R rounds, training in between (default: 1)")
    add("--control", action="store_true", help="also train the child untaught, and from random weights")
    add("--against", action="append", metavar="FILE", help="also fine-tune this checkpoint; may be repeated")
    add("--seeds", type=int, metavar="N", help="with --control or --against: number of seeds (default: 3)")
    add("--gap", type=float, default=1e-3, metavar="G", help="share of the optimum to prove (default: %(default)s)")
    add("--time-limit", type=float, default=120.0, metavar="S", dest="time_limit_s",
        help="seconds for every choice (default: 120)")  # fmt: skip
    options.add_recipe_option(add)
    options.add_training_options(add)
    options.add_input_option(add, text="the parent's")
    options.add_compute_options(add, options.TrainingDefaults(prefix="train"))
    options.add_precision_option(add)
    options.add_seed_option(add, "images, order and augmentation")
    options.add_run_options(add, "shrinking", "shrink-PARENT-BUDGET")
    add("--no-pictures", action="store_false", dest="pictures", help="draw nothing")
    options.add_output_options(add)


def run(args: argparse.Namespace) -> int:
    """Shrink, and print the children with their certificates."""
    from nas.api.shrink import shrink
    from workbench.console import print_json

    args.quiet = args.quiet or args.json
    result = shrink(**options.api_options(args))
    if args.json:
        print_json(result.to_dict())
        return 0
    print(result)
    print(f"next: nas compare {args.parent} {result.best}; nas export {result.best} --format onnx")
    return 0
