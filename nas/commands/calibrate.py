"""Make a latency profile of this machine: measure a designed set of ops and networks, fit, judge on networks not fitted.

The profile goes to your own folder of profiles (NAS_DEVICES, or ~/.config/nas/devices) under its name, with the
measurements beside it, and serves --device from then on. Interrupt it as you like: the same command goes on.

examples:
  nas calibrate --device cpu
  nas calibrate --device cpu --runtime openvino --threads 2 --minutes 10
  nas search --budget 60ms --device cpu
"""

from __future__ import annotations

import argparse

HELP = "measure this machine and fit a latency profile of it"
RESUMES = True
"""Whether the same command goes on after an interruption."""


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
    """Calibrate and print how well the profile foretells."""
    import dataclasses
    import shlex

    from nas.devices.calibrate import calibrate
    from nas.devices.profile import user_folder
    from nas.devices.runtimes import choose_target
    from workbench.console import Progress, cell, print_json, table
    from workbench.errors import BadInput

    if args.seed < 0:
        raise BadInput(f"seed {args.seed} must be at least 0")
    target = choose_target(args.device, args.runtime, args.threads, args.precision)
    words = ["nas", "calibrate", "--device", args.device]
    name = args.device
    for option in ("runtime", "threads", "precision", "name", "minutes", "seed"):
        value = getattr(args, option)
        if value not in (None, {"precision": "FP32", "minutes": 5.0, "seed": 0}.get(option)):
            words += [f"--{option}", f"{value:g}" if isinstance(value, float) else str(value)]
            if option in ("runtime", "threads", "precision"):
                name += f"-{value}t" if option == "threads" else f"-{str(value).lower()}"
    progress = Progress(args.quiet)
    try:
        outcome = calibrate(
            target, name if args.name is None else args.name, user_folder(), args.minutes, args.seed, shlex.join(words), progress.show
        )
    finally:
        progress.done()
    if args.json:
        print_json({
            "file": str(outcome.path), "profile": outcome.profile.to_dict(), "noise_percent": outcome.noise_percent, "noise_rules": outcome.noise_rules,
            "measured": outcome.measured, "seconds": outcome.seconds, "failed": dict(outcome.failed), "warnings": list(outcome.warnings),
            "judged": [dataclasses.asdict(one) | {"percent": one.percent} for one in outcome.judged],
        })  # fmt: skip
        return 0
    rows = [[one.name, one.kind, one.measured_ms, one.predicted_ms, one.percent] for one in sorted(outcome.judged, key=lambda j: j.measured_ms)]
    print(table(["not fitted", "kind", "measured ms", "predicted ms", "error %"], rows))
    error = outcome.profile.error
    print(f"\nerror on {len(rows)} networks not fitted: {cell(error['judged_mape_percent'])} % (fitted ones: {cell(error['fitted_mape_percent'])} %)")
    print(f"a network measured twice differs from itself by {cell(outcome.noise_percent)} % on average")
    if outcome.noise_rules:
        print("warning: the noise is larger than that error, so the profile states the noise as its error; a quieter machine would tell more")
    for warning in outcome.warnings:
        print(f"warning: {warning}")
    for task, reason in outcome.failed:
        print(f"warning: {task} was left out: {reason}")
    print(f"\nwrote {outcome.path} after {outcome.seconds:.0f} s; use it with --device {outcome.profile.name}")
    return 0
