"""Fair timing, on a machine made of numbers: turns, warm-up, intervals that hold, and what is marked as disturbed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from nas.devices.noise import Noise
from nas.devices.timing import Plan, Timing, time_networks, time_paired_turn, time_turn, timing_warnings, warm_up
from workbench.errors import BadInput


class Machine:
    """A clock, and networks that take the milliseconds they are told."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.order: list[str] = []

    def clock(self) -> int:
        return self.now_ns

    def network(self, name: str, ms: Callable[[int], float]) -> Callable[[], None]:
        runs = 0

        def run() -> None:
            nonlocal runs
            self.order.append(name)
            self.now_ns += round(1e6 * ms(runs))
            runs += 1

        return run


def test_networks_take_turns_in_both_directions() -> None:
    machine = Machine()
    networks = [machine.network(name, lambda run: 10.0) for name in "abc"]
    timings = time_networks(networks, Plan(seconds=0.2, repeats=2, rounds=4), clock=machine.clock)
    turns = "".join(name for i, name in enumerate(machine.order) if i == 0 or machine.order[i - 1] != name)
    # Warm-up in order, then rounds that alternate; c ends one round and begins the next, as a does.
    assert turns == "abc" + "abcba" + "bcba"
    for timing in timings:
        assert timing.p50_ms == pytest.approx(10.0)
        assert timing.p95_ms == pytest.approx(10.0)
        assert [len(one) for one in timing.rounds] == [5, 5, 5, 5]


def test_a_drift_hits_all_networks_alike() -> None:
    machine = Machine()
    networks = [machine.network(name, lambda run: 10.0 * (1 + machine.now_ns / 1e10)) for name in "ab"]
    slow = time_networks(networks, Plan(seconds=2.0, rounds=20), clock=machine.clock)
    assert slow[0].p50_ms / slow[1].p50_ms == pytest.approx(1.0, abs=0.01)
    assert slow[0].drift > 0.1
    assert "throttling" in timing_warnings(slow[0])[0]


def test_the_first_run_of_a_turn_is_not_counted() -> None:
    machine = Machine()
    times = time_turn(machine.network("a", lambda run: 80.0 if run == 0 else 8.0), 0.05, 3, machine.clock)
    assert times == (8.0,) * 7
    assert len(time_turn(machine.network("b", lambda run: 500.0), 0.05, 3, machine.clock)) == 3


def test_a_paired_turn_is_the_reference_network_and_blocks_of_runs() -> None:
    machine = Machine()
    turn = time_paired_turn(
        machine.network("a", lambda run: 9.0 if run % 3 == 0 else 8.0), machine.network("r", lambda run: 1.0 + run % 2),
        0.05, 3, machine.clock,
    )  # fmt: skip
    assert "".join(machine.order) == "rraaa" * 2 + "rr"  # a block lasts 20 ms; the turn ends with the reference
    assert turn.runs == (8.0,) * 4 and turn.reference == (2.0,) * 3
    slow = time_paired_turn(
        machine.network("b", lambda run: 300.0), machine.network("r", lambda run: 1.0), 0.05, 3, machine.clock
    )
    assert slow.runs == (300.0,) * 3 and slow.ms == 300.0 and slow.reference_ms == 1.0


