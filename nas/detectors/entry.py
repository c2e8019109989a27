"""An entry of the atlas: one network at one input size under one training recipe, with what was published about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from nas.detectors.recipes import Recipe

SEED_SUFFIX = "_seed"
"""Precedes the seed in the column name of a repeated training; the column without it is the mean of the seeds."""


@dataclass(frozen=True)
class PublishedSize:
    """Published parameters and FLOPs of a network, and the verdict of whoever compared its graph with them.

    Differences are in percent of the published figure, negative if the graph has less; None where nothing was
    published.
    """

    params_m: float | None = None
    gflops: float | None = None
    """2 per multiply-accumulate."""
    params_diff_percent: float | None = None
    gflops_diff_percent: float | None = None
    verdict: str = ""
    """``agrees``, or ``differs: params, gflops``; empty if nobody compared."""
    reason: str = ""
    """Why it differs, if the folder says so."""


@dataclass(frozen=True)
class LatencyFact:
    """One published latency: device, runtime and protocol as its publisher states them, in ms."""

    ms: float
    device: str
    runtime: str
    precision: str
    batch: int | None
    what: str
    """What was timed, and under which name."""
    source: str


@dataclass(frozen=True)
class Int8Pair:
    """Accuracy of one network before and after INT8 quantization, as fractions."""

    device_tool: str
    method: str
    float_ap: float
    int8_ap: float
    source: str


@dataclass(frozen=True)
class Entry:
    """One network at one input size (pixels) under one training recipe."""

    name: str
    """The network: key of the atlas's graphs."""
    model: str
    """The trained model as its publisher writes it; differs from ``name`` where a network has several trainings."""
    family: str
    input_px: int
    column: str
    """Accuracy column that ``ap`` stands in: the task and its metric."""
    figures: Mapping[str, float]
    """Every accuracy of this training by column, as fractions: published, measured by others, single seeds."""
    recipe: Recipe
    source: str
    """Who published the figures."""
    licence: str
    """Of the network's code, or of the weights where the source tells; empty if not known."""
    data: str
    """The ``--data`` that it was read from."""
    params_m: float | None = None
    """Parameters in millions that are published with this training."""
    gflops: float | None = None
    size: PublishedSize = field(default_factory=PublishedSize)
    latency: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds by latency column, at this input size."""
    facts: tuple[LatencyFact, ...] = ()
    int8: tuple[Int8Pair, ...] = ()

    @property
    def ap(self) -> float:
        """Accuracy as a fraction; NaN if the training has none."""
        return self.figures.get(self.column, math.nan)

    @property
    def key(self) -> tuple[str, int]:
        """Network and input size."""
        return self.name, self.input_px
