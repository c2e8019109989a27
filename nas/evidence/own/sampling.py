"""Architectures of equal predicted latency, sampled from shrunk copies of search spaces.

At full size a training takes days, so the spaces are shrunk: the same blocks, depths and rules, with a fraction of the
channels. Everything follows from the seed, and a larger sample begins with the architectures of a smaller one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nas.budgets import LATENCY, Budget, parse_budget
from nas.costs import SpaceCosts, architecture_costs
from nas.devices.profile import DeviceProfile
from nas.searcher.evaluator import Limit, whole_limits
from search_spaces.architecture import Architecture
from search_spaces.space import Space
from workbench.errors import BadInput

MIN_STEP = 4
"""Channels of a shrunk space are multiples of this, or of the space's own step divided by the same factor."""
NECK_DEPTH = 0.34
"""One fusion layer per node. The neck is the same for all of a space, so more of it would cost time and add nothing."""
BAND = 1.02
"""Ratio of the highest to the lowest latency of a band that counts as equal."""
ROUND, ROUNDS = 4096, 200
"""Rows per round of sampling, and rounds before a space is given up."""


@dataclass(frozen=True)
class SampledArchitecture:
    """An architecture to train, its space, and its costs in base units (ms, FLOPs, parameters, bytes, layers)."""

    name: str
    space: str
    architecture: Architecture
    costs: dict[str, float]
    levels: Mapping[str, str] = field(default_factory=dict)
    """Levels by factor, where the architecture is of a design."""

    def side(self, input_px: int) -> int:
        """Input side in pixels: the architecture's own where it has one, else ``input_px``."""
        return self.architecture.input_px or input_px


def shrink_space(space: Space, by: int, classes: int) -> Space:
    """The space with channels divided by ``by``, a neck of one layer, and a head for ``classes``; 1: only the head."""
    if by < 1:
        raise BadInput(f"--shrink {by} must be at least 1: channels are divided by it")
    step = space.channel_step if by == 1 else max(MIN_STEP, space.channel_step // by)

    def divide(value: float) -> int:
        return max(1, round(value / by / step)) * step

    def divide_range(values: Sequence[float]) -> tuple[int, ...]:
        low, high = divide(min(values)), divide(max(values))
        return tuple(range(low, high + 1, step)) if len(values) > 1 else (high,)

    stages = tuple(
        dataclasses.replace(s, outs=divide_range(s.outs), btns=s.btns if s.by_ratio else divide_range(s.btns))
        for s in space.stages
    )
    neck = space.neck
    if by > 1:
        p3, p4, p5 = (divide(width) for width in neck.out)
        neck = dataclasses.replace(neck, out=(p3, p4, p5), depth=min(neck.depth, NECK_DEPTH))
    head = dataclasses.replace(space.head, classes=classes)
    small = dataclasses.replace(
        space, stem_outs=divide_range(space.stem_outs), stages=stages, neck=neck, head=head, channel_step=step
    )
    if small.size() == 0:
        rules = f"the rules of space {space.name!r} leave no architecture at that size"
        raise BadInput(f"--shrink {by}: {rules}; shrink less")
    return small


def sample_architectures(
    spaces: Sequence[Space], device: DeviceProfile, input_px: int, budget: Budget | None, count: int, seed: int
) -> tuple[Budget, list[SampledArchitecture]]:
    """``count`` architectures, the spaces taking turns, uniform among those within ``budget``; and that budget.

    Without a budget it is the latency band, of width ``BAND``, in which the spaces overlap most, whatever the seed.
    """
    costs = [SpaceCosts(space, device, input_px) for space in spaces]
    if budget is None:
        budget = common_band([_latencies(of, np.random.default_rng([0, at, 0])) for at, of in enumerate(costs)])
    per_space = math.ceil(count / len(spaces))
    rows = [
        _rows_within(of, whole_limits(of, [budget]), per_space, np.random.default_rng([seed, at, 1]))
        for at, of in enumerate(costs)
    ]
    sampled = []
    for turn in range(per_space):
        for space, rows_of_space in zip(spaces, rows, strict=True):
            name = f"{space.name}-{turn + 1:03d}"
            arch = space.decode(rows_of_space[turn], name)
            arch_costs = architecture_costs(arch, arch.input_px or input_px, device).costs
            sampled.append(SampledArchitecture(name, space.name, arch, arch_costs))
    return budget, sampled[:count]


def common_band(latencies: Sequence[np.ndarray]) -> Budget:
    """The band that maximizes the smallest share of a space's samples in it; ``latencies`` ``[n]`` in ms per space."""
    logs = [np.sort(np.log(ms)) for ms in latencies]
    centers, half = np.unique(np.concatenate(logs)), math.log(BAND) / 2
    inside = [
        (np.searchsorted(log, centers + half, side="right") - np.searchsorted(log, centers - half)) / len(log)
        for log in logs
    ]
    smallest = np.min(inside, axis=0)
    if smallest.max() == 0:
        reach = "; ".join(f"{ms.min():.3g} to {ms.max():.3g} ms" for ms in latencies)
        way_out = "name spaces that overlap with --space, or a wide band with --budget LOW..HIGHms"
        raise BadInput(f"the spaces have no latency in common ({reach}): {way_out}")
    center = math.exp(centers[int(smallest.argmax())])
    return parse_budget(f"{center / math.sqrt(BAND):.5g}..{center * math.sqrt(BAND):.5g}ms")


def _latencies(costs: SpaceCosts, rng: np.random.Generator) -> np.ndarray:
    """Predicted latency in ms of some architectures of the space, ``[ROUND]``."""
    return np.asarray(costs.costs(costs.space.sample(ROUND, rng))[LATENCY] * costs.unit(LATENCY))


def _rows_within(
    costs: SpaceCosts, limits: Sequence[Limit], count: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """The first ``count`` different rows of uniform samples that keep the limits."""
    rows_by_bytes: dict[bytes, np.ndarray] = {}
    for _ in range(ROUNDS):
        rows = costs.space.sample(ROUND, rng)
        of_rows = costs.costs(rows)
        inside = np.all(
            [(limit.low <= of_rows[limit.name]) & (of_rows[limit.name] <= limit.high) for limit in limits], axis=0
        )
        for row in rows[inside]:
            rows_by_bytes.setdefault(row.tobytes(), row)
            if len(rows_by_bytes) == count:
                return list(rows_by_bytes.values())
    usual = of_rows[limits[0].name] * costs.unit(limits[0].name)
    raise BadInput(
        f"of {ROUND * ROUNDS:,} architectures of space {costs.space.name!r} only {len(rows_by_bytes)} of {count} keep "
        f"{limits[0].text}: half of them lie from {np.quantile(usual, 0.25):.4g} to {np.quantile(usual, 0.75):.4g}; "
        "give another --budget, or other spaces with --space"
    )
