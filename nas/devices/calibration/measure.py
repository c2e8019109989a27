"""Measure the networks of a calibration beside the reference network, pass by pass.

A pass goes over the whole set in a random order given by its number, so that a drift of the machine affects all kinds
alike, and every network is measured more than once.
"""

from __future__ import annotations

import math
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
FORECAST_VISITS, FORECAST_MARGIN = 10, 0.6
"""First visits from which the number of networks is forecast, and the share of the needed ones below which the time is
refused."""
MEASURING_SHARE = 0.85
"""Share of the minutes for measuring; the rest is for the fit."""
FIRST_PASS = 0.55
"""Share of the time for the first pass; networks that it does not reach are left out."""


def measure_networks(
    networks: Sequence[CalibrationNetwork],
    target: Target,
    journal: Journal,
    seconds: float,
    log: Callable[[str], None],
    clock: Clock = time.perf_counter_ns,
    needed: int = 0,
) -> None:
    """Visit networks until ``seconds`` are spent, those of interrupted calibrations in the journal included.

    Raises ``BadInput`` early where the first visits tell that the time is far too short for ``needed`` networks.
    """
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
            if number == 1 and len(visited) == FORECAST_VISITS:
                _check_time(time.monotonic() - start, seconds, needed)


def _check_time(spent_s: float, seconds: float, needed: int) -> None:
    """Refuse a time in which, at the speed of the first visits, far fewer than ``needed`` networks are measured."""
    reached = FORECAST_VISITS / spent_s * seconds * FIRST_PASS
    if reached < needed * FORECAST_MARGIN:
        minutes = math.ceil(spent_s / FORECAST_VISITS * needed / FIRST_PASS / MEASURING_SHARE / 60)
        raise BadInput(
            f"--minutes is too short: after {FORECAST_VISITS} networks in {spent_s:.0f} s about {reached:.0f} would be "
            f"measured, and {needed} are needed; give --minutes {minutes} (the measurements so far are kept)"
        )


def _pass(
    networks: Sequence[CalibrationNetwork], number: int, visited: set[tuple[str, int]], journal: Journal
) -> list[tuple[int, CalibrationNetwork, int]]:
    """Position, network and number of networks of one pass; later passes visit what the first one did."""
    first = {name for name, visit in visited if visit == 1}
    due = [n for n in networks if n.name not in journal.failed and (number == 1 or n.name in first)]
    order = due if number == 1 else [due[i] for i in np.random.default_rng(number).permutation(len(due))]
    return [(position, network, len(order)) for position, network in enumerate(order, start=1)]
