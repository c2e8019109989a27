"""List latency profiles, show one, fit one to measurements, check one on measurements."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.devices.profile import DeviceProfile
    from nas.devices.profile_error import Prediction

HELP = "list, show, fit and check latency profiles of devices"
DATA_HELP = "folder with latency.csv and graphs.jsonl.gz or NAME.onnx files; or a table of convolutions (.csv, .csv.gz)"
DEVICE_HELP = "name of a profile, or path of its YAML file"
RECORDED = ("column", "family_from", "kind", "activations", "hardware", "runtime", "precision")
"""Options of ``fit`` that go into the profile's command."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``nas devices [list | show DEVICE | fit DATA --out FILE | check DEVICE DATA]``."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    actions = parser.add_subparsers(dest="action", metavar="{list,show,fit,check}")
    listing = actions.add_parser("list", help="list the profiles and their error on held-out networks (the default)")
    show = actions.add_parser("show", help="show one profile; with --png draw predicted against measured")
    show.add_argument("device", help=DEVICE_HELP)
    show.add_argument("--png", metavar="FILE", help="write a picture of predicted against measured latencies")
    drawn = f"measurements to draw (default: what the profile was fitted to, if it is there): {DATA_HELP}"
    show.add_argument("--data", metavar="DATA", help=drawn)
    fit = actions.add_parser("fit", help="fit a profile to measured latencies")
    fit.add_argument("data", help=DATA_HELP)
    fit.add_argument("--out", required=True, help="YAML file to write; its name is the device's name")
    kind = "gpu, cpu or npu: gives the coefficients that the data cannot determine (default: %(default)s)"
    fit.add_argument("--kind", default="gpu", help=kind)
    activations = "fused or separate: whether the runtime runs SiLU inside the convolution (default: fused on a gpu)"
    fit.add_argument("--activations", default="", help=activations)
    fit.add_argument("--hardware", default="not stated", help="for instance 'NVIDIA T4'")
    fit.add_argument("--runtime", default="not stated", help="for instance 'TensorRT 10'")
    fit.add_argument("--precision", default="FP16", help="FP32, FP16, BF16, INT16 or INT8 (default: %(default)s)")
    fit.add_argument("--batch", type=int, default=1, help="images a run (default: %(default)s)")
    check = actions.add_parser("check", help="check a profile on measurements, without fitting")
    check.add_argument("device", help=DEVICE_HELP)
    check.add_argument("data", help=DATA_HELP)
    check.add_argument("--png", metavar="FILE", help="write a picture of predicted against measured latencies")
    for action in (show, fit, check):
        action.add_argument("--column", help="column of milliseconds in latency.csv, when there is more than one")
        family = "column to take the family from (default: 'family', else from the name)"
        action.add_argument("--family-from", metavar="COLUMN", help=family)
    for action in (fit, check):
        worst = "number of worst predictions to print (default: %(default)s)"
        action.add_argument("--worst", type=int, default=10, metavar="N", help=worst)
    for action in (listing, show, fit, check):
        # SUPPRESS: a flag before the action must not be reset by the action's own default.
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Run the action; the exit code."""
    action = getattr(args, "action", None) or "list"
    return {"list": _list, "show": _show, "fit": _fit, "check": _check}[action](args)


def _list(args: argparse.Namespace) -> int:
    from nas.devices.profile import device_names, load_device, user_folder
    from workbench.console import print_json, table

    profiles = [load_device(name) for name in device_names()]
    if args.json:
        print_json([profile.to_dict() for profile in profiles])
        return 0
    measures = ("mape_percent", "kendall_tau")
    rows = [
        [p.name, p.hardware, p.runtime, p.precision, p.batch, p.points, *(p.error.get(measure) for measure in measures)]
        for p in profiles
    ]
    header = ["device", "hardware", "runtime", "precision", "batch", "points", "left-out error %", "Kendall tau"]
    print(table(header, rows))
    print(f"\nyour own profiles: {user_folder()} (set NAS_DEVICES to change)")
    return 0


def _show(args: argparse.Namespace) -> int:
    from nas.devices.profile import load_device
    from workbench.console import print_json, table

    profile = load_device(args.device)
    data = profile.to_dict()
    if args.png:
        _draw(args, profile, _points_of(args, profile))
    if args.json:
        print_json(data)
        return 0
    model, error = data.pop("model"), data.pop("error")
    rows = [[key, value] for key, value in data.items() if value != ""]
    width = max(len(key) for key, _ in rows)
    print("\n".join(f"{key.ljust(width)}  {value}" for key, value in rows))
    print("\n" + table(["coefficient", "value"], [[key, float(value)] for key, value in model.items()]))
    _print_error(error)
    if args.png:
        print(f"\nwrote {args.png}")
    return 0


def _check(args: argparse.Namespace) -> int:
    from nas.devices.profile import load_device
    from nas.devices.profile_error import check, figures, worst
    from workbench.console import print_json

    count = _worst(args)
    profile = load_device(args.device)
    source, rows = check(profile, args.data, args.column, args.family_from)
    if args.png:
        _draw(args, profile, rows)
    errors = figures(rows)
    if args.json:
        offenders = [row.to_dict() for row in worst(rows, count)]
        measured = {"device": profile.name, "data": args.data, "column": source, "points": len(rows)}
        print_json({**measured, **errors, "worst": offenders})
        return 0
    hardware = f"{profile.hardware}, {profile.runtime}, {profile.precision}"
    print(f"{profile.name} ({hardware}) on {len(rows)} latencies, {source} of {args.data}\n")
    _print_worst(rows, count)
    _print_error(errors, rows)
    if args.png:
        print(f"\nwrote {args.png}")
    return 0


def _fit(args: argparse.Namespace) -> int:
    from pathlib import Path

    from nas.devices.profile_error import fit_report
    from workbench.console import print_json
    from workbench.errors import BadInput
    from workbench.files import write_atomic

    count = _worst(args)
    out = Path(args.out)
    if out.suffix not in (".yaml", ".yml"):
        raise BadInput(f"--out {args.out!r} must end in .yaml")
    if args.batch < 1:
        raise BadInput(f"--batch {args.batch} must be at least 1")
    words = ["nas", "devices", "fit", args.data, "--out", args.out]
    for option in RECORDED:
        value = getattr(args, option)
        if value and value != "not stated":
            words += [f"--{option.replace('_', '-')}", value]
    if args.batch != 1:
        words += ["--batch", str(args.batch)]
    profile, rows = fit_report(
        args.data, args.column, name=out.stem, hardware=args.hardware, runtime=args.runtime, precision=args.precision,
        batch=args.batch, kind=args.kind, activations=args.activations, family_from=args.family_from,
        command=shlex.join(words),
    )  # fmt: skip
    write_atomic(out, profile.to_yaml())
    if args.json:
        print_json({"file": str(out), "profile": profile.to_dict(), "forecasts": [row.to_dict() for row in rows]})
        return 0
    _print_worst(rows, count)
    _print_error(profile.error, rows)
    print(f"\nwrote {out}; use it with --device {out}")
    return 0


def _worst(args: argparse.Namespace) -> int:
    from workbench.errors import BadInput

    if args.worst < 0:
        raise BadInput(f"--worst {args.worst} must be at least 0")
    return int(args.worst)


def _points_of(args: argparse.Namespace, profile: DeviceProfile) -> list[Prediction]:
    """Predictions for the given data, or for what the profile was fitted to."""
    from pathlib import Path

    from nas.devices.profile_error import check, recorded
    from workbench.errors import BadInput

    data = args.data or recorded(profile, "DATA")
    if data is None or not (args.data or Path(data).exists()):
        missing = data or "the data of this profile"
        raise BadInput(f"--png draws measured latencies, and {missing!r} is not here: name them with --data")
    return check(profile, data, args.column, args.family_from or recorded(profile, "--family-from"))[1]


def _draw(args: argparse.Namespace, profile: DeviceProfile, rows: Sequence[Prediction]) -> None:
    from pathlib import Path

    from nas.report.fit_plot import predicted_png
    from workbench.errors import BadInput
    from workbench.files import write_atomic

    if Path(args.png).suffix.lower() != ".png":
        raise BadInput(f"--png {args.png!r} must end in .png")
    title = f"{profile.name}: {profile.hardware}, {profile.runtime}, {profile.precision}"
    write_atomic(Path(args.png), predicted_png(title, rows))


def _print_worst(rows: Sequence[Prediction], count: int) -> None:
    from nas.devices.profile_error import worst
    from workbench.console import table

    if not count:
        return
    cells = [[r.name, r.family, r.input_px, r.measured_ms, r.predicted_ms, r.percent] for r in worst(rows, count)]
    header = ["network", "family", "input px", "measured ms", "predicted ms", "error %"]
    print("worst predictions\n" + table(header, cells))


def _print_error(error: Mapping[str, Any], rows: Sequence[Prediction] = ()) -> None:
    """Print single errors, then one table of errors by family."""
    from workbench.console import table

    plain = [[key, float(value)] for key, value in error.items() if not isinstance(value, Mapping)]
    if plain:
        print("\n" + table(["error", "value"], plain))
    tables = {
        key.removesuffix("_by_family"): value
        for key, value in error.items()
        if isinstance(value, Mapping) and key.endswith("_by_family")
    }
    for key, value in error.items():
        if isinstance(value, Mapping) and not key.endswith("_by_family"):
            print("\n" + table([key, "value"], [[name, float(number)] for name, number in value.items()]))
    if tables:
        families = list(dict.fromkeys(name for values in tables.values() for name in values))
        points = [row.family for row in rows]
        header = ["family", *(["points"] if rows else []), *tables]
        cells = [
            [name, *([points.count(name)] if rows else []), *(values.get(name) for values in tables.values())]
            for name in families
        ]
        print("\n" + table(header, cells))
