"""List latency profiles, show one, fit or check one, merge and judge measurements."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.devices.fitting.errors import MeasuredPrediction
    from nas.devices.measured.selection import Selection
    from nas.devices.profile import DeviceProfile

HELP = "list, show, fit and check latency profiles of devices; merge measurements"
DATA_HELP = (
    "file of measurements (.jsonl, .jsonl.gz), folder with latency.csv and graphs.jsonl.gz or NAME.onnx files, table "
    "of published figures, or table of convolutions (.csv, .csv.gz)"
)
DEVICE_HELP = "name of a profile, or path of its YAML file"
SELECT_HELP = (
    "measurements to take, by device, runtime, precision, protocol, source, family or batch: device=T4,precision=FP16; "
    "= before a text: exactly that, | between alternatives"
)
RECORDED = ("select", "column", "family_from", "kind", "activations", "hardware", "runtime", "precision")
"""Options of ``fit`` that go into the profile's command."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``nas devices [list | show DEVICE | fit DATA --out FILE | check DEVICE DATA | merge FILE]``."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    actions = parser.add_subparsers(dest="action", metavar="{list,show,fit,check,merge}")
    listing = actions.add_parser("list", help="list the profiles and their error on held-out networks (the default)")
    show = actions.add_parser("show", help="show one profile; with --png draw predicted against measured")
    show.add_argument("device", help=DEVICE_HELP)
    show.add_argument("--png", metavar="FILE", help="write a picture of predicted against measured latencies")
    drawn = f"measurements to draw (default: what the profile was fitted to, if it is there): {DATA_HELP}"
    show.add_argument("--data", metavar="DATA", help=drawn)
    fit = actions.add_parser("fit", help="fit a profile to measured latencies")
    fit.add_argument("data", nargs="+", metavar="DATA", help=DATA_HELP)
    fit.add_argument("--out", required=True, help="YAML file to write; its name is the device's name")
    kind = "gpu, cpu or npu: gives the coefficients that the data cannot determine (default: %(default)s)"
    fit.add_argument("--kind", default="gpu", help=kind)
    activations = "fused or separate: whether the runtime runs SiLU inside the convolution (default: fused on a gpu)"
    fit.add_argument("--activations", default="", help=activations)
    stated = "(default: as the measurements state it)"
    fit.add_argument("--hardware", default="not stated", help=f"for instance 'NVIDIA T4' {stated}")
    fit.add_argument("--runtime", default="not stated", help=f"for instance 'TensorRT 10' {stated}")
    precision = "FP32, FP16, BF16, INT16 or INT8 (default: as the measurements state it, else FP16)"
    fit.add_argument("--precision", default="", help=precision)
    fit.add_argument("--batch", type=int, default=1, help="images a run (default: %(default)s)")
    check = actions.add_parser("check", help="check a profile on measurements, without fitting")
    check.add_argument("device", help=DEVICE_HELP)
    check.add_argument("data", nargs="+", metavar="DATA", help=DATA_HELP)
    check.add_argument("--png", metavar="FILE", help="write a picture of predicted against measured latencies")
    merge = actions.add_parser("merge", help="merge files of measurements, and judge how far their sources agree")
    merge.add_argument("data", nargs="+", metavar="DATA", help="files of measurements, or what fit and check read")
    merge.add_argument("--out", metavar="FILE", help="write all of them to one file (.jsonl or .jsonl.gz)")
    merge.add_argument("--source", metavar="NAME", help="source of the measurements that have none")
    for action in (show, fit, check, merge):
        action.add_argument("--select", action="append", metavar="KEY=TEXT", help=SELECT_HELP)
    for action in (show, fit, check):
        action.add_argument("--column", help="column of milliseconds in latency.csv, when there is more than one")
        family = "column to take the family from (default: 'family', else from the name)"
        action.add_argument("--family-from", metavar="COLUMN", help=family)
    for action in (fit, check):
        worst = "number of worst predictions to print (default: %(default)s)"
        action.add_argument("--worst", type=int, default=10, metavar="N", help=worst)
    for action in (listing, show, fit, check, merge):
        # SUPPRESS: a flag before the action must not be reset by the action's own default.
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Run the action; the exit code."""
    action = getattr(args, "action", None) or "list"
    return {"list": _list, "show": _show, "fit": _fit, "check": _check, "merge": _merge}[action](args)


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
    from pathlib import Path

    from nas.devices.fitting.check import check_profile
    from nas.devices.fitting.errors import error_summary, worst
    from nas.devices.profile import load_device
    from workbench.console import print_json

    count = _worst(args)
    profile = load_device(args.device)
    source, rows = check_profile(profile, args.data, args.column, args.family_from, _selection(args))
    if args.png:
        _draw(args, profile, rows)
    errors = error_summary(rows)
    if args.json:
        offenders = [row.to_dict() for row in worst(rows, count)]
        data = args.data[0] if len(args.data) == 1 else args.data
        measured = {"device": profile.name, "data": data, "column": source, "points": len(rows)}
        print_json({**measured, **errors, "worst": offenders})
        return 0
    hardware = f"{profile.hardware}, {profile.runtime}, {profile.precision}"
    what = f"{source} of {args.data[0]}" if Path(args.data[0]).is_dir() and not args.select else source
    print(f"{profile.name} ({hardware}) on {len(rows)} latencies, {what}\n")
    _print_worst(rows, count)
    _print_error(errors, rows)
    if args.png:
        print(f"\nwrote {args.png}")
    return 0


def _fit(args: argparse.Namespace) -> int:
    from pathlib import Path

    from nas.devices.fitting.fit_profile import ProfileDescription, fit_profile
    from nas.devices.measured.read import is_measurements
    from workbench.console import print_json
    from workbench.errors import BadInput
    from workbench.files import write_atomic

    count = _worst(args)
    out = Path(args.out)
    if out.suffix not in (".yaml", ".yml"):
        raise BadInput(f"--out {args.out!r} must end in .yaml")
    if args.batch < 1:
        raise BadInput(f"--batch {args.batch} must be at least 1")
    if not args.precision and not any(is_measurements(path) for path in args.data):
        args.precision = "FP16"
    words = ["nas", "devices", "fit", *args.data, "--out", args.out]
    for option in RECORDED:
        value = ",".join(args.select or []) if option == "select" else getattr(args, option)
        if value and value != "not stated":
            words += [f"--{option.replace('_', '-')}", value]
    if args.batch != 1:
        words += ["--batch", str(args.batch)]
    description = ProfileDescription(
        out.stem, args.hardware, args.runtime, args.precision, args.batch, shlex.join(words)
    )
    profile, rows = fit_profile(
        args.data, description, args.column, args.family_from, args.kind, args.activations, _selection(args)
    )
    write_atomic(out, profile.to_yaml())
    if args.json:
        print_json({"file": str(out), "profile": profile.to_dict(), "forecasts": [row.to_dict() for row in rows]})
        return 0
    _print_worst(rows, count)
    _print_error(profile.error, rows)
    print(f"\nwrote {out}; use it with --device {out}")
    return 0


def _merge(args: argparse.Namespace) -> int:
    from nas.devices.measured.merge import merge_files
    from workbench.console import print_json

    merged = merge_files(args.data, args.out, _selection(args), args.source)
    if args.json:
        print_json(merged.to_dict())
    else:
        print(merged)
    return 0


def _selection(args: argparse.Namespace) -> Selection | None:
    """What ``--select`` says; None where it is not given."""
    from nas.devices.measured.selection import Selection

    return Selection.parse(args.select) if args.select else None


def _worst(args: argparse.Namespace) -> int:
    from workbench.errors import BadInput

    if args.worst < 0:
        raise BadInput(f"--worst {args.worst} must be at least 0")
    return int(args.worst)


def _points_of(args: argparse.Namespace, profile: DeviceProfile) -> list[MeasuredPrediction]:
    """Predictions for the given data, or for what the profile was fitted to."""
    from pathlib import Path

    from nas.devices.fitting.check import check_profile, recorded_data, recorded_option
    from nas.devices.measured.selection import Selection
    from workbench.errors import BadInput

    data = [args.data] if args.data else recorded_data(profile)
    missing = next((path for path in data if not Path(path).exists()), "" if data else "the data of this profile")
    if missing and not args.data:
        raise BadInput(f"--png draws measured latencies, and {missing!r} is not here: name them with --data")
    select, recorded = _selection(args), recorded_option(profile, "--select")
    if select is None and recorded and not args.data:
        select = Selection.parse([recorded])
    family_from = args.family_from or recorded_option(profile, "--family-from")
    return check_profile(profile, data, args.column, family_from, select)[1]


def _draw(args: argparse.Namespace, profile: DeviceProfile, rows: Sequence[MeasuredPrediction]) -> None:
    from pathlib import Path

    from nas.report.fit_plot import predicted_png
    from workbench.errors import BadInput
    from workbench.files import write_atomic

    if Path(args.png).suffix.lower() != ".png":
        raise BadInput(f"--png {args.png!r} must end in .png")
    title = f"{profile.name}: {profile.hardware}, {profile.runtime}, {profile.precision}"
    write_atomic(Path(args.png), predicted_png(title, rows))


def _print_worst(rows: Sequence[MeasuredPrediction], count: int) -> None:
    from nas.devices.fitting.errors import worst
    from workbench.console import table

    if not count:
        return
    cells = [[r.name, r.family, r.input_px, r.measured_ms, r.predicted_ms, r.percent] for r in worst(rows, count)]
    header = ["network", "family", "input px", "measured ms", "predicted ms", "error %"]
    print("worst predictions\n" + table(header, cells))


def _print_error(error: Mapping[str, Any], rows: Sequence[MeasuredPrediction] = ()) -> None:
    """Print single errors, then one table of errors by source and one by family."""
    from workbench.console import table

    plain = [[key, float(value)] for key, value in error.items() if not isinstance(value, Mapping)]
    if plain:
        print("\n" + table(["error", "value"], plain))
    grouped = {group: f"_by_{group}" for group in ("source", "family")}
    for key, value in error.items():
        if isinstance(value, Mapping) and not key.endswith(tuple(grouped.values())):
            print("\n" + table([key, "value"], [[name, float(number)] for name, number in value.items()]))
    for group, ending in grouped.items():
        tables = {
            key.removesuffix(ending): value
            for key, value in error.items()
            if isinstance(value, Mapping) and key.endswith(ending)
        }
        if tables:
            names = list(dict.fromkeys(name for values in tables.values() for name in values))
            points = [getattr(row, group) for row in rows]
            header = [group, *(["points"] if rows else []), *tables]
            cells = [
                [name, *([points.count(name)] if rows else []), *(values.get(name) for values in tables.values())]
                for name in names
            ]
            print("\n" + table(header, cells))
