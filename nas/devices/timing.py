"""Time taken fairly: warm-up, turns, and an interval that another run of the same measurement keeps.

Networks take turns, so that a slow drift of the machine hits all alike, and the turns come in rounds that are spread
over the whole measurement, each with the network loaded anew. A round gives one median a network; the figure is the median of the rounds, and the spread
of the *rounds*, not of single runs, says how far another measurement may land from it.
"""

from __future__ import annotations

import itertools
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.errors import BadInput

MOST_DRIFT = 0.05
"""Share by which the last third of the rounds may differ from the first before a measurement is marked."""
MOST_TAIL = 1.3
"""p95 over p50 of the single runs above which a measurement is marked."""
MOST_OTHERS = 0.05
"""Share of the CPUs' time that other programs may take before a measurement is marked."""
T_95 = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086)
"""97.5 % point of Student's t by degrees of freedom, from 1; the last one serves all above."""
LEAST_HALF = 0.005
"""Half an interval, as a share: below it nothing is claimed."""
MEDIAN_TO_MEAN = 1.2533
"""The standard error of a median over that of a mean, for bell-shaped noise: sqrt(pi / 2)."""
WARM_SHARE = 0.02
"""A network is warm when the medians of two batches of runs in a row agree this well."""
MOST_WARM_S = 3.0

Clock = Callable[[], int]
"""Nanoseconds since some moment."""


@dataclass(frozen=True)
class Plan:
    """How long to measure. ``seconds`` are per network, all rounds together; ``repeats`` the least runs a round."""

    seconds: float = 3.0
    repeats: int = 3
    rounds: int = 8

    def __post_init__(self) -> None:
        if not math.isfinite(self.seconds) or not 0 < self.seconds <= 3600:
            raise BadInput(f"seconds {self.seconds!r} must be a number above 0 and at most 3600")
        if self.repeats < 1:
            raise BadInput(f"repeats {self.repeats} must be at least 1")
        if self.rounds < 3:
            raise BadInput(f"rounds {self.rounds} must be at least 3: their spread is the interval")


