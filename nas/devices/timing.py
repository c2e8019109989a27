"""Fair timing: warm-up, turns, and an interval that holds for another measurement too.

Networks take turns, so that a slow drift of the machine affects all alike. The turns come in rounds that are spread
over the whole measurement, each with the network loaded again. A round gives one median a network; the result is the
median of the rounds, and the spread of the *rounds*, not of single runs, says how far another measurement may differ.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workbench.errors import BadInput

MOST_DRIFT = 0.05
"""Largest relative difference of the last third of the rounds to the first without a warning."""
MOST_TAIL = 1.3
"""Largest p95 over p50 of the single runs without a warning."""
T_95 = (
    12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
)  # fmt: skip
"""97.5 % point of Student's t by degrees of freedom, from 1; the last one is used for all above."""
LEAST_HALF = 0.005
"""Smallest half width of an interval, as a share."""
MEDIAN_TO_MEAN = 1.2533
"""The standard error of a median over that of a mean, for normal noise: sqrt(pi / 2)."""
WARM_SHARE = 0.02
"""Largest relative difference of the medians of two consecutive batches of runs of a warm network."""
MOST_WARM_S = 3.0
BLOCK_S = 0.02
"""Seconds of runs between two runs of the reference network."""

Clock = Callable[[], int]
"""Nanoseconds since some fixed moment, like ``time.perf_counter_ns``."""


@dataclass(frozen=True)
class Plan:
    """How long to measure: ``seconds`` per network over all rounds, and at least ``repeats`` runs a round."""

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
    reference_ms: tuple[float, ...] = ()
    """Median of the reference network's runs in every round; empty if it was not timed."""

    def at_speed(self, reference_ms: float) -> Timing:
        """The same at the speed of the machine at which the reference network takes ``reference_ms``."""
        if not self.reference_ms:
            raise BadInput("the speed of the machine is unknown: no reference network was timed")
        factors = [reference_ms / now for now in self.reference_ms]
        rounds = [tuple(ms * factor for ms in runs) for runs, factor in zip(self.rounds, factors, strict=True)]
        return Timing(tuple(rounds), self.warm_up_runs, (reference_ms,) * len(rounds))

    @property
    def runs(self) -> list[float]:
        """All single runs, ascending."""
        return sorted(ms for runs in self.rounds for ms in runs)

    @property
    def medians(self) -> list[float]:
        """One median a round, in the order of time."""
        return [statistics.median(runs) for runs in self.rounds]

    @property
    def p50_ms(self) -> float:
        """Median of the rounds' medians."""
        return statistics.median(self.medians)

    @property
    def p95_ms(self) -> float:
        """95th percentile of the single runs."""
        runs = self.runs
        return runs[min(len(runs) - 1, math.ceil(0.95 * len(runs)) - 1)]

    @property
    def best_ms(self) -> float:
        """The lowest median of a round, nearest to an undisturbed machine."""
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
        """The 95 % interval (low, high) of the median of another measurement of the same kind.

        Both medians scatter, so their difference does by sqrt(2) more than each. If the machine drifts, consecutive
        rounds are correlated and count as fewer. The spread is that of logarithms.
        """
        logs = [math.log(ms) for ms in self.medians]
        count = len(logs)
        if count < 3:
            raise BadInput(f"an interval needs at least 3 rounds, not {count}")
        center = statistics.fmean(logs)
        deviations = [value - center for value in logs]
        power = sum(a * a for a in deviations)
        correlation = sum(a * b for a, b in itertools.pairwise(deviations)) / power if power > 0 else 0.0
        # The estimate from few rounds is biased down by about (1 + 4 x correlation) / rounds.
        correlation = min(max((correlation + 1 / count) / max(1 - 4 / count, 0.5), 0.0), 0.6)
        effective = count * (1 - correlation) / (1 + correlation)
        scatter = math.sqrt(power / (count - 1)) * MEDIAN_TO_MEAN * math.sqrt(2 / effective)
        half = T_95[min(count - 1, len(T_95)) - 1] * scatter
        # At least the drift from the first to the last third.
        half = max(half, abs(math.log1p(self.drift)) / 2, LEAST_HALF)
        return self.p50_ms * math.exp(-half), self.p50_ms * math.exp(half)


def timing_warnings(timing: Timing) -> list[str]:
    """Warnings that follow from the times themselves."""
    warnings = []
    if timing.drift > MOST_DRIFT:
        warnings.append(
            f"slowed down by {100 * timing.drift:.0f} % while it was measured: throttling, or other work began"
        )
    elif timing.drift < -MOST_DRIFT:
        warnings.append(
            f"sped up by {-100 * timing.drift:.0f} % while it was measured: other work ended, or it was not warm"
        )
    if timing.tail > MOST_TAIL:
        warnings.append(f"p95 is {timing.tail:.2f} times p50: single runs are disturbed")
    return warnings


