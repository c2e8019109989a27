"""The costs of one network in a comparison: parameters, FLOPs, and latency on every device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.comparison.rows import Reading
from nas.devices.interval import interval_ms
from nas.devices.profile import DeviceProfile
from search_spaces.graph import Graph


@dataclass(frozen=True, slots=True)
class ComparedCosts:
    """Parameters, FLOPs, and the readings along the axes of predicted latency and costs."""

    params: int
    flops: int
    values: Mapping[str, Reading]


def compared_costs(
    graph: Graph, input_px: int | tuple[int, int] | None, profiles: Sequence[DeviceProfile]
) -> ComparedCosts:
    """Cost a graph at its input size (pixels; its own if it has a fixed one)."""
    table = graph.table(None if graph.fixed_px else input_px)
    params, flops = round(float(table.total(table.params))), round(2 * float(table.total(table.macs)))
    values = {"flops": Reading(flops / 1e9), "params": Reading(params / 1e6)}
    for profile in profiles:
        ms = float(profile.total_ticks(table)) * profile.tick_ms
        interval = interval_ms(profile, ms)
        values[profile.name] = Reading(ms) if interval is None else Reading(ms, interval.low_ms, interval.high_ms)
    return ComparedCosts(params, flops, values)