@dataclass(frozen=True)
class Timing:
    """Times of one network in milliseconds: one list of single runs a round, rounds in the order of time."""

    rounds: tuple[tuple[float, ...], ...]
    warm_up_runs: int = 0

    @property
    def runs(self) -> list[float]:
        """All single runs, ascending."""
        return sorted(ms for one in self.rounds for ms in one)

    @property
    def medians(self) -> list[float]:
        """One median a round, in the order of time."""
        return [statistics.median(one) for one in self.rounds]

    @property
    def p50_ms(self) -> float:
        """Median of the rounds' medians."""
        return statistics.median(self.medians)

    @property
    def p95_ms(self) -> float:
        """95 % of the single runs took no longer."""
        runs = self.runs
        return runs[min(len(runs) - 1, math.ceil(0.95 * len(runs)) - 1)]

    @property
    def best_ms(self) -> float:
        """The lowest median of a round: what is nearest to an undisturbed machine."""
        return min(self.medians)

    @property
    def drift(self) -> float:
        """Last third of the rounds over the first third, minus 1."""
        medians = self.medians
        third = max(1, len(medians) // 3)
        return statistics.median(medians[-third:]) / statistics.median(medians[:third]) - 1

    @property
    def tail(self) -> float:
        """p95 over p50."""
        return self.p95_ms / self.p50_ms

    def interval_ms(self) -> tuple[float, float]:
        """Where another measurement of the same kind puts its median, 19 times in 20, as (low, high).

        Both medians scatter, so their difference does by sqrt(2) more than each. Rounds that follow one another are
        alike where the machine drifts; they count for fewer then. The spread is taken of logarithms.
        """
        logs = [math.log(ms) for ms in self.medians]
        count = len(logs)
        if count < 3:
            raise BadInput(f"an interval needs at least 3 rounds, not {count}")
        centre = statistics.fmean(logs)
        apart = [value - centre for value in logs]
        power = sum(a * a for a in apart)
        follow = sum(a * b for a, b in itertools.pairwise(apart)) / power if power > 0 else 0.0
        # Few rounds make neighbours look less alike than they are, by about (1 + 4 x likeness) / rounds.
        follow = min(max((follow + 1 / count) / max(1 - 4 / count, 0.5), 0.0), 0.6)
        effective = count * (1 - follow) / (1 + follow)
        scatter = math.sqrt(power / (count - 1)) * MEDIAN_TO_MEAN * math.sqrt(2 / effective)
        half = T_95[min(count - 1, len(T_95)) - 1] * scatter
        # Not below what the clock and the first to last third can tell.
        half = max(half, abs(math.log1p(self.drift)) / 2, LEAST_HALF)
        return self.p50_ms * math.exp(-half), self.p50_ms * math.exp(half)


@dataclass(frozen=True)
class Noise:
    """What else went on while a measurement ran; None where this system does not tell."""

    load_before: float | None
    """Programs that wanted a CPU in the minute before."""
    others: float | None
    """Share of the CPUs' time that other programs, or other guests of the same machine, took."""

    def warnings(self, cpus: int, own_threads: int) -> list[str]:
        """One sentence for everything that spoils a measurement."""
        found = []
        if self.others is not None and self.others > MOST_OTHERS:
            found.append(f"noisy neighbours: other programs took {100 * self.others:.0f} % of the CPUs' time")
        elif self.others is None and self.load_before is not None and self.load_before > max(0.5, cpus - own_threads):
            found.append(f"noisy neighbours: the load was {self.load_before:.1f} on {cpus} CPUs before it began")
        return found


def timing_warnings(timing: Timing) -> list[str]:
    """What the times themselves say against one measurement."""
    found = []
    if timing.drift > MOST_DRIFT:
        found.append(f"slowed down by {100 * timing.drift:.0f} % while it was measured: throttling, or other work began")
    elif timing.drift < -MOST_DRIFT:
        found.append(f"sped up by {-100 * timing.drift:.0f} % while it was measured: other work ended, or it was not warm")
    if timing.tail > MOST_TAIL:
        found.append(f"p95 is {timing.tail:.2f} times p50: single runs are disturbed")
    return found


@dataclass
class NoiseWatch:
    """Watches other programs from ``start`` to ``stop``."""

    _before: dict[str, Any] = field(default_factory=dict)

    def start(self) -> NoiseWatch:
        """Remember where the counters stand."""
        self._before = _counters()
        return self

    def stop(self) -> Noise:
        """What happened since."""
        before, after = self._before, _counters()
        others = None
        if before.get("busy") is not None and after.get("busy") is not None:
            passed = after["all"] - before["all"]
            busy = after["busy"] - before["busy"]
            own = after["own"] - before["own"]
            others = max(0.0, (busy - own) / passed) if passed > 0 else None
        return Noise(before.get("load"), others)


def _counters() -> dict[str, Any]:
    """CPU seconds so far: of all CPUs together (``all``, ``busy``), of this process (``own``); and the load."""
    spent = os.times()
    found: dict[str, Any] = {"own": spent.user + spent.system, "busy": None}
    if hasattr(os, "getloadavg"):
        found["load"] = os.getloadavg()[0]
    try:
        with Path("/proc/stat").open(encoding="ascii") as lines:
            ticks = [int(v) for v in next(lines).split()[1:9]]
    except (OSError, ValueError, StopIteration):
        return found  # not Linux: the load must do
    hertz = os.sysconf("SC_CLK_TCK")
    # user nice system idle iowait irq softirq steal; waiting for the disk leaves a CPU free.
    found["all"] = sum(ticks) / hertz
    found["busy"] = (sum(ticks) - ticks[3] - ticks[4]) / hertz
    return found


def warm_up(run: Callable[[], None], clock: Clock = time.perf_counter_ns, most_s: float = MOST_WARM_S) -> tuple[int, float]:
    """Run until two batches in a row agree, or ``most_s`` have passed: how many runs, and the last one's ms."""
    start = clock()
    runs = 0
    last: float | None = None
    while True:
        batch: list[float] = []
        while len(batch) < 3:
            began = clock()
            run()
            batch.append((clock() - began) / 1e6)
            runs += 1
            if (clock() - start) / 1e9 > most_s:
                return runs, statistics.median(batch)
        middle = statistics.median(batch)
        if last is not None and abs(middle / last - 1) <= WARM_SHARE:
            return runs, middle
        last = middle


Rounds = list[list[tuple[float, ...]]]
"""For every network, the runs (ms) of every round so far."""


def time_networks(
    networks: Sequence[Callable[[], None]], plan: Plan, log: Callable[[str], None] = lambda text: None,
    clock: Clock = time.perf_counter_ns, before: Rounds | None = None, keep: Callable[[Rounds], None] = lambda rounds: None,
    reopen: Callable[[int], Callable[[], None]] | None = None,
) -> list[Timing]:  # fmt: skip
    """Times of every network (a callable that runs it once, to the end), measured in turns.

    The order of the turns is reversed every second round, so that nobody always follows the same neighbour; the first
    run of a turn is not counted, for the neighbour has emptied the caches. ``before`` are whole rounds of an
    interrupted measurement, which goes on after them; ``keep`` is told of all rounds after each one. ``reopen`` loads a network
    anew, by its place, and is asked before every turn but the first: where its memory comes to lie makes a network faster or slower
    for as long as it is loaded, and rounds of one loading alone would not know how far the next loading may be off.
    """
    found: Rounds = [list(rounds) for rounds in before] if before else [[] for _ in networks]
    first = len(found[0]) if found else 0
    loaded = list(networks)
    warm = [warm_up(run, clock) if first < plan.rounds else (0, 0.0) for run in loaded]
    slices = plan.seconds / plan.rounds
    for turn in range(first, plan.rounds):
        order = range(len(networks)) if turn % 2 == 0 else range(len(networks) - 1, -1, -1)
        for i in order:
            log(f"round {turn + 1} of {plan.rounds}, network {i + 1} of {len(networks)}")
            if reopen is not None and turn > first:
                loaded[i] = reopen(i)  # the old one goes after the new one has its place
            found[i].append(turn_of(loaded[i], slices, plan.repeats, clock))
        keep(found)
    return [Timing(tuple(rounds), runs) for rounds, (runs, _) in zip(found, warm, strict=True)]


def turn_of(run: Callable[[], None], seconds: float, repeats: int, clock: Clock = time.perf_counter_ns) -> tuple[float, ...]:
    """One turn: a run that is not counted, then runs for ``seconds`` and at least ``repeats`` of them, in ms."""
    run()
    start = clock()
    times: list[float] = []
    while len(times) < repeats or (clock() - start) / 1e9 < seconds:
        began = clock()
        run()
        times.append((clock() - began) / 1e6)
    return tuple(times)
