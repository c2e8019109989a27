"""Forecast of the AP that INT8 costs: fit, and error on families that were left out, trait by trait.

    python benchmarks/int8_drop.py            # the tables (needs ../shared/atlas; seconds)
    python benchmarks/int8_drop.py --write    # and nas/devices/int8_drop.yaml

One point is a network in one tool, post-training quantization alone: the median where a tool has several runtimes.
Left out: rows of the Hailo-8L, whose columns in the table are not a pair of accuracies (its "int8" is the
degradation), trainings with quantization, and networks without a graph.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from nas.devices.int8_drop import FILE, FLOOR, drop_of, has_attention
from nas.devices.measured.networks import graphs_of
from search_spaces.graph import Graph
from search_spaces.ops import WEIGHT_KINDS
from workbench.files import write_atomic

LEAST_FAMILIES = 4
"""A tool with fewer families is not forecast."""
PRIOR, LEVEL_PRIOR = 3.0, 0.3
"""Weights of the priors that a trait has no effect and that tools are alike, in points."""
STUDENT_95 = {2: 2.92, 3: 2.353, 4: 2.132, 5: 2.015, 6: 1.943, 7: 1.895, 8: 1.86}
"""95 % quantiles of Student's distribution by degrees of freedom."""
SMOOTH = ("silu", "hardswish", "gelu", "mish")


def _weighted(graph: Graph) -> int:
    return sum(op.kind in WEIGHT_KINDS for op in graph)


TRAITS: dict[str, Callable[[Graph], float]] = {
    "attention": lambda g: float(has_attention(g)),
    "smooth activations": lambda g: float(sum(op.act in SMOOTH for op in g) > 0.3 * _weighted(g)),
    "depth-wise layers, share": lambda g: sum(op.kind == "conv" and op.g == op.cin > 1 for op in g) / _weighted(g),
    "residual additions, share": lambda g: sum(op.kind == "add" for op in g) / _weighted(g),
    "layers, log": lambda g: math.log10(_weighted(g)),
    "parameters, log": lambda g: math.log10(float(np.sum(g.table(g.fixed_px or 640).params))),
}
"""What might cost AP, and how it is read from a graph."""
CHOSEN = "attention"
"""The trait that ships."""


@dataclass(frozen=True)
class Point:
    """What one network lost in one tool, in points of AP."""

    tool: str
    family: str
    name: str
    drop: float
    traits: dict[str, float]

    @property
    def log_drop(self) -> float:
        """log(drop + FLOOR)."""
        return math.log(max(self.drop, 0.0) + FLOOR)


def tool_of(row: dict[str, str]) -> str:
    """The tool of a row; empty for one that is left out."""
    device, method = row["device_tool"], row["method"]
    if not row["graph"] or not method.startswith("PTQ") or "partial" in method or "HAILO8L" in device:
        return ""
    if device.startswith("Qualcomm"):
        return "Qualcomm AI Hub, " + ("8-bit weights, 16-bit activations" if "w8a16" in method else "8 bits")
    return "Hailo Dataflow Compiler" if device.startswith("Hailo") else "TensorRT" if "TensorRT" in device else device


