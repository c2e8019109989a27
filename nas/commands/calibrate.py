"""Make a latency profile of this machine: measure designed networks, fit, and check on networks that were not fitted.

The profile goes to your own folder of profiles (NAS_DEVICES, or ~/.config/nas/devices) under its name, with the
measurements beside it, and can then be named with --device. The same command resumes an interrupted calibration.

examples:
  nas calibrate --device cpu
  nas calibrate --device cpu --runtime openvino --threads 2 --minutes 10
  nas search --budget 60ms --device cpu
"""

from __future__ import annotations

import argparse

from nas.commands import options

HELP = "measure this machine and fit a latency profile of it"
RESUMES = True
"""Whether the same command resumes after an interruption."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas calibrate``."""
    add = parser.add_argument
    options.add_target_options(add)
    add("--name", help="name of the profile (default: the device, with runtime and threads where they are given)")
    add("--minutes", type=float, default=5.0, metavar="M", help="time for all of it (default: %(default)s)")
    options.add_seed_option(add, "the designed set and its order")
    options.add_output_options(add)


def run(args: argparse.Namespace) -> int:
    """Calibrate and print how well the profile predicts."""
    from nas.api.calibrate import calibrate
    from workbench.console import print_json

    result = calibrate(**options.api_options(args))
    if args.json:
        print_json(result.to_dict())
    else:
        print(result)
    return 0
