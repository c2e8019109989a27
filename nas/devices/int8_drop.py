"""A forecast of the AP that a network loses in INT8 by post-training quantization, by tool.

Published pairs of AP, float and INT8, differ far more between tools than between networks, so every tool has its level
and one trait of the network, whether it multiplies activations (attention), shifts it. The coefficients are in
``int8_drop.yaml``; ``benchmarks/int8_drop.py`` fits them and measures the error on families that were left out.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from search_spaces.graph import Graph

FILE = Path(__file__).with_name("int8_drop.yaml")
FLOOR = 0.25
"""Points of AP added to a drop before its logarithm is taken: figures are rounded to 0.1, and some are below 0."""


@dataclass(frozen=True)
class Tool:
    """What is known of one tool; ``half_width`` is that of the 90 % interval of log(drop + FLOOR)."""

    name: str
    level: float
    half_width: float
    error_ap: float
    families: int
    networks: int


@dataclass(frozen=True)
class Int8DropFit:
    """The fitted levels of the tools, and what attention adds to the logarithm."""

    attention: float
    tools: tuple[Tool, ...]
    refused: Mapping[str, str]
    """Tools that are not forecast, and why."""

    @staticmethod
    def load(path: Path = FILE) -> Int8DropFit:
        """Read a file that ``benchmarks/int8_drop.py`` wrote."""
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        tools = tuple(Tool(name, **tool) for name, tool in values["tools"].items())
        return Int8DropFit(values["attention"], tools, values["refused"])


@dataclass(frozen=True)
class Int8Drop:
    """The forecast for one network and tool, in points of AP (0 to 100)."""

    tool: Tool
    drop_ap: float
    low_ap: float
    high_ap: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "tool": self.tool.name, "drop_ap": self.drop_ap, "interval_ap": [self.low_ap, self.high_ap],
            "error_ap": self.tool.error_ap, "families": self.tool.families, "networks": self.tool.networks,
        }  # fmt: skip

    def __str__(self) -> str:
        return (
            f"{self.tool.name}: {self.drop_ap:.1f} AP ({self.low_ap:.1f} to {self.high_ap:.1f}; off by "
            f"{self.tool.error_ap:.1f} on average on {self.tool.families} families left out)"
        )


def has_attention(graph: Graph) -> bool:
    """Whether activations are multiplied with activations."""
    return any(op.kind == "matmul" for op in graph)


def drop_of(log_drop: float) -> float:
    """Points of AP from log(drop + FLOOR), at least 0."""
    return max(math.exp(log_drop) - FLOOR, 0.0)


@functools.cache
def shipped() -> Int8DropFit:
    """The fit that ships."""
    return Int8DropFit.load()


def forecast_drops(graph: Graph, fit: Int8DropFit | None = None) -> list[Int8Drop]:
    """The forecast of every tool for a network, in the order of the file."""
    chosen = fit or shipped()
    return list(_drops(has_attention(graph), chosen))


def _drops(attention: bool, fit: Int8DropFit) -> Iterator[Int8Drop]:
    for tool in fit.tools:
        middle = tool.level + fit.attention * attention
        bounds = (drop_of(middle - tool.half_width), drop_of(middle + tool.half_width))
        yield Int8Drop(tool, drop_of(middle), *bounds)


def sentence(drops: Sequence[Int8Drop]) -> str:
    """The forecasts in one line, with what they are worth."""
    shown = "; ".join(map(str, drops))
    return (
        f"INT8 after training, as published for other networks, never a promise: {shown}. "
        "nas export --int8 --verify measures yours"
    )