def warm_up(
    run: Callable[[], None], clock: Clock = time.perf_counter_ns, most_s: float = MOST_WARM_S
) -> tuple[int, float]:
    """Run until two consecutive batches agree or ``most_s`` have passed; number of runs, and the last median in ms."""
    start = clock()
    runs = 0
    previous: float | None = None
    while True:
        batch: list[float] = []
        while len(batch) < 3:
            began = clock()
            run()
            batch.append((clock() - began) / 1e6)
            runs += 1
            if (clock() - start) / 1e9 > most_s:
                return runs, statistics.median(batch)
        median = statistics.median(batch)
        if previous is not None and abs(median / previous - 1) <= WARM_SHARE:
            return runs, median
        previous = median


Rounds = list[list[tuple[float, ...]]]
"""For every network, the runs of every round so far, in ms."""


def time_networks(
    networks: Sequence[Callable[[], None]],
    plan: Plan,
    log: Callable[[str], None] = lambda text: None,
    clock: Clock = time.perf_counter_ns,
    before: Rounds | None = None,
    on_round: Callable[[Rounds], None] = lambda rounds: None,
    reopen: Callable[[int], Callable[[], None]] | None = None,
    reference: Callable[[], None] | None = None,
) -> list[Timing]:
    """Times of every network (a callable that runs it once, to the end), measured in turns.

    The order of the turns is reversed every second round, so that no network always follows the same one. The first run
    of a turn is not counted, because the previous network has evicted the caches.

    Args:
        before: whole rounds of an interrupted measurement, which is resumed after them.
        on_round: is called with all rounds after each one.
        reopen: loads a network again, by its index, before every turn but the first. The place of its memory makes a
            network faster or slower for as long as it is loaded; with one loading the interval would not show that.
        reference: the reference network, timed between the runs of every turn; not with ``before``.
    """
    rounds: Rounds = [list(earlier) for earlier in before] if before else [[] for _ in networks]
    references: list[list[float]] = [[] for _ in networks]
    first = len(rounds[0]) if rounds else 0
    loaded = list(networks)
    warm = [warm_up(run, clock) if first < plan.rounds else (0, 0.0) for run in loaded]
    turn_s = plan.seconds / plan.rounds
    for turn in range(first, plan.rounds):
        order = range(len(networks)) if turn % 2 == 0 else range(len(networks) - 1, -1, -1)
        for i in order:
            log(f"round {turn + 1} of {plan.rounds}, network {i + 1} of {len(networks)}")
            if reopen is not None and turn > first:
                loaded[i] = reopen(i)  # the old one is freed only after the new one has its memory
            if reference is None:
                rounds[i].append(time_turn(loaded[i], turn_s, plan.repeats, clock))
            else:
                paired = time_paired_turn(loaded[i], reference, turn_s, plan.repeats, clock)
                rounds[i].append(paired.runs)
                references[i].append(paired.reference_ms)
        on_round(rounds)
    return [
        Timing(tuple(runs), warm_up_runs, tuple(speeds))
        for runs, (warm_up_runs, _), speeds in zip(rounds, warm, references, strict=True)
    ]


def time_turn(
    run: Callable[[], None], seconds: float, repeats: int, clock: Clock = time.perf_counter_ns
) -> tuple[float, ...]:
    """One turn: a run that is not counted, then runs for ``seconds`` and at least ``repeats`` of them, in ms."""
    run()
    start = clock()
    times: list[float] = []
    while len(times) < repeats or (clock() - start) / 1e9 < seconds:
        began = clock()
        run()
        times.append((clock() - began) / 1e6)
    return tuple(times)


@dataclass(frozen=True, slots=True)
class PairedTurn:
    """Single runs of a network and of the reference network between them, milliseconds."""

    runs: tuple[float, ...]
    reference: tuple[float, ...]

    @property
    def ms(self) -> float:
        """Median of the network's runs."""
        return statistics.median(self.runs)

    @property
    def reference_ms(self) -> float:
        """Median of the reference network's runs."""
        return statistics.median(self.reference)


def time_paired_turn(
    run: Callable[[], None],
    reference: Callable[[], None],
    seconds: float,
    repeats: int,
    clock: Clock = time.perf_counter_ns,
) -> PairedTurn:
    """One turn in blocks: the reference network twice, of which the second counts, then the network for ``BLOCK_S``.

    The first run of a block is not counted if there are others, because the reference network has evicted the caches.
    Blocks follow until ``seconds`` have passed and ``repeats`` runs are counted; the reference network ends the turn.
    """
    start = clock()
    counted: list[float] = []
    references: list[float] = []
    while len(counted) < repeats or (clock() - start) / 1e9 < seconds:
        reference()
        references.append(_ms(reference, clock))
        began = clock()
        block: list[float] = []
        while not block or (clock() - began) / 1e9 < BLOCK_S:
            block.append(_ms(run, clock))
        counted += block[1:] or block
    reference()
    references.append(_ms(reference, clock))
    return PairedTurn(tuple(counted), tuple(references))


def _ms(run: Callable[[], None], clock: Clock) -> float:
    began = clock()
    run()
    return (clock() - began) / 1e6
