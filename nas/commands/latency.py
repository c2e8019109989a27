"""Foretell latency on devices that are not here, with an interval, by part and by layer.

MODEL is a model of the zoo, an architecture YAML, a run folder, a checkpoint (.safetensors), a graph JSON or any ONNX
file. `nas devices` lists the devices; `nas calibrate` adds this machine to them.

examples:
  nas latency damo-yolo-s yolo11n --device t4
  nas latency yolo.onnx --device t4,raspberry-pi-4 --input 320 --layers
  nas latency runs/NAME --device t4 --png latency.png
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.devices.profile import DeviceProfile
    from nas.devices.runtimes import Network

HELP = "foretell latency on a device, by part and by layer"
TOP = 10
"""Layers that are listed unless all are asked for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas latency``."""
    parser.add_argument("models", nargs="+", metavar="MODEL", help="what to cost")
    parser.add_argument("--device", required=True, action="append", metavar="D[,D]", help="device profile; several with commas or again")
    parser.add_argument("--input", type=int, metavar="PX", help="input side in pixels (default: each model's own)")
    parser.add_argument("--layers", action="store_true", help=f"list every layer, not only the {TOP} costliest")
    parser.add_argument("--png", metavar="FILE", help="also draw a picture")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print tables or JSON; draw where asked."""
    from pathlib import Path

    from nas.devices.profile import load_device
    from nas.devices.runtimes import find_network
    from workbench.console import print_json
    from workbench.errors import BadInput
    from workbench.files import write_atomic

    names = [name.strip() for text in args.device for name in text.split(",")]
    if not all(names):
        raise BadInput(f"--device {','.join(args.device)!r} holds an empty name: give names of nas devices with commas between")
    if args.png and Path(args.png).suffix.lower() != ".png":
        raise BadInput(f"--png {args.png!r} must end in .png")
    profiles = [load_device(name) for name in dict.fromkeys(names)]
    networks = [find_network(text, args.input) for text in args.models]
    found = [predict(network, profile) for profile in profiles for network in networks]
    if args.png:
        from nas.report.latency_plot import latency_png

        write_atomic(args.png, latency_png({p.name: [_bar(one) for one in found if one["device"] == p.name] for p in profiles}))
    if args.json:
        print_json({"networks": found, "png": args.png} if args.png else {"networks": found})
        return 0
    _print(found, profiles, networks, args.layers)
    if args.png:
        print(f"\nwrote {args.png}")
    return 0


def predict(network: Network, profile: DeviceProfile) -> dict[str, Any]:
    """Latency of one network on one device: whole, interval, parts and layers, in milliseconds (layers costliest first)."""
    import numpy as np

    from nas.devices.interval import interval_ms
    from search_spaces.ops import DECODE_PART

    table = network.graph.table(network.table_px)
    ms = profile.op_ticks(table) * np.rint(table.count) * profile.tick_ms
    layers = [
        {"index": i, "name": table.names[i], "kind": table.kinds[i], "part": table.parts[i], "ms": float(ms[i]), "fused": bool(table.fused[i])}
        for i in range(len(table.kinds))
        if table.parts[i] != DECODE_PART
    ]
    whole = profile.latency_ms(network.graph, network.table_px)
    interval = interval_ms(profile, whole)
    return {
        "model": network.name, "height": network.size[0], "width": network.size[1], "device": profile.name, "ms": whole,
        "interval_ms": None if interval is None else [interval.low_ms, interval.high_ms],
        "interval_meaning": None if interval is None else interval.meaning,
        "parts_ms": profile.parts_ms(network.graph, network.table_px),
        "unknown_ops": list(network.graph.meta.get("unknown_ops", [])),
        "layers": sorted(layers, key=lambda layer: -float(layer["ms"])),
    }  # fmt: skip


def _bar(found: dict[str, Any]) -> Any:
    from nas.report.latency_plot import Bar

    interval = found["interval_ms"]
    layers = [(layer["name"], layer["part"], layer["ms"]) for layer in found["layers"]]
    return Bar(found["model"], found["parts_ms"], None if interval is None else (interval[0], interval[1]), layers)


def _print(found: list[dict[str, Any]], profiles: list[DeviceProfile], networks: list[Network], all_layers: bool) -> None:
    from workbench.console import cell, table

    parts = list(dict.fromkeys(part for one in found for part in one["parts_ms"]))
    parts = [part for part in parts if part != "fixed"] + ["fixed"]
    rows = []
    for one in found:
        low_high = "-" if one["interval_ms"] is None else " to ".join(cell(v) for v in one["interval_ms"])
        rows.append([one["model"], f"{one['height']} x {one['width']}", one["device"], one["ms"], low_high, *(one["parts_ms"].get(p) for p in parts)])
    print(table(["network", "pixels", "device", "predicted ms", "90 % interval", *(f"{p} ms" for p in parts)], rows))
    print()
    for profile in profiles:
        meaning = next(one["interval_meaning"] for one in found if one["device"] == profile.name)
        print(f"{profile.name}: {profile.hardware}; {profile.runtime}; {profile.precision}, batch {profile.batch}")
        print(f"  interval: {meaning or 'none, for the profile does not state its error'}")
    for one in found:
        layers = one["layers"]
        shown = sorted(layers, key=lambda layer: layer["index"]) if all_layers else layers[:TOP]
        total = one["ms"] or 1.0
        cells = [[layer["name"], layer["kind"], layer["part"] or "-", layer["ms"], 100 * layer["ms"] / total, "fused" if layer["fused"] else ""] for layer in shown]
        what = f"all {len(layers)} layers in order" if all_layers else f"the {len(shown)} costliest of {len(layers)} layers"
        print(f"\n{one['model']} on {one['device']}: {what}")
        print(table(["layer", "op", "part", "ms", "%", "note"], cells))
    for network in networks:
        unknown = network.graph.meta.get("unknown_ops")
        if unknown:
            print(f"\nwarning: {network.name} has ops that the profiles do not know, costed as memory traffic: {', '.join(unknown)}")
