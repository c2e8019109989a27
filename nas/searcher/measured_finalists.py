"""The best of a front, measured on this machine: what they cost here, a new order, and savings that are only on paper."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.budgets import FLOPS, LATENCY, parse_budgets
from nas.devices.hardware import cpus
from nas.devices.network import Network
from nas.devices.noise import NoiseWatch
from nas.devices.runtimes.runtime import Target
from nas.devices.session import open_network, runtime_text
from nas.devices.timing import Plan, Rounds, time_networks, timing_warnings
from nas.searcher.run import SearchResult
from search_spaces.architecture import Architecture
from search_spaces.lowering import lower
from search_spaces.space import with_grid
from search_spaces.space_file import load_space
from workbench.console import cell, table
from workbench.errors import BadInput
from workbench.files import write_atomic

if TYPE_CHECKING:
    from nas.devices.profile import DeviceProfile

FORMAT = "nas-measured-1"
NOT_FASTER = "not faster on this device"


@dataclass(frozen=True, slots=True)
class Finalist:
    """One network with its measured time. ``searched`` is its place before measuring, 0 for the published neighbour.

    ``interval_ms`` says where another measurement puts ``p50_ms``; ``over_ms`` by how much it exceeds the budget of
    this machine, None where no budget is for this machine.
    """

    name: str
    digest: str
    searched: int
    score: float
    flops: float
    p50_ms: float
    interval_ms: tuple[float, float]
    p95_ms: float
    predicted_ms: float | None
    over_ms: float | None
    architecture: Architecture

    def clearly_faster(self, other: Finalist) -> bool:
        """The intervals do not touch."""
        return self.interval_ms[1] < other.interval_ms[0]

    def label(self, others: Sequence[Finalist]) -> str:
        """``NOT_FASTER`` and against whom, where a saving in FLOPs shows in no time; else nothing.

        Only a saving that could have been seen counts: had time fallen as FLOPs did, the intervals would lie apart.
        Of several such networks, the one with most FLOPs is named.
        """
        high = self.interval_ms[1]
        for other in sorted(others, key=lambda one: -one.flops):
            share = self.flops / other.flops
            visible = share * other.p50_ms * (high / self.p50_ms) < other.interval_ms[0]
            if share < 1 and visible and not self.clearly_faster(other):
                change = 100 * (self.p50_ms / other.p50_ms - 1)
                took = "as long" if self.interval_ms[0] <= other.interval_ms[1] else f"{change:.1f} % longer"
                return f"{NOT_FASTER}: {100 * (1 - share):.1f} % fewer FLOPs than {other.name}, takes {took}"
        return ""


@dataclass(frozen=True, slots=True)
class Finalists:
    """Finalists in their new order; ``anchor`` is the published neighbour, measured beside them."""

    hardware: str
    runtime: str
    threads: int
    input_px: int
    budget_ms: float | None
    ranked: tuple[Finalist, ...]
    anchor: Finalist | None
    warnings: tuple[str, ...]

    def labels(self) -> list[str]:
        """One label a ranked finalist, empty where there is nothing to say."""
        everyone = [*self.ranked, *([] if self.anchor is None else [self.anchor])]
        return [one.label([other for other in everyone if other is not one]) for one in self.ranked]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, as in ``measured.json``."""
        rows = [_row(one) | {"rank": place, "label": label} for place, (one, label) in enumerate(zip(self.ranked, self.labels(), strict=True), start=1)]
        return {
            "format": FORMAT, "hardware": self.hardware, "runtime": self.runtime, "threads": self.threads, "input_px": self.input_px,
            "budget_ms": self.budget_ms, "finalists": rows, "anchor": None if self.anchor is None else _row(self.anchor), "warnings": list(self.warnings),
        }  # fmt: skip

    def to_csv(self) -> str:
        """The table of ``measured.csv``."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        names = ("rank", "searched", "name", "score", "flops", "p50_ms", "low_ms", "high_ms", "p95_ms", "predicted_ms", "over_ms", "label", "digest")
        writer.writerow(names)
        for row in self.to_dict()["finalists"]:
            flat = row | {"low_ms": row["interval_ms"][0], "high_ms": row["interval_ms"][1]}
            writer.writerow(["" if flat[name] is None else flat[name] for name in names])
        return out.getvalue()

    def text(self) -> str:
        """What the terminal shows."""
        rows: list[list[Any]] = []
        for place, one, label in zip((*range(1, len(self.ranked) + 1), None), (*self.ranked, self.anchor), (*self.labels(), ""), strict=True):
            if one is not None:
                low, high = one.interval_ms
                budget = "-" if one.over_ms is None else "kept" if one.over_ms <= 0 else f"over by {cell(one.over_ms)} ms"
                rows.append([place, one.searched or None, one.name, f"{one.score:.6g}", one.flops / 1e9, one.predicted_ms, one.p50_ms, f"{cell(low)} to {cell(high)}", budget, label])
        lines = [f"measured on {self.hardware}; {self.runtime}; {self.input_px} px, batch 1"]
        lines.append(table(["rank", "searched", "", "score", "GFLOPs", "predicted ms", "p50 ms", "interval ms", "budget", ""], rows))
        lines += [f"warning: {warning}" for warning in self.warnings]
        lines.append("written to measured.json and measured.csv in the run folder")
        return "\n".join(lines)


def rank(finalists: Sequence[Finalist]) -> list[Finalist]:
    """The new order.

    Those that keep the budget of this machine stand before those that exceed it, which are ordered by time. Within the
    first group, who is beaten by fewer stands first: one is beaten by each that is clearly faster and scores no less.
    Ties go to the higher score, then to the earlier place. Where no budget is for this machine, all are in the first group.
    """
    within = [one for one in finalists if one.over_ms is None or one.over_ms <= 0]
    beaten = {one.digest: sum(other.clearly_faster(one) and other.score >= one.score for other in within) for one in within}
    over = [one for one in finalists if one.over_ms is not None and one.over_ms > 0]
    return [*sorted(within, key=lambda one: (beaten[one.digest], -one.score, one.searched)), *sorted(over, key=lambda one: (one.p50_ms, one.searched))]


def measure_finalists(
    result: SearchResult, count: int, target: Target, plan: Plan | None = None, log: Callable[[str], None] = lambda text: None
) -> Finalists:
    """Measure the ``count`` best-scored of the front, and the published neighbour, and write ``measured.json`` and ``.csv``.

    After an interruption the same call goes on after the last whole round; when all was measured, it only reads.
    """
    plan, settings = plan or Plan(), result.settings
    chosen = _architectures(result, count)
    names = [f"found-{place}" for place in range(1, len(chosen) + 1)]
    if result.anchor is not None:
        chosen.append((result.anchor.architecture, result.anchor.score, float(result.anchor.costs[FLOPS])))
        names.append(result.anchor.name)
    px, scope = int(settings["input_px"]), str(settings["scope"])
    profile, budget_ms = local_budget(settings, target)
    asked = {
        "hardware": target.hardware(), "runtime": runtime_text(target), "precision": target.precision, "input_px": px, "scope": scope,
        "networks": [arch.digest() for arch, _, _ in chosen], "seconds": plan.seconds, "repeats": plan.repeats, "rounds": plan.rounds,
    }  # fmt: skip
    state = _State(result.folder / "measuring.json", asked)
    networks = [Network.of_graph(lower(arch, scope), (px, px)).with_cached_onnx() for arch, _, _ in chosen]
    sessions = []
    if not state.whole(plan):
        for name, network in zip(names, networks, strict=True):
            log(f"loading {name}")
            sessions.append(open_network(network, target))
    watch = NoiseWatch().start()
    timings = time_networks(sessions or [_never] * len(chosen), plan, log, before=state.rounds, on_round=state.keep, reopen=lambda i: open_network(networks[i], target))
    if sessions:
        state.keep_warnings(watch.stop().warnings(cpus(), target.threads))
    finalists = []
    for i, (network, timing) in enumerate(zip(networks, timings, strict=True)):
        arch, score, flops = chosen[i]
        over = None if budget_ms is None else timing.p50_ms - budget_ms
        predicted = None if profile is None else profile.latency_ms(network.graph, network.table_px)
        place = 0 if result.anchor is not None and i == len(chosen) - 1 else i + 1
        finalists.append(Finalist(names[i], arch.digest(), place, score, flops, timing.p50_ms, timing.interval_ms(), timing.p95_ms, predicted, over, arch))
    warnings = [f"{name}: {warning}" for name, timing in zip(names, timings, strict=True) for warning in timing_warnings(timing)]
    anchor = finalists.pop() if result.anchor is not None else None
    found = Finalists(
        target.hardware(), runtime_text(target), target.threads, px, budget_ms, tuple(rank(finalists)), anchor, (*warnings, *state.warnings)
    )
    write_atomic(result.folder / "measured.json", json.dumps(found.to_dict(), indent=1, allow_nan=False))
    write_atomic(result.folder / "measured.csv", found.to_csv())
    return found


def local_budget(settings: dict[str, Any], target: Target) -> tuple[DeviceProfile | None, float | None]:
    """The search's profile of this very machine and its upper limit in ms; None where the search had none, or no budget on it."""
    from nas.devices.profile import load_device

    named = settings["device"]
    devices = [named] if isinstance(named, str) else list(named or ())
    here = (target.hardware(), runtime_text(target), target.precision)
    for name in devices:
        profile = load_device(name)
        if (profile.hardware, profile.runtime, profile.precision) == here:
            limits = [b.high for b in parse_budgets(settings["budget"]) if b.quantity == LATENCY and (b.device in (name, profile.name) or len(devices) == 1)]
            return profile, min(limits, default=None)
    return None, None


