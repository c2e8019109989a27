"""``nas devices``: list the device profiles, show one, fit one to measured latencies."""

from __future__ import annotations

import argparse
import shlex

HELP = "list, show and fit latency profiles of devices"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``nas devices [show NAME | fit DATA --out FILE]``."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    actions = parser.add_subparsers(dest="action", metavar="{list,show,fit}")
    listing = actions.add_parser("list", help="list the profiles and their error (the default)")
    show = actions.add_parser("show", help="show one profile")
    show.add_argument("device", help="name of a profile, or path of its YAML file")
    fit = actions.add_parser("fit", help="fit a profile to a folder with latency.csv and graphs.jsonl.gz")
    fit.add_argument("data", help="folder: latency.csv (model, family, input_px, one *_ms column), graphs.jsonl.gz")
    fit.add_argument("--out", required=True, help="YAML file to write; its name is the device's name")
    fit.add_argument("--column", help="column of milliseconds in latency.csv, when there is more than one")
    fit.add_argument("--hardware", default="not stated", help="for instance 'NVIDIA T4'")
    fit.add_argument("--runtime", default="not stated", help="for instance 'TensorRT 10'")
    fit.add_argument("--precision", default="FP16", help="FP32, FP16, BF16 or INT8 (default: %(default)s)")
    fit.add_argument("--batch", type=int, default=1, help="images a run (default: %(default)s)")
    for action in (listing, show, fit):
        # SUPPRESS: a flag before the action must not be reset by the action's own default.
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Do what the arguments say; the exit code."""
    action = getattr(args, "action", None) or "list"
    return {"list": _list, "show": _show, "fit": _fit}[action](args)


def _list(args: argparse.Namespace) -> int:
    from nas.console import print_json, table
    from nas.latency.profile import device_names, load_device, user_folder

    profiles = [load_device(name) for name in device_names()]
    if args.json:
        print_json([profile.to_dict() for profile in profiles])
        return 0
    measures = ("mape_percent", "kendall_tau")
    rows = [
        [p.name, p.hardware, p.runtime, p.precision, p.batch, p.points, *(p.error.get(measure) for measure in measures)]
        for p in profiles
    ]
    header = ["device", "hardware", "runtime", "precision", "batch", "networks", "left-out error %", "Kendall tau"]
    print(table(header, rows))
    print(f"\nyour own profiles: {user_folder()} (set NAS_DEVICES to change)")
    return 0


def _show(args: argparse.Namespace) -> int:
    from nas.console import print_json, table
    from nas.latency.profile import load_device

    profile = load_device(args.device)
    data = profile.to_dict()
    if args.json:
        print_json(data)
        return 0
    model, error = data.pop("model"), data.pop("error")
    rows = [[key, value] for key, value in data.items() if value != ""]
    width = max(len(key) for key, _ in rows)
    print("\n".join(f"{key.ljust(width)}  {value}" for key, value in rows))
    print("\n" + table(["coefficient", "value"], [[key, float(value)] for key, value in model.items()]))
    families = [item for item in error.items() if isinstance(item[1], dict)]
    plain = [[key, float(value)] for key, value in error.items() if not isinstance(value, dict)]
    if plain:
        print("\n" + table(["error", "value"], plain))
    for key, values in families:
        print("\n" + table([key, "value"], [[name, float(value)] for name, value in values.items()]))
    return 0


def _fit(args: argparse.Namespace) -> int:
    from pathlib import Path

    from nas.console import print_json, table
    from nas.latency.fit import fit_report
    from search_spaces.errors import BadInput
    from search_spaces.files import write_atomic

    out = Path(args.out)
    if out.suffix not in (".yaml", ".yml"):
        raise BadInput(f"--out {args.out!r} must end in .yaml")
    if args.batch < 1:
        raise BadInput(f"--batch {args.batch} must be at least 1")
    words = ["nas", "devices", "fit", args.data, "--out", args.out]
    for option in ("column", "hardware", "runtime", "precision"):
        value = getattr(args, option)
        if value and value != "not stated":
            words += [f"--{option}", value]
    if args.batch != 1:
        words += ["--batch", str(args.batch)]
    profile, rows = fit_report(
        args.data, args.column, name=out.stem, hardware=args.hardware, runtime=args.runtime,
        precision=args.precision, batch=args.batch, command=shlex.join(words),
    )  # fmt: skip
    write_atomic(out, profile.to_yaml())
    if args.json:
        networks = [
            {
                "name": r.name, "family": r.family, "attention": r.attention, "measured_ms": r.measured_ms,
                "fitted_ms": r.fitted_ms, "left_out_ms": r.left_out_ms,
            }
            for r in rows
        ]  # fmt: skip
        print_json({"file": str(out), "profile": profile.to_dict(), "networks": networks})
        return 0
    cells = [[r.name, r.family, r.measured_ms, r.fitted_ms, r.left_out_ms, r.left_out_percent] for r in rows]
    print(table(["network", "family", "measured ms", "fitted ms", "left-out ms", "left-out error %"], cells))
    print()
    print(table(["error", "value"], [[k, v] for k, v in profile.error.items() if not isinstance(v, dict)]))
    print(f"\nwrote {out}; use it with --device {out}")
    return 0
