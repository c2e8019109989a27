"""Architectures for a truth of our own: drawn from small copies of search spaces, all of one predicted latency.

At full size a training takes days, so the spaces are shrunk: the same blocks, depths and rules, with a share of the
channels. Everything follows from the seed, and the first of many draws are the draws of few.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.budgets import LATENCY, Budget, parse_budget
from nas.costs import SpaceCosts, architecture_costs
from nas.devices.profile import DeviceProfile
from nas.searcher.evaluator import Limit, whole_limits
from search_spaces.architecture import Architecture
from search_spaces.space import Space
from workbench.errors import BadInput

LEAST_STEP = 4
"""Channels of a shrunk space are multiples of this, or of the space's own step shrunk."""
NECK_DEPTH = 0.34
"""One fusion layer a node. The neck is the same for all of a space, so more of it would cost time and tell nothing."""
BAND = 1.02
"""Greatest latency of a band of equal ones over the least."""
ROUND, ROUNDS = 4096, 200
"""Rows a draw, and draws before a space is given up."""


@dataclass(frozen=True)
class SampledArchitecture:
    """One architecture to be trained, the space it is of, and its costs in base units (ms, FLOPs, parameters, bytes, layers)."""

    name: str
    space: str
    architecture: Architecture
    costs: dict[str, float]


def shrunk(space: Space, by: int, classes: int) -> Space:
    """The space with a ``by``-th of all channels, neck included, a neck of one layer, and a head for so many classes; by 1: only the head."""
    if by < 1:
        raise BadInput(f"--shrink {by} must be at least 1: channels are divided by it")
    step = space.channel_step if by == 1 else max(LEAST_STEP, space.channel_step // by)

    def cut(values: Sequence[float]) -> tuple[int, ...]:
        low, high = (max(1, round(value / by / step)) * step for value in (min(values), max(values)))
        return tuple(range(low, high + 1, step)) if len(values) > 1 else (high,)

    stages = tuple(dataclasses.replace(s, outs=cut(s.outs), btns=s.btns if s.by_ratio else cut(s.btns)) for s in space.stages)
    p3, p4, p5 = (max(1, round(width / by / step)) * step for width in space.neck.out)
    neck = space.neck if by == 1 else dataclasses.replace(space.neck, out=(p3, p4, p5), depth=min(space.neck.depth, NECK_DEPTH))
    small = dataclasses.replace(
        space, stem_outs=cut(space.stem_outs), stages=stages, neck=neck, head=dataclasses.replace(space.head, classes=classes), channel_step=step
    )
    if small.size() == 0:
        raise BadInput(f"--shrink {by}: the rules of space {space.name!r} leave no architecture at that size; shrink less")
    return small


def draw(spaces: Sequence[Space], device: DeviceProfile, input_px: int, budget: Budget | None, count: int, seed: int) -> tuple[Budget, list[SampledArchitecture]]:
    """``count`` architectures, the spaces taking turns, uniform among those within ``budget``; and that budget.

    Without one it is the band of latency, ``BAND`` from end to end, that the spaces have most of in common, whatever the seed.
    """
    rulers = [SpaceCosts(space, device, input_px) for space in spaces]
    budget = budget or common_band([_latencies(ruler, np.random.default_rng([0, at, 0])) for at, ruler in enumerate(rulers)])
    each = math.ceil(count / len(spaces))
    rows = [_within(ruler, whole_limits(ruler, [budget]), each, np.random.default_rng([seed, at, 1])) for at, ruler in enumerate(rulers)]
    found = []
    for turn in range(each):
        for space, own in zip(spaces, rows, strict=True):
            name = f"{space.name}-{turn + 1:03d}"
            arch = space.decode(own[turn], name)
            found.append(SampledArchitecture(name, space.name, arch, architecture_costs(arch, input_px, device).costs))
    return budget, found[:count]


def common_band(latencies: Sequence[np.ndarray]) -> Budget:
    """The band in which the space that has least of its draws there has most; ``latencies`` in ms, one array a space."""
    logs = [np.sort(np.log(ms)) for ms in latencies]
    middles, half = np.unique(np.concatenate(logs)), math.log(BAND) / 2
    inside = [(np.searchsorted(log, middles + half, side="right") - np.searchsorted(log, middles - half)) / len(log) for log in logs]
    least = np.min(inside, axis=0)
    if least.max() == 0:
        reach = "; ".join(f"{ms.min():.3g} to {ms.max():.3g} ms" for ms in latencies)
        raise BadInput(f"the spaces have no latency in common ({reach}): name spaces that do with --space, or a wide band with --budget LOW..HIGHms")
    middle = math.exp(middles[int(least.argmax())])
    return parse_budget(f"{middle / math.sqrt(BAND):.5g}..{middle * math.sqrt(BAND):.5g}ms")


def _latencies(rulers: SpaceCosts, rng: np.random.Generator) -> np.ndarray:
    """Predicted latency in ms of some architectures of the space."""
    return np.asarray(rulers.costs(rulers.space.sample(ROUND, rng))[LATENCY] * rulers.unit(LATENCY))


def _within(rulers: SpaceCosts, limits: Sequence[Limit], count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """The first ``count`` different rows, of uniform draws, that keep the limits."""
    found: dict[bytes, np.ndarray] = {}
    for _ in range(ROUNDS):
        rows = rulers.space.sample(ROUND, rng)
        costs = rulers.costs(rows)
        inside = np.all([(limit.low <= costs[limit.name]) & (costs[limit.name] <= limit.high) for limit in limits], axis=0)
        for row in rows[inside]:
            found.setdefault(row.tobytes(), row)
            if len(found) == count:
                return list(found.values())
    usual = costs[limits[0].name] * rulers.unit(limits[0].name)
    raise BadInput(
        f"of {ROUND * ROUNDS:,} architectures of space {rulers.space.name!r} only {len(found)} of {count} keep {limits[0].text}: "
        f"half of them lie from {np.quantile(usual, 0.25):.4g} to {np.quantile(usual, 0.75):.4g}; give another --budget, or other spaces with --space"
    )
