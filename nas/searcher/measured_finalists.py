"""Measures the best of a front on this machine and ranks them anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.budgets import FLOPS, LATENCY
from nas.devices.network import Network
from nas.devices.noise import NoiseWatch
from nas.devices.runtimes.runtime import Target
from nas.devices.session import open_network, runtime_text
from nas.devices.timing import Plan, Timing, time_networks, timing_warnings
from nas.searcher.finalists import Finalist, Finalists, rank
from nas.searcher.measuring_state import MeasuringState
from nas.searcher.problem import SearchProblem
from nas.searcher.result import SearchResult
from search_spaces.architecture import Architecture
from search_spaces.lowering import lower
from workbench.errors import BadInput
from workbench.files import write_atomic
from workbench.hardware import cpus

if TYPE_CHECKING:
    from nas.devices.profile import DeviceProfile


def measure_finalists(
    result: SearchResult,
    count: int,
    target: Target,
    plan: Plan | None = None,
    log: Callable[[str], None] = lambda text: None,
) -> Finalists:
    """Measure the ``count`` best-scored of the front, and the anchor, and write ``measured.json`` and ``.csv``.

    After an interruption the same call resumes after the last whole round; when everything is measured, it only reads.
    """
    plan, problem = plan or Plan(), result.problem
    contenders = _contenders(result, count)
    px, scope = problem.input_px, problem.scope
    key = {
        "hardware": target.hardware(), "runtime": runtime_text(target), "precision": target.precision, "input_px": px,
        "scope": scope, "networks": [contender.architecture.digest() for contender in contenders],
        "seconds": plan.seconds, "repeats": plan.repeats, "rounds": plan.rounds,
    }  # fmt: skip
    sides = [problem.side_of(item.architecture) for item in contenders]
    key |= {"sides": sides} if set(sides) != {px} else {}
    networks = [
        Network.of_graph(lower(item.architecture, scope), (side, side)).with_cached_onnx()
        for item, side in zip(contenders, sides, strict=True)
    ]
    state = MeasuringState(result.folder / "measuring.json", key)
    timings = _time(contenders, networks, target, plan, state, log)
    profile, budget_ms = local_budget(problem, target)
    finalists = []
    for contender, network, timing in zip(contenders, networks, timings, strict=True):
        predicted = None if profile is None else profile.latency_ms(network.graph, network.table_px)
        finalists.append(_finalist(contender, timing, predicted, budget_ms))
    warnings = [
        f"{contender.name}: {warning}"
        for contender, timing in zip(contenders, timings, strict=True)
        for warning in timing_warnings(timing)
    ]
    anchor = finalists.pop() if result.anchor is not None else None
    hardware, runtime, ranked = target.hardware(), runtime_text(target), tuple(rank(finalists))
    measured = Finalists(hardware, runtime, target.threads, px, budget_ms, ranked, anchor, (*warnings, *state.warnings))
    write_atomic(result.folder / "measured.json", json.dumps(measured.to_dict(), indent=1, allow_nan=False))
    write_atomic(result.folder / "measured.csv", measured.to_csv())
    return measured


@dataclass(frozen=True, slots=True)
class _Contender:
    """A network to measure; ``searched`` is its place by score, 0 for the anchor."""

    name: str
    searched: int
    architecture: Architecture
    score: float
    flops: float


def _contenders(result: SearchResult, count: int) -> list[_Contender]:
    """The best-scored of the front, best first, then the anchor."""
    problem = result.problem
    contenders = []
    for place, line in enumerate(list(reversed(result.front))[:count], start=1):
        arch = problem.space.decode(line["row"])
        if arch.digest() != line["digest"]:
            raise BadInput(
                f"the space {problem.space_name!r} has changed since the search in {str(result.folder)!r}: "
                "search again with --fresh"
            )
        contenders.append(_Contender(f"found-{place}", place, arch, float(line["score"]), float(line[FLOPS])))
    anchor = result.anchor
    if anchor is not None:
        contenders.append(_Contender(anchor.name, 0, anchor.architecture, anchor.score, float(anchor.costs[FLOPS])))
    return contenders


def _time(
    contenders: Sequence[_Contender], networks: list[Network], target: Target, plan: Plan, state: MeasuringState,
    log: Callable[[str], None],
) -> list[Timing]:  # fmt: skip
    """Timings of all networks, taken in turns; what an earlier process has measured is read from ``state``."""
    sessions = []
    if not state.whole(plan):
        for contender, network in zip(contenders, networks, strict=True):
            log(f"loading {contender.name}")
            sessions.append(open_network(network, target))
    watch = NoiseWatch().start()
    timings = time_networks(
        sessions or [_never] * len(networks), plan, log, before=state.rounds, on_round=state.keep,
        reopen=lambda i: open_network(networks[i], target),
    )  # fmt: skip
    if sessions:
        state.keep_warnings(watch.stop().warnings(cpus(), target.threads))
    return timings


def _finalist(contender: _Contender, timing: Timing, predicted: float | None, budget_ms: float | None) -> Finalist:
    over = None if budget_ms is None else timing.p50_ms - budget_ms
    arch = contender.architecture
    return Finalist(
        contender.name, arch.digest(), contender.searched, contender.score, contender.flops, timing.p50_ms,
        timing.interval_ms(), timing.p95_ms, predicted, over, arch,
    )  # fmt: skip


def local_budget(problem: SearchProblem, target: Target) -> tuple[DeviceProfile | None, float | None]:
    """The problem's profile of this very machine and its latency limit in ms; None where it has none."""
    here = (target.hardware(), runtime_text(target), target.precision)
    for profile, name in zip(problem.devices, problem.device_names, strict=True):
        if (profile.hardware, profile.runtime, profile.precision) == here:
            only = len(problem.devices) == 1
            budgets = [budget for budget in problem.budgets if budget.quantity == LATENCY]
            limits = [budget.high for budget in budgets if only or budget.device in (name, profile.name)]
            return profile, min(limits, default=None)
    return None, None


def _never() -> None:
    raise AssertionError("a finished measurement runs nothing")
