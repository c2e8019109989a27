"""How far sources agree on the same networks: ratios of two sources, a level for each, and rows that do not fit.

Logarithms of milliseconds are taken for the sum of a network's time, a source's level and a remainder, by medians
(Tukey's median polish), so that a few wrong rows move neither.
"""

from __future__ import annotations

import itertools
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nas.devices.measured.measurement import Measurement, counted

SCALED = 1.4826
"""Median absolute deviation to standard deviation, for normal noise."""
OUTLIER = 3.0
"""Scaled deviations from its source's level beyond which a row is named."""
FEWEST = 5
"""Fewest comparable rows of a source with which its rows are judged."""
LEAST_SCALE = 0.01
"""Smallest scaled deviation of a source, as a share: copies of one table agree exactly."""
POLISHES = 20
LEAST_REPEATS = 3
"""Repeats of one source with which they are judged among themselves."""

Key = tuple[str, tuple[int, int]]
"""A network's hash and its input size."""


@dataclass(frozen=True, slots=True)
class Level:
    """A source: its rows and networks, how many of these another source has too, and its time over the reference's."""

    source: str
    rows: int
    networks: int
    shared: int
    level: float | None


@dataclass(frozen=True, slots=True)
class Ratio:
    """Two sources on the networks that both have: first over second, median and extremes; the spread in percent."""

    first: str
    second: str
    networks: int
    median: float
    low: float
    high: float
    spread_percent: float


@dataclass(frozen=True, slots=True)
class Outlier:
    """A row that differs from what the other rows say, in scaled deviations of its source."""

    name: str
    height: int
    width: int
    source: str
    ms: float
    expected_ms: float
    deviations: float


@dataclass(frozen=True)
class Agreement:
    """The sources of one place (device, runtime, precision, threads, batch)."""

    place: str
    levels: tuple[Level, ...]
    """The first is the reference."""
    ratios: tuple[Ratio, ...]
    outliers: tuple[Outlier, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "place": self.place,
            "sources": [asdict(level) for level in self.levels],
            "ratios": [asdict(ratio) for ratio in self.ratios],
            "outliers": [asdict(outlier) for outlier in self.outliers],
        }


def agreements(rows: Iterable[Measurement], one_place: bool = False) -> list[Agreement]:
    """The agreement of the sources of every place; ``one_place`` takes all rows for measured at the same one."""
    places: dict[str, list[Measurement]] = {}
    for row in rows:
        places.setdefault("all chosen measurements" if one_place else place_of(row), []).append(row)
    return [agreement(place, group) for place, group in sorted(places.items())]


def place_of(row: Measurement) -> str:
    """Device, runtime without its version, precision, threads and batch as text, one spelling for each."""
    runtime = re.split(r"[\d(,>=]", row.runtime.name)[0].strip() or row.runtime.name
    precision = row.runtime.precision.upper().split(" ")[0] or "precision not stated"
    threads = [] if row.runtime.threads is None else [counted(row.runtime.threads, "thread")]
    return ", ".join([row.device.hardware, runtime, precision, *threads, f"batch {row.batch or 1}"])


def label_of(row: Measurement) -> str:
    """Whose level a row has: its source, apart from times of the same source with the work of the host in them."""
    return f"{row.source}, with host work" if row.protocol.host_work else row.source


def agreement(place: str, rows: Sequence[Measurement]) -> Agreement:
    """Levels, ratios and outliers of the sources of one place."""
    logs: dict[str, dict[Key, list[float]]] = {}
    for row in rows:
        logs.setdefault(label_of(row), {}).setdefault((row.network, row.input_px), []).append(math.log(row.ms))
    middle = {label: {key: statistics.median(v) for key, v in of.items()} for label, of in logs.items()}
    order = sorted(middle, key=lambda label: (-len(middle[label]), label))
    owners: dict[Key, list[str]] = {}
    for label in order:
        for key in middle[label]:
            owners.setdefault(key, []).append(label)
    levels = _polish(middle, owners, order)
    shared = {label: sum(len(owners[key]) > 1 for key in middle[label]) for label in order}
    counts = {label: sum(len(v) for v in logs[label].values()) for label in order}
    return Agreement(
        place,
        tuple(
            Level(label, counts[label], len(middle[label]), shared[label],
                  math.exp(levels[label]) if shared[label] else None)
            for label in order
        ),
        tuple(_ratios(middle, order)),
        tuple(_outliers(rows, logs, middle, owners, levels)),
    )  # fmt: skip


def _polish(
    middle: Mapping[str, Mapping[Key, float]], owners: Mapping[Key, Sequence[str]], order: Sequence[str]
) -> dict[str, float]:
    """Logarithms of the sources' levels; the first one's is 0."""
    levels = dict.fromkeys(order, 0.0)
    for _ in range(POLISHES):
        networks = {
            key: statistics.median(middle[label][key] - levels[label] for label in labels)
            for key, labels in owners.items()
        }
        for label in order:
            common = [key for key in middle[label] if len(owners[key]) > 1]
            if common:
                levels[label] = statistics.median(middle[label][key] - networks[key] for key in common)
        levels = {label: level - levels[order[0]] for label, level in levels.items()}
    return levels


def _ratios(middle: Mapping[str, Mapping[Key, float]], order: Sequence[str]) -> Iterable[Ratio]:
    for first, second in itertools.combinations(order, 2):
        common = [key for key in middle[first] if key in middle[second]]
        if common:
            logs = [middle[first][key] - middle[second][key] for key in common]
            median = statistics.median(logs)
            spread = SCALED * statistics.median(abs(value - median) for value in logs)
            yield Ratio(
                first, second, len(common), math.exp(median), math.exp(min(logs)), math.exp(max(logs)),
                100 * math.expm1(spread),
            )  # fmt: skip


def _outliers(
    rows: Sequence[Measurement],
    logs: Mapping[str, Mapping[Key, Sequence[float]]],
    middle: Mapping[str, Mapping[Key, float]],
    owners: Mapping[Key, Sequence[str]],
    levels: Mapping[str, float],
) -> list[Outlier]:
    """Rows more than ``OUTLIER`` scaled deviations off their network's time at their source's level, largest first.

    That time is the median of all sources (of two: the other one; of one: of its repeats). The deviation is scaled by
    the differences from the others alone, because a median agrees too well with the values that it is made of.
    """
    rest: dict[str, list[tuple[float, float, Measurement]]] = {}
    for row in rows:
        key, label, log = (row.network, row.input_px), label_of(row), math.log(row.ms)
        others = [middle[other][key] - levels[other] for other in owners[key] if other != label]
        if not others and len(logs[label][key]) >= LEAST_REPEATS:
            others = [value - levels[label] for value in logs[label][key]]
            others.remove(log - levels[label])
        if others:
            own = log - levels[label]
            time = statistics.median([*others, own] if len(others) > 1 else others)
            rest.setdefault(label, []).append((own - time, own - statistics.median(others), row))
    found = []
    for label, judged in rest.items():
        if len(judged) < FEWEST:
            continue
        scale = max(SCALED * statistics.median(abs(apart) for _, apart, _ in judged), LEAST_SCALE)
        for value, _, row in judged:
            if abs(value) > OUTLIER * scale:
                expected = row.ms / math.exp(value)
                found.append(Outlier(row.name, *row.input_px, label, row.ms, expected, value / scale))
    return sorted(found, key=lambda outlier: -abs(outlier.deviations))
