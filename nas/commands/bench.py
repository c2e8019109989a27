"""Measure how long networks take on this machine, in turns, with an interval that another run keeps.

MODEL is a model of the zoo, an architecture YAML, a run folder, a checkpoint (.safetensors), a graph JSON or any ONNX
file. Ours run bare, to their raw maps; an ONNX file runs as it is.

examples:
  nas bench damo-yolo-ns yolox-nano --input 320
  nas bench runs/NAME damo-yolo-s --runtime openvino --threads 2
  nas bench yolo.onnx --json
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.devices.profile import DeviceProfile
    from nas.devices.runtimes import Network, Target

HELP = "measure networks on this machine, predicted beside measured"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas bench``."""
    parser.add_argument("models", nargs="+", metavar="MODEL", help="what to measure; several take turns")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--runtime", help="onnxruntime (default), openvino or torch")
    parser.add_argument("--input", type=int, metavar="PX", help="input side in pixels (default: each model's own)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all CPUs)")
    parser.add_argument("--precision", default="FP32", help="FP32 (default), or FP16 with --device cuda --runtime torch")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="time for each network (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="least runs a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=8, metavar="N", help="rounds; their spread is the interval (default: %(default)s)")
    parser.add_argument("--profile", metavar="D", help="device profile to set beside (default: this machine's own, if calibrated)")
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from nas.devices.profile import load_device
    from nas.devices.runtimes import choose_target, cpus, find_network, open_network, with_file
    from nas.devices.timing import NoiseWatch, Plan, time_networks, timing_warnings
    from workbench.console import Progress, print_json

    plan = Plan(args.seconds, args.repeats, args.rounds)
    target = choose_target(args.device, args.runtime, args.threads, args.precision)
    profile = load_device(args.profile) if args.profile else own_profile(target)
    networks = [with_file(find_network(text, args.input)) for text in args.models]
    sessions = []
    progress = Progress(args.quiet)
    try:
        for network in networks:
            progress.show(f"loading {network.name}", force=True)
            sessions.append(open_network(network, target))
        watch = NoiseWatch().start()
        timings = time_networks(sessions, plan, progress.show, reopen=lambda i: open_network(networks[i], target))
        noise = watch.stop()
    finally:
        progress.done()
    here = profile is not None and profile.hardware == target.hardware()
    predicted = [None if profile is None else profile.latency_ms(n.graph, n.table_px) for n in networks]
    rows = []
    for text, network, timing, ms in zip(args.models, networks, timings, predicted, strict=True):
        low, high = timing.interval_ms()
        rows.append({
            "model": text, "name": network.name, "height": network.size[0], "width": network.size[1], "p50_ms": timing.p50_ms,
            "interval_ms": [low, high], "p95_ms": timing.p95_ms, "best_ms": timing.best_ms, "ratio": timing.p50_ms / timings[0].p50_ms,
            "predicted_ms": ms, "predicted_error_percent": 100 * (ms / timing.p50_ms - 1) if ms is not None and here else None,
            "runs": len(timing.runs), "rounds_ms": timing.medians, "warm_up_runs": timing.warm_up_runs, "warnings": timing_warnings(timing),
        })  # fmt: skip
    warnings = noise.warnings(cpus(), target.threads)
    if args.json:
        print_json({
            "device": target.device, "hardware": target.hardware(), "runtime": target.describe(), "threads": target.threads, "precision": target.precision,
            "batch": 1, "profile": None if profile is None else profile.name, "load_before": noise.load_before, "others_share": noise.others,
            "warnings": warnings, "networks": rows,
        })  # fmt: skip
        return 0
    _print(rows, target, profile, warnings, networks)
    return 0


def own_profile(target: Target) -> DeviceProfile | None:
    """The profile that ``nas calibrate`` made for this very machine, runtime, threads and precision, if there is one."""
    from nas.devices.profile import read_profile, user_folder
    from workbench.errors import BadInput

    hardware, runtime = target.hardware(), target.describe()
    for path in sorted(user_folder().glob("*.yaml")):
        try:
            profile = read_profile(path)
        except BadInput:
            continue  # nas devices names a broken file; here nobody asked for it
        if (profile.hardware, profile.runtime, profile.precision, profile.batch) == (hardware, runtime, target.precision, 1):
            return profile
    return None


def _print(rows: list[dict[str, Any]], target: Target, profile: DeviceProfile | None, warnings: list[str], networks: list[Network]) -> None:
    from workbench.console import cell, table

    header = ["network", "pixels", "p50 ms", "interval ms", "p95 ms", "ratio"] + (["predicted ms", "error %"] if profile else [])
    cells: list[list[Any]] = []
    for row in rows:
        low, high = row["interval_ms"]
        line = [row["name"], f"{row['height']} x {row['width']}", row["p50_ms"], f"{cell(low)} to {cell(high)}", row["p95_ms"], row["ratio"]]
        cells.append(line + ([row["predicted_ms"], row["predicted_error_percent"]] if profile else []))
    print(table(header, cells))
    print(f"\n{target.hardware()}; {target.describe()}; {target.precision}, batch 1. interval: where another run puts its p50, 19 times in 20")
    if profile is not None and profile.hardware != target.hardware():
        print(f"predicted for another device: profile {profile.name} ({profile.hardware}; {profile.runtime})")
    elif profile is not None:
        error = profile.error.get("mape_percent")
        usual = "" if error is None else f", whose usual error is {cell(float(error))} %"
        print(f"predicted by profile {profile.name} ({profile.hardware}; {profile.runtime}){usual}")
    else:
        print("no profile of this machine: nas calibrate makes one, and a prediction then stands beside")
    for row in rows:
        for warning in row["warnings"]:
            print(f"warning: {row['name']}: {warning}")
    for warning in warnings:
        print(f"warning: {warning}")
    for network in networks:
        if network.graph.meta.get("unknown_ops"):
            print(f"warning: {network.name}: predicted as memory traffic: {', '.join(network.graph.meta['unknown_ops'])}")
