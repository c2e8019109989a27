"""Plot of predicted latency: one row per device, networks by parts at the left, the costliest layers at the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.report.canvas import ANCHOR, BUDGET, FRONT, INK, new_figure, to_png

PART_COLOURS = {"backbone": FRONT, "neck": ANCHOR, "head": "#E69F00", "network": FRONT, "fixed": "#BBBBBB"}
OTHER = "#CC79A7"


@dataclass(frozen=True, slots=True)
class Bar:
    """One network on one device: ms by part, its interval, and its layers (name, part, ms), costliest first."""

    network: str
    parts_ms: Mapping[str, float]
    interval_ms: tuple[float, float] | None
    layers: Sequence[tuple[str, str, float]]


def latency_png(devices: Mapping[str, Sequence[Bar]], max_layers: int = 12) -> bytes:
    """The plot; layers are those of each device's first network."""
    count = max(len(bars) for bars in devices.values())
    height = max(2.4, 0.9 + 0.42 * count, 0.7 + 0.2 * max_layers)
    figure = new_figure(12.0, height * len(devices))
    axes = figure.subplots(len(devices), 2, squeeze=False, width_ratios=(1.15, 1))
    for (left, right), (device, bars) in zip(axes, devices.items(), strict=True):
        _parts(left, device, bars)
        _layers(right, bars[0], max_layers)
    return to_png(figure)


def _parts(axes: Any, device: str, bars: Sequence[Bar]) -> None:
    seen: set[str] = set()
    for row, bar in enumerate(bars):
        start = 0.0
        for part, ms in bar.parts_ms.items():
            label = part if part not in seen else None
            seen.add(part)
            color = PART_COLOURS.get(part, OTHER)
            axes.barh(row, ms, left=start, color=color, edgecolor="white", height=0.62, label=label)
            start += ms
        end = start
        if bar.interval_ms is not None:
            low, high = bar.interval_ms
            axes.plot((low, high), (row, row), color=INK, linewidth=1.4)
            axes.plot((low, high), (row, row), "|", color=INK, markersize=9)
            end = max(start, high)
        offset = {"textcoords": "offset points", "va": "center"}
        axes.annotate(f"{start:.4g} ms", (end, row), (5, 0), fontsize=8.5, color=INK, **offset)
    axes.set_yticks(range(len(bars)), [bar.network for bar in bars], parse_math=False)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set_xlim(left=0)
    axes.set_xlabel("predicted ms, with its 90 % interval")
    axes.set_title(device, fontsize=11, color=INK, loc="left", parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=6)


def _layers(axes: Any, bar: Bar, max_layers: int) -> None:
    shown = bar.layers[:max_layers]
    for row, (_, part, ms) in enumerate(shown):
        axes.barh(row, ms, color=PART_COLOURS.get(part or "network", OTHER), height=0.7)
    names = [name if len(name) <= 44 else "…" + name[-43:] for name, _, _ in shown]
    axes.set_yticks(range(len(shown)), names, fontsize=7.5, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel("ms")
    total = sum(ms for _, _, ms in bar.layers)
    share = 100 * sum(ms for _, _, ms in shown) / total if total else 0.0
    title = f"{bar.network}: the {len(shown)} costliest layers, {share:.0f} % of all"
    axes.set_title(title, fontsize=9.5, color=BUDGET, loc="left", parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
