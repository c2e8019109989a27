"""``nas.latency``: latency predicted from device profiles, with an interval, by part and by layer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.api.arguments import Text, names_of, png_path, texts_of
from nas.devices.interval import interval_ms
from nas.devices.profile import load_device
from nas.devices.runtimes import find_network
from search_spaces.ops import DECODE_PART
from workbench.console import cell
from workbench.files import write_atomic
from workbench.tables import Result, Table

if TYPE_CHECKING:
    from nas.devices.profile import DeviceProfile
    from nas.devices.runtimes import Network

TOP = 10
"""Layers that the text lists unless all are asked for."""


@dataclass(frozen=True)
class LatencyPrediction:
    """One network on one device. Layers are costliest first, times in milliseconds."""

    model: str
    height: int
    width: int
    device: str
    ms: float
    interval_ms: tuple[float, float] | None
    """Bounds that hold the measured time nine times in ten; None where the profile states no error."""
    interval_meaning: str | None
    parts_ms: dict[str, float]
    unknown_ops: tuple[str, ...]
    """Ops that the profile does not know, costed as memory traffic."""
    layers: tuple[dict[str, Any], ...]
    """``index``, ``name``, ``kind``, ``part``, ``ms`` and ``fused`` of each layer."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with stable keys."""
        return {
            "model": self.model, "height": self.height, "width": self.width, "device": self.device, "ms": self.ms,
            "interval_ms": None if self.interval_ms is None else list(self.interval_ms),
            "interval_meaning": self.interval_meaning, "parts_ms": self.parts_ms,
            "unknown_ops": list(self.unknown_ops), "layers": list(self.layers),
        }  # fmt: skip

    def layer_table(self, all_layers: bool = False) -> Table:
        """The costliest layers, or all of them in the network's order."""
        shown = sorted(self.layers, key=lambda layer: int(layer["index"])) if all_layers else self.layers[:TOP]
        rows = [
            [layer["name"], layer["kind"], layer["part"] or "-", layer["ms"], 100 * layer["ms"] / (self.ms or 1.0),
             "fused" if layer["fused"] else ""]
            for layer in shown
        ]  # fmt: skip
        return Table(["layer", "op", "part", "ms", "%", "note"], rows)

    def layer_text(self, all_layers: bool = False) -> str:
        """The same as text, with a heading."""
        layers = self.layer_table(all_layers)
        count = len(self.layers)
        listed = f"all {count} layers in order" if all_layers else f"the {len(layers.rows)} costliest of {count} layers"
        return f"{self.model} on {self.device}: {listed}\n{layers}"


@dataclass(frozen=True)
class LatencyResult(Result):
    """Predictions, device by device and network by network."""

    predictions: tuple[LatencyPrediction, ...]
    profiles: tuple[DeviceProfile, ...]
    png: str | None = None

    @property
    def ms(self) -> float:
        """The first network on the first device, in milliseconds."""
        return self.predictions[0].ms

    def to_table(self) -> Table:
        """One row a network and device."""
        parts = list(dict.fromkeys(part for one in self.predictions for part in one.parts_ms))
        if "fixed" in parts:
            parts = [part for part in parts if part != "fixed"] + ["fixed"]
        rows = []
        for one in self.predictions:
            interval = "-" if one.interval_ms is None else " to ".join(cell(bound) for bound in one.interval_ms)
            parts_ms = (one.parts_ms.get(part) for part in parts)
            rows.append([one.model, f"{one.height} x {one.width}", one.device, one.ms, interval, *parts_ms])
        header = ["network", "pixels", "device", "predicted ms", "90 % interval", *(f"{part} ms" for part in parts)]
        return Table(header, rows)

    def to_dict(self) -> dict[str, Any]:
        """What ``nas latency --json`` prints."""
        networks = {"networks": [one.to_dict() for one in self.predictions]}
        return networks | {"png": self.png} if self.png else networks

    def text(self, all_layers: bool = False) -> str:
        """The table, what the intervals mean, and the costliest layers (or all)."""
        lines = [str(self.to_table()), ""]
        for profile in self.profiles:
            meaning = next(one.interval_meaning for one in self.predictions if one.device == profile.name)
            hardware = f"{profile.hardware}; {profile.runtime}; {profile.precision}"
            lines.append(f"{profile.name}: {hardware}, batch {profile.batch}")
            lines.append(f"  interval: {meaning or 'none, because the profile does not state its error'}")
        lines += [f"\n{prediction.layer_text(all_layers)}" for prediction in self.predictions]
        unknown = {one.model: ", ".join(one.unknown_ops) for one in self.predictions if one.unknown_ops}
        for model, ops in unknown.items():
            lines.append(f"\nwarning: {model} has ops that the profiles do not know, costed as memory traffic: {ops}")
        if self.png:
            lines.append(f"\nwrote {self.png}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()


def latency(
    models: Text | Sequence[Text], device: str | Sequence[str], *, input_px: int | None = None, png: Text | None = None
) -> LatencyResult:
    """Predict latency on devices that are not here, by part and by layer, each with a 90 % interval.

    Args:
        models: models of the zoo, architecture YAMLs, run folders, checkpoints, graph JSONs or ONNX files.
        device: names or files of latency profiles.
        input_px: side of the square input in pixels; None takes each model's own.
        png: file of a picture to write.
    """
    names, out = names_of(device, "--device"), png_path(png)
    profiles = [load_device(name) for name in names]
    networks = [find_network(text, input_px) for text in texts_of(models)]
    predictions = tuple(predict_latency(network, profile) for profile in profiles for network in networks)
    if out is not None:
        from nas.report.latency_plot import latency_png

        bars = {p.name: [_bar(one) for one in predictions if one.device == p.name] for p in profiles}
        write_atomic(out, latency_png(bars))
    return LatencyResult(predictions, tuple(profiles), None if png is None else os.fspath(png))


def predict_latency(network: Network, profile: DeviceProfile) -> LatencyPrediction:
    """Latency of one network on one device: whole, interval, parts and layers."""
    table = network.graph.table(network.table_px)
    layer_ms = profile.op_ticks(table) * np.rint(table.count) * profile.tick_ms
    layers = [
        {
            "index": i, "name": table.names[i], "kind": table.kinds[i], "part": table.parts[i],
            "ms": float(layer_ms[i]), "fused": bool(table.fused[i]),
        }
        for i in range(len(table.kinds))
        if table.parts[i] != DECODE_PART
    ]  # fmt: skip
    ms = profile.latency_ms(network.graph, network.table_px)
    interval = interval_ms(profile, ms)
    return LatencyPrediction(
        network.name, *network.size, profile.name, ms,
        None if interval is None else (interval.low_ms, interval.high_ms),
        None if interval is None else interval.meaning,
        profile.parts_ms(network.graph, network.table_px), tuple(network.graph.meta.get("unknown_ops", ())),
        tuple(sorted(layers, key=lambda layer: -float(layer["ms"]))),
    )  # fmt: skip


def _bar(prediction: LatencyPrediction) -> Any:
    from nas.report.latency_plot import Bar

    layers = [(layer["name"], layer["part"], layer["ms"]) for layer in prediction.layers]
    return Bar(prediction.model, prediction.parts_ms, prediction.interval_ms, layers)