def test_changes_of_the_machines_speed_are_divided_out() -> None:
    """Speed falls to 60 % for a third of the time; at the speed where the reference takes 2 ms that is not seen."""
    machine = Machine()

    def network(ms: float) -> Callable[[], None]:
        return machine.network("n", lambda run: ms / (0.6 if machine.now_ns // 1e9 % 3 == 1 else 1.0))

    (timing,) = time_networks([network(10.0)], Plan(8.0, 3, 8), clock=machine.clock, reference=network(1.0))
    assert max(timing.medians) > 1.5 * min(timing.medians)
    level = timing.at_speed(2.0)
    assert level.p50_ms == pytest.approx(20.0) and max(level.medians) == pytest.approx(min(level.medians))
    assert not timing_warnings(Timing(level.rounds[:1] * 3))
    with pytest.raises(BadInput, match="no reference network"):
        Timing(((1.0,),) * 3).at_speed(1.0)


def test_warm_up_goes_on_until_times_settle() -> None:
    machine = Machine()
    runs, last = warm_up(machine.network("a", lambda run: 100.0 * 0.8**run + 5.0), machine.clock)
    assert last == pytest.approx(5.0, rel=0.02) and 20 < runs < 40
    runs, _ = warm_up(machine.network("never", lambda run: 100.0 * 1.5**run), machine.clock, most_s=2.0)
    assert runs < 10


def test_percentiles() -> None:
    timing = Timing((tuple(float(v) for v in range(1, 21)), (7.0, 8.0, 9.0), (30.0, 40.0, 50.0)))
    assert timing.medians == [10.5, 8.0, 40.0]
    assert timing.p50_ms == 10.5 and timing.best_ms == 8.0
    assert timing.p95_ms == 40.0  # the 25th of 26 runs


def bench(rng: np.random.Generator, rounds: int, runs: int, between: float, follow: float) -> Timing:
    """Rounds of 10 ms whose level wanders: a share ``follow`` of one round's deviation passes on to the next."""
    level, found = rng.normal(0, between), []
    for _ in range(rounds):
        found.append(tuple(10.0 * np.exp(level + rng.normal(0, 0.02, runs))))
        level = follow * level + math.sqrt(1 - follow**2) * rng.normal(0, between)
    return Timing(tuple(found))


@pytest.mark.parametrize(("between", "follow"), [(0.0, 0.0), (0.01, 0.0), (0.05, 0.0), (0.03, 0.5)])
def test_another_run_lands_in_the_interval(between: float, follow: float) -> None:
    """19 times in 20 is what is said; 9 in 10 must hold, and the interval must not be bought with width."""
    rng = np.random.default_rng(7)
    hits, halves, spread = 0, [], []
    for _ in range(400):
        first, second = (bench(rng, 8, 15, between, follow) for _ in range(2))
        low, high = first.interval_ms()
        hits += low <= second.p50_ms <= high
        halves.append(math.log(high / low) / 2)
        spread.append(math.log(second.p50_ms / first.p50_ms))
    assert hits >= 0.9 * 400
    assert np.median(halves) < max(5 * float(np.std(spread)), 0.006)


def test_another_loading_lands_in_the_interval_of_networks_loaded_anew() -> None:
    """Every loading is up to a tenth faster or slower for as long as it lasts."""
    rng = np.random.default_rng(0)

    def bench(anew: bool) -> Timing:
        machine = Machine()

        def load(_: int = 0) -> Callable[[], None]:
            ms = 10.0 * math.exp(rng.normal(0.0, 0.05))
            return machine.network("a", lambda _: ms)

        return time_networks([load()], Plan(1.0, 3, 8), clock=machine.clock, reopen=load if anew else None)[0]

    def kept(anew: bool) -> float:
        found = []
        for _ in range(100):
            low, high = bench(anew).interval_ms()
            found.append(low <= bench(anew).p50_ms <= high)
        return sum(found) / len(found)

    assert kept(True) >= 0.9
    assert kept(False) < 0.3


def test_an_interval_misses_another_network() -> None:
    """An interval that held everything would agree with everything."""
    rng = np.random.default_rng(3)
    low, high = bench(rng, 8, 15, 0.01, 0.0).interval_ms()
    assert not low <= 11.0 <= high


def test_what_is_marked() -> None:
    still = Timing(((10.0,) * 20,) * 6)
    assert timing_warnings(still) == []
    assert "sped up" in timing_warnings(Timing(tuple((10.0 - i,) * 20 for i in range(6))))[0]
    assert "p95" in timing_warnings(Timing(((10.0,) * 18 + (20.0,) * 2,) * 6))[0]
    assert Noise(0.1, 0.01).warnings(2, 2) == []
    assert "30 %" in Noise(0.1, 0.3).warnings(2, 2)[0]
    assert "load was 1.8" in Noise(1.8, None).warnings(2, 2)[0]


@pytest.mark.parametrize(
    ("seconds", "repeats", "rounds"),
    [(0.0, 3, 8), (math.nan, 3, 8), (-1.0, 3, 8), (1e9, 3, 8), (3.0, 0, 8), (3.0, 3, 2)],
)
def test_impossible_plans_are_refused(seconds: float, repeats: int, rounds: int) -> None:
    with pytest.raises(BadInput, match="must be"):
        Plan(seconds, repeats, rounds)