def read_points(atlas: Path) -> list[Point]:
    """The points of ``int8.csv``."""
    with (atlas / "trainings.csv").open(encoding="utf-8", newline="") as file:
        families = {row["graph"]: row["family"] for row in csv.DictReader(file)}
    drops: dict[tuple[str, str], list[float]] = defaultdict(list)
    with (atlas / "int8.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if tool_of(row):
                drops[tool_of(row), row["graph"]].append(100 * (float(row["float_map"]) - float(row["int8_map"])))
    graphs = graphs_of(atlas, set())
    traits = {name: {trait: read(graphs[name]) for trait, read in TRAITS.items()} for _, name in drops}
    return [
        Point(tool, families[name], name, statistics.median(values), traits[name])
        for (tool, name), values in drops.items()
    ]


def fit(points: Sequence[Point], tools: Sequence[str], traits: Sequence[str]) -> np.ndarray:
    """Levels of the tools, the traits' effects, and the mean level that tools are drawn to."""
    mean = statistics.mean(p.log_drop for p in points)
    rows = np.array([_row(p, tools, traits) for p in points])
    prior = np.diag([LEVEL_PRIOR] * len(tools) + [PRIOR] * len(traits))
    found = np.linalg.solve(rows.T @ rows + prior, rows.T @ np.array([p.log_drop - mean for p in points]))
    found[: len(tools)] += mean
    return found


def _row(point: Point, tools: Sequence[str], traits: Sequence[str]) -> list[float]:
    return [float(point.tool == tool) for tool in tools] + [point.traits[trait] for trait in traits]


def left_out(points: Sequence[Point], tools: Sequence[str], traits: Sequence[str]) -> list[float]:
    """log(drop + FLOOR) of each point, foretold by the fit to the other families."""
    by_family = {
        family: fit([p for p in points if p.family != family], tools, traits) for family in {p.family for p in points}
    }
    return [float(np.dot(_row(p, tools, traits), by_family[p.family])) for p in points]


def errors(points: Sequence[Point], told: Sequence[float], tool: str) -> dict[str, Any]:
    """Error of one tool's forecasts: mean distance in points of AP, and half width of the interval of the log."""
    chosen = [(p, log) for p, log in zip(points, told, strict=True) if p.tool == tool]
    squares = defaultdict(list)
    for p, log in chosen:
        squares[p.family].append((p.log_drop - log) ** 2)
    spread = math.sqrt(statistics.mean(statistics.mean(values) for values in squares.values()))
    return {
        "half_width": round(spread * STUDENT_95[min(len(squares), max(STUDENT_95))], 4),
        "error_ap": round(statistics.mean(abs(drop_of(log) - p.drop) for p, log in chosen), 2),
        "families": len(squares),
        "networks": len(chosen),
    }


def served(points: Sequence[Point]) -> tuple[list[str], dict[str, str]]:
    """Tools with families enough, and why the others are refused."""
    families: dict[str, set[str]] = defaultdict(set)
    for p in points:
        families[p.tool].add(p.family)
    refused = {
        tool: f"published for {len(names)} of the {LEAST_FAMILIES} families that leaving one out needs"
        for tool, names in families.items()
        if len(names) < LEAST_FAMILIES
    }
    return [tool for tool in families if tool not in refused], refused


def main() -> int:
    """Print the tables; write the file if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/atlas"), help="folder with int8.csv and graphs")
    parser.add_argument("--write", action="store_true", help="write the file that ships")
    args = parser.parse_args()
    everything = read_points(args.data)
    tools, refused = served(everything)
    points = [p for p in everything if p.tool in tools]
    print("| trait | " + " | ".join(f"{tool}: error, AP" for tool in tools) + " | effect |")
    print("|---|" + "---|" * (len(tools) + 1))
    for trait in ("", *TRAITS):
        traits = [trait] if trait else []
        told = left_out(points, tools, traits)
        cells = [f"{errors(points, told, tool)['error_ap']:.2f}" for tool in tools]
        effect = f"x {math.exp(fit(points, tools, traits)[-1]):.2f}" if trait else "-"
        print(f"| {trait or 'none: the level of the tool'} | {' | '.join(cells)} | {effect} |")
    told, found = left_out(points, tools, [CHOSEN]), fit(points, tools, [CHOSEN])
    values = {
        CHOSEN: round(float(found[-1]), 4),
        "tools": {
            tool: {"level": round(float(level), 4), **errors(points, told, tool)}
            for tool, level in zip(tools, found, strict=False)
        },
        "refused": refused,
    }
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    print(f"\n{text}")
    if args.write:
        write_atomic(FILE, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
