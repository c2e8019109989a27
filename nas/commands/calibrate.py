"""Make a latency profile of this machine: measure a designed set of networks, fit, check on networks not fitted.

The profile goes to your own folder of profiles (NAS_DEVICES, or ~/.config/nas/devices) under its name, with the
measurements beside it, and serves --device from then on. Interrupt it as you like: the same command resumes.

examples:
  nas calibrate --device cpu
  nas calibrate --device cpu --runtime openvino --threads 2 --minutes 10
  nas search --budget 60ms --device cpu
"""

from __future__ import annotations

import argparse

HELP = "measure this machine and fit a latency profile of it"
RESUMES = True
"""Whether the same command resumes after an interruption."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas calibrate``."""
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--runtime", help="onnxruntime (default), openvino or torch")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all CPUs)")
    parser.add_argument("--precision", default="FP32", help="FP32 (default), or FP16 with --device cuda --runtime torch")
    parser.add_argument("--name", help="name of the profile (default: cpu or cuda, with the runtime and threads where they were named)")
    parser.add_argument("--minutes", type=float, default=5.0, metavar="M", help="time for all of it (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the designed set and its order (default: %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Calibrate and print the profile's error."""
    import shlex

    from nas.devices.calibration.calibrate import CalibrationRequest, calibrate
    from nas.devices.profile import user_folder
    from nas.devices.session import choose_target
    from workbench.console import Progress, print_json

    target = choose_target(args.device, args.runtime, args.threads, args.precision)
    words = ["nas", "calibrate", "--device", args.device]
    name = args.device
    for option in ("runtime", "threads", "precision", "name", "minutes", "seed"):
        value = getattr(args, option)
        if value not in (None, {"precision": "FP32", "minutes": 5.0, "seed": 0}.get(option)):
            words += [f"--{option}", f"{value:g}" if isinstance(value, float) else str(value)]
            if option in ("runtime", "threads", "precision"):
                name += f"-{value}t" if option == "threads" else f"-{str(value).lower()}"
    name = name if args.name is None else args.name
    request = CalibrationRequest(name, args.minutes, args.seed, shlex.join(words))
    progress = Progress(args.quiet)
    try:
        result = calibrate(target, user_folder(), request, progress.show)
    finally:
        progress.done()
    if args.json:
        print_json(result.to_dict())
    else:
        print(result)
    return 0
