"""Predicted latency of networks on devices, as a whole, by part and by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.devices.int8_drop import Int8Drop, forecast_drops, sentence
from nas.devices.interval import Interval, interval_ms
from nas.devices.network import Network
from nas.devices.profile import DeviceProfile
from search_spaces.ops import DECODE_PART
from workbench.console import cell, table
from workbench.tables import Result

TOP = 10
"""Layers that are listed unless all are asked for."""


@dataclass(frozen=True, slots=True)
class LayerLatency:
    """One op of a network: its index in the graph, kind and part, its time, and whether it is fused into another."""

    index: int
    name: str
    kind: str
    part: str
    ms: float
    fused: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class LatencyPrediction(Result):
    """The latency of one network on one device in milliseconds; ``layers`` are sorted, slowest first.

    ``parts_ms`` sums up by part (backbone, neck, head, and ``fixed``). ``unknown_ops`` have no model and are costed as
    memory traffic. ``int8_drops`` forecast what the profile's precision costs, where that is INT8.
    """

    model: str
    height: int
    width: int
    device: str
    ms: float
    interval: Interval | None
    parts_ms: Mapping[str, float]
    layers: tuple[LayerLatency, ...]
    unknown_ops: tuple[str, ...] = ()
    precision: str = ""
    int8_drops: tuple[Int8Drop, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as in ``nas latency --json``."""
        interval = self.interval
        return {
            "model": self.model,
            "height": self.height,
            "width": self.width,
            "device": self.device,
            "precision": self.precision,
            "ms": self.ms,
            "interval_ms": None if interval is None else [interval.low_ms, interval.high_ms],
            "interval_meaning": None if interval is None else interval.meaning,
            "parts_ms": dict(self.parts_ms),
            "unknown_ops": list(self.unknown_ops),
            "layers": [layer.to_dict() for layer in self.layers],
        } | ({"int8_drops": [drop.to_dict() for drop in self.int8_drops]} if self.int8_drops else {})

    def to_table(self, all_layers: bool = True) -> tuple[list[str], list[list[Any]]]:
        """Header and one row a layer: all in their order, or the ``TOP`` slowest."""
        layers = sorted(self.layers, key=lambda layer: layer.index) if all_layers else self.layers[:TOP]
        total = self.ms or 1.0
        rows: list[list[Any]] = [
            [x.name, x.kind, x.part or "-", x.ms, 100 * x.ms / total, "fused" if x.fused else ""] for x in layers
        ]
        return ["layer", "op", "part", "ms", "%", "note"], rows


@dataclass(frozen=True, slots=True)
class LatencyResult(Result):
    """Predictions of several networks on several devices, device by device; ``png`` is a picture that was written."""

    predictions: tuple[LatencyPrediction, ...]
    profiles: tuple[DeviceProfile, ...]
    png: str | None = None

    @property
    def ms(self) -> float:
        """The first network on the first device, in milliseconds."""
        return self.predictions[0].ms

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as in ``nas latency --json``."""
        networks = {"networks": [prediction.to_dict() for prediction in self.predictions]}
        return networks | ({"png": self.png} if self.png else {})

    def to_table(self) -> tuple[list[str], list[list[Any]]]:
        """Header and one row a network and device."""
        parts = list(dict.fromkeys(part for prediction in self.predictions for part in prediction.parts_ms))
        parts = [part for part in parts if part != "fixed"] + ["fixed"]
        rows: list[list[Any]] = []
        for p in self.predictions:
            interval = "-" if p.interval is None else f"{cell(p.interval.low_ms)} to {cell(p.interval.high_ms)}"
            by_part = [p.parts_ms.get(part) for part in parts]
            rows.append([p.model, f"{p.height} x {p.width}", p.device, p.precision, p.ms, interval, *by_part])
        header = ["network", "pixels", "device", "precision", "predicted ms", "90 % interval"]
        return [*header, *(f"{part} ms" for part in parts)], rows

    def text(self, all_layers: bool = False) -> str:
        """All tables, with what the intervals are based on; ``all_layers`` lists more than the ``TOP`` slowest."""
        lines = [table(*self.to_table()), ""]
        for profile in self.profiles:
            interval = next(p.interval for p in self.predictions if p.device == profile.name)
            meaning = "none, for the profile does not state its error" if interval is None else interval.meaning
            lines.append(
                f"{profile.name}: {profile.hardware}; {profile.runtime}; {profile.precision}, batch {profile.batch}"
            )
            lines.append(f"  interval: {meaning}")
        for drops in {p.model: p.int8_drops for p in self.predictions if p.int8_drops}.items():
            lines.append(f"{drops[0]} in {sentence(drops[1])}")
        for prediction in self.predictions:
            header, rows = prediction.to_table(all_layers)
            count = len(prediction.layers)
            what = f"all {count} layers in order" if all_layers else f"the {len(rows)} slowest of {count} layers"
            lines += [f"\n{prediction.model} on {prediction.device}: {what}", table(header, rows)]
        unknown = {p.model: p.unknown_ops for p in self.predictions if p.unknown_ops}
        for model, ops in unknown.items():
            lines.append(
                f"\nwarning: {model} has ops that the profiles do not know, costed as memory traffic: {', '.join(ops)}"
            )
        if self.png:
            lines.append(f"\nwrote {self.png}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()


def predict_latency(network: Network, profile: DeviceProfile) -> LatencyPrediction:
    """The latency of one network on one device."""
    op_table = network.graph.table(network.table_px)
    ms = profile.op_ticks(op_table) * np.rint(op_table.count) * profile.tick_ms
    layers = [
        LayerLatency(i, name, kind, part, float(ms[i]), bool(op_table.fused[i]))
        for i, (name, kind, part) in enumerate(zip(op_table.names, op_table.kinds, op_table.parts, strict=True))
        if part != DECODE_PART
    ]
    whole = profile.latency_ms(network.graph, network.table_px)
    return LatencyPrediction(
        model=network.name,
        height=network.size[0],
        width=network.size[1],
        device=profile.name,
        ms=whole,
        interval=interval_ms(profile, whole),
        parts_ms=profile.parts_ms(network.graph, network.table_px),
        layers=tuple(sorted(layers, key=lambda layer: -layer.ms)),
        unknown_ops=tuple(network.graph.meta.get("unknown_ops", ())),
        precision=profile.precision,
        int8_drops=tuple(forecast_drops(network.graph)) if profile.precision == "INT8" else (),
    )


def predict_latencies(networks: Sequence[Network], profiles: Sequence[DeviceProfile]) -> LatencyResult:
    """The latency of every network on every device."""
    predictions = [predict_latency(network, profile) for profile in profiles for network in networks]
    return LatencyResult(tuple(predictions), tuple(profiles))