def _architectures(result: SearchResult, count: int) -> list[tuple[Architecture, float, float]]:
    """The best-scored of the front with score and FLOPs, best first."""
    settings = result.settings
    space = load_space(settings["space"])
    if space.channel_step != settings["grid"]:
        space = with_grid(space, settings["grid"])
    found = []
    for line in list(reversed(result.front))[:count]:
        arch = space.decode(line["row"])
        if arch.digest() != line["digest"]:
            raise BadInput(f"the space {settings['space']!r} has changed since the search in {str(result.folder)!r}: search again with --fresh")
        found.append((arch, float(line["score"]), float(line[FLOPS])))
    return found


def _never() -> None:
    raise AssertionError("a finished measurement runs nothing")


def _row(one: Finalist) -> dict[str, Any]:
    return {
        "name": one.name, "digest": one.digest, "searched": one.searched, "score": one.score, "flops": one.flops, "p50_ms": one.p50_ms,
        "interval_ms": list(one.interval_ms), "p95_ms": one.p95_ms, "predicted_ms": one.predicted_ms, "over_ms": one.over_ms,
        "architecture": one.architecture.to_dict(),
    }  # fmt: skip


class _State:
    """Rounds measured so far, written whole after each; those of another measurement, or a damaged file, are dropped."""

    def __init__(self, path: Path, asked: dict[str, Any]) -> None:
        self.path, self.asked = path, json.loads(json.dumps(asked))
        self.rounds: Rounds | None = None
        self.warnings: list[str] = []
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise BadInput(f"cannot read {str(path)!r}: {error}; delete it to measure anew") from error
        if isinstance(held, dict) and held.get("asked") == self.asked and held.get("sum") == _sum(held.get("rounds"), held.get("warnings")):
            self.rounds = [[tuple(one) for one in rounds] for rounds in held["rounds"]]
            self.warnings = list(held["warnings"])

    def whole(self, plan: Plan) -> bool:
        """Whether nothing is left to measure."""
        return self.rounds is not None and all(len(rounds) >= plan.rounds for rounds in self.rounds)

    def keep(self, rounds: Rounds) -> None:
        """Write them down."""
        self.rounds = rounds
        held = {"asked": self.asked, "rounds": rounds, "warnings": self.warnings, "sum": _sum(rounds, self.warnings)}
        write_atomic(self.path, json.dumps(held))

    def keep_warnings(self, warnings: list[str]) -> None:
        """What disturbed this sitting, beside what disturbed earlier ones."""
        self.warnings += [warning for warning in warnings if warning not in self.warnings]
        self.keep(self.rounds or [])


def _sum(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
