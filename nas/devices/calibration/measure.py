"""Measure the networks of a calibration beside the reference network, pass by pass.

A pass goes over the whole set in a random order given by its number, so that a drift of the machine affects all kinds
alike, and every network is measured more than once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from nas.devices.calibration.journal import Journal, Visit
from nas.devices.calibration.networks import CalibrationNetwork
from nas.devices.reference import open_reference
from nas.devices.runtimes.runtime import Target
from nas.devices.session import open_network
from nas.devices.timing import Clock, time_paired_turn, warm_up
from workbench.errors import BadInput

TURN_S, TURN_RUNS = 0.08, 3
"""Seconds and least runs of one visit to one network."""
MOST_PASSES = 4
MOST_FAILED = 0.2
"""Largest share of the set that a runtime may refuse."""
FIRST_PASS = 0.55
"""Share of the time for the first pass; networks that it does not reach are left out."""


def measure_networks(
    networks: Sequence[CalibrationNetwork],
    target: Target,
    journal: Journal,
    seconds: float,
    log: Callable[[str], None],
    clock: Clock = time.perf_counter_ns,
) -> None:
    """Visit networks until ``seconds`` are spent, those of interrupted calibrations in the journal included."""
    start = time.monotonic() - journal.spent_s
    visited = {(v.network, v.number) for v in journal.visits}
    reference = open_reference(target)
    warm_up(reference, clock)
    for number in range(1, MOST_PASSES + 1):
        end = seconds * (FIRST_PASS if number == 1 else 1.0)
        for position, network, count in _pass(networks, number, visited, journal):
            spent = time.monotonic() - start
            if spent > end:
                break
            if (network.name, number) in visited:
                continue
            left = f"{max(0.0, seconds - spent):.0f} s left at most"
            log(f"{min(1.0, spent / seconds):4.0%}  pass {number}, network {position} of {count}, {left}")
            try:
                session = open_network(network.make(), target)
            except BadInput as error:
                journal.fail(network.name, str(error), time.monotonic() - start)
                if len(journal.failed) > MOST_FAILED * len(networks):
                    counts = f"{len(journal.failed)} of {len(networks)}"
                    raise BadInput(f"{counts} networks cannot be run here; the last one: {error}") from error
                continue
            warm_up(session, clock, most_s=2 * TURN_S)
            turn = time_paired_turn(session, reference, TURN_S, TURN_RUNS, clock)
            del session
            visit = Visit(network.name, number, turn.ms, len(turn.runs), turn.reference_ms)
            journal.add(visit, time.monotonic() - start)
            visited.add((network.name, number))


def _pass(
    networks: Sequence[CalibrationNetwork], number: int, visited: set[tuple[str, int]], journal: Journal
) -> list[tuple[int, CalibrationNetwork, int]]:
    """Position, network and number of networks of one pass; later passes visit what the first one did."""
    first = {name for name, visit in visited if visit == 1}
    due = [n for n in networks if n.name not in journal.failed and (number == 1 or n.name in first)]
    order = due if number == 1 else [due[i] for i in np.random.default_rng(number).permutation(len(due))]
    return [(position, network, len(order)) for position, network in enumerate(order, start=1)]
