"""A profile of the machine at hand: measure a designed set of networks, fit, and foretell networks not fitted.

The set is measured in a seeded random order, in passes over all of it, so that a drift of the machine hits every kind
alike and every figure has a second one to be held against.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.devices.calibration_journal import Journal, Visit
from nas.devices.calibration_set import DESIGN, CalibrationNetwork, Design, designed_tasks
from nas.devices.runtimes import Target, cpus, open_network
from nas.devices.timing import Clock, NoiseWatch, turn_of, warm_up
from workbench.console import cell
from workbench.errors import BadInput
from workbench.files import write_atomic
from workbench.locks import lock_folder
from workbench.tables import Result, Table

if TYPE_CHECKING:
    from nas.devices.measurements import MeasuredNetwork
    from nas.devices.profile import DeviceProfile

TURN_S, TURN_RUNS = 0.08, 3
"""One visit to one network: so long, and at least so many runs."""
MOST_PASSES = 4
MEASURING_SHARE = 0.85
"""Of the time that was asked for; the rest is for the fit."""
MOST_NOISE_PERCENT = 15.0
"""Networks measured twice may differ by so much on average. Above it small networks, which fit between two
disturbances, look faster than large ones, which do not, and a fit would carry that to every forecast."""
ONE_THREAD = ", or measure with --threads 1: on a virtual machine the way between its CPUs changes while it runs, which one thread does not feel"
MOST_FAILED = 0.2
"""Share of the set that a runtime may refuse."""
FIRST_PASS = 0.55
"""Share of the time that the first pass may take; what it does not reach is left out."""


@dataclass(frozen=True)
class CheckedNetwork:
    """A network that was not fitted: measured and foretold, milliseconds."""

    name: str
    kind: str
    measured_ms: float
    predicted_ms: float

    @property
    def percent(self) -> float:
        """Error in percent of the measured figure; positive = foretold too slow."""
        return 100 * (self.predicted_ms / self.measured_ms - 1)


@dataclass(frozen=True)
class CalibrationResult(Result):
    """What a calibration found: networks ``measured``, those that ``failed`` and why, and what disturbed the last sitting.

    ``noise_percent`` is by how much a network differs from itself, on average.
    """

    profile: DeviceProfile
    path: Path
    judged: tuple[CheckedNetwork, ...]
    noise_percent: float
    measured: int
    failed: tuple[tuple[str, str], ...]
    seconds: float
    warnings: tuple[str, ...]

    @property
    def noise_rules(self) -> bool:
        """Whether the figures scatter more than the forecasts miss: the noise is then the error that is stored."""
        return self.noise_percent > statistics.fmean(abs(one.percent) for one in self.judged)

    def to_table(self) -> Table:
        """One row a network that was not fitted, fastest first."""
        rows = [
            [network.name, network.kind, network.measured_ms, network.predicted_ms, network.percent]
            for network in sorted(self.judged, key=lambda network: network.measured_ms)
        ]
        return Table(["not fitted", "kind", "measured ms", "predicted ms", "error %"], rows)

    def to_dict(self) -> dict[str, Any]:
        """What ``nas calibrate --json`` prints."""
        return {
            "file": str(self.path), "profile": self.profile.to_dict(), "noise_percent": self.noise_percent,
            "noise_rules": self.noise_rules, "measured": self.measured, "seconds": self.seconds,
            "failed": dict(self.failed), "warnings": list(self.warnings),
            "judged": [dataclasses.asdict(network) | {"percent": network.percent} for network in self.judged],
        }  # fmt: skip

    def __str__(self) -> str:
        """The table, the errors and what disturbed the measurements."""
        error = self.profile.error
        judged, fitted = cell(error["judged_mape_percent"]), cell(error["fitted_mape_percent"])
        lines = [
            str(self.to_table()),
            f"\nerror on {len(self.judged)} networks not fitted: {judged} % (fitted ones: {fitted} %)",
            f"a network measured twice differs from itself by {cell(self.noise_percent)} % on average",
        ]
        if self.noise_rules:
            lines.append("warning: the noise is larger than that error, so the profile states the noise as its error")
        lines += [f"warning: {warning}" for warning in self.warnings]
        lines += [f"warning: {task} was left out: {reason}" for task, reason in self.failed]
        lines.append(f"\nwrote {self.path} after {self.seconds:.0f} s; use it with --device {self.profile.name}")
        return "\n".join(lines)


def measure_tasks(
    chosen: Sequence[CalibrationNetwork], target: Target, journal: Journal, until_s: float, log: Callable[[str], None], clock: Clock = time.perf_counter_ns
) -> None:
    """Visit networks pass by pass until ``until_s`` seconds are spent, those of earlier sittings included.

    The first pass may take a little more than half of them; later ones visit what the first one did.
    """
    start = time.monotonic() - journal.spent_s
    seen = {(v.task, v.number) for v in journal.visits}
    for number in range(1, MOST_PASSES + 1):
        end = until_s * (FIRST_PASS if number == 1 else 1.0)
        first = {task for task, n in seen if n == 1}
        due = [t for t in chosen if t.name not in journal.failed and (number == 1 or t.name in first)]
        order = due if number == 1 else [due[i] for i in np.random.default_rng(number).permutation(len(due))]
        for done, task in enumerate(order):
            spent = time.monotonic() - start
            if spent > end:
                break
            if (task.name, number) in seen:
                continue
            log(f"{min(1.0, spent / until_s):4.0%}  pass {number}, network {done + 1} of {len(order)}, {max(0.0, until_s - spent):.0f} s left at most")
            try:
                session = open_network(task.make(), target)
            except BadInput as error:
                journal.fail(task.name, str(error), time.monotonic() - start)
                if len(journal.failed) > MOST_FAILED * len(chosen):
                    raise BadInput(f"{len(journal.failed)} of {len(chosen)} networks cannot be run here; the last one: {error}") from error
                continue
            warm_up(session, clock, most_s=2 * TURN_S)
            times = turn_of(session, TURN_S, TURN_RUNS, clock)
            del session
            journal.add(Visit(task.name, number, statistics.median(times), len(times)), time.monotonic() - start)
            seen.add((task.name, number))


def calibrate(
    target: Target, name: str, folder: Path, minutes: float = 5.0, seed: int = 0, command: str = "",
    log: Callable[[str], None] = lambda text: None, clock: Clock = time.perf_counter_ns, design: Design | None = None,
) -> CalibrationResult:  # fmt: skip
    """Measure, fit, judge, and write ``folder/name.yaml`` with the measurements in ``folder/name.measured/`` beside it."""
    from nas.devices.profile import SHIPPED

    if not name or not all(c.isalnum() or c in "._-" for c in name) or name.startswith("."):
        raise BadInput(f"name {name!r} must be letters, digits, '-', '_' and '.'")
    if (SHIPPED / f"{name}.yaml").exists():
        raise BadInput(f"name {name!r} is a profile that ships with the workbench: choose another with --name")
    if not math.isfinite(minutes) or not 0 < minutes <= 600:
        raise BadInput(f"minutes {minutes!r} must be above 0 and at most 600")
    start = time.monotonic()
    design = design or Design.of_device(target.device)
    chosen = designed_tasks(design, seed)
    data = folder / f"{name}.measured"
    header = {"design": DESIGN, **dataclasses.asdict(design), "seed": seed, "hardware": target.hardware(), "runtime": target.describe(), "precision": target.precision}
    with lock_folder(data, "folder of a calibration", "--name"):
        journal = Journal(data / "journal.jsonl", header)
        before = journal.spent_s
        if journal.resumed and journal.visits:
            log(f"goes on after {len(journal.visits)} measurements of an interrupted calibration")
        watch = NoiseWatch().start()
        try:
            measure_tasks(chosen, target, journal, 60 * minutes * MEASURING_SHARE, log, clock)
        finally:
            journal.close()
        warnings = watch.stop().warnings(cpus(), target.threads)
        log("fitting")
        profile, judged, noise = fit_and_judge(chosen, journal, target, name, minutes, command, design)
        path = folder / f"{name}.yaml"
        _keep(data, chosen, journal)
        write_atomic(path, profile.to_yaml())
        # Measured to the end: the next calibration begins anew.
        journal.path.unlink()
    failed = tuple(journal.failed.items())
    return CalibrationResult(profile, path, tuple(judged), noise, len(journal.figures()), failed, before + time.monotonic() - start, tuple(warnings))


def fit_and_judge(
    chosen: Sequence[CalibrationNetwork], journal: Journal, target: Target, name: str, minutes: float, command: str, design: Design
) -> tuple[DeviceProfile, list[CheckedNetwork], float]:
    """The profile, the networks it was judged on, and the noise in percent; refuses what the figures cannot carry."""
    from nas.devices.fit import Setting, fit_model, networks_problem

    figures = journal.figures()
    fitted = [t for t in chosen if not t.judges and t.name in figures]
    judges = [t for t in chosen if t.judges and t.name in figures]
    if len(fitted) < design.fewest_fitted or len(judges) < design.fewest_judges:
        raise BadInput(
            f"{minutes:g} minutes were enough for {len(fitted)} networks to fit and {len(judges)} to judge by, at least {design.fewest_fitted} and "
            f"{design.fewest_judges} are needed: the same command with more --minutes goes on from here"
        )
    noise = journal.noise_percent()
    if not math.isfinite(noise):
        raise BadInput(f"{minutes:g} minutes were not enough to measure anything twice: the same command with more --minutes goes on from here")
    if noise > MOST_NOISE_PERCENT:
        journal.path.unlink()
        raise BadInput(
            f"this machine is too noisy to calibrate: the same network differs from itself by {noise:.0f} % on average, at most {MOST_NOISE_PERCENT:g} % is allowed; "
            "end other programs and begin again" + (ONE_THREAD if target.threads > 1 else "")
        )
    points = [_point(task, figures[task.name]) for task in fitted]
    problem = networks_problem(points)
    model, fixed_ms = fit_model(problem, Setting("cpu" if target.device == "cpu" else "gpu", target.precision))
    strangers = networks_problem([_point(task, figures[task.name]) for task in judges])
    found = strangers.predict(model, fixed_ms)
    judged = [CheckedNetwork(t.name, t.kind, figures[t.name], float(ms)) for t, ms in zip(judges, found, strict=True)]
    inner = statistics.fmean(abs(100 * (problem.predict(model, fixed_ms) / problem.ms - 1)))
    return _profile(model, fixed_ms, target, name, len(points), judged, noise, inner, command), judged, noise


def _point(task: CalibrationNetwork, ms: float) -> MeasuredNetwork:
    from nas.devices.measurements import MeasuredNetwork, costed

    network = task.make()
    return MeasuredNetwork(task.name, task.kind, network.size[0], ms, network.graph, costed(network.graph.table(network.table_px)))


def _profile(
    model: Any, fixed_ms: float, target: Target, name: str, points: int, judged: Sequence[CheckedNetwork], noise: float, inner: float, command: str
) -> DeviceProfile:
    """The profile; its error is that on networks it did not see, or the noise where that is larger."""
    from nas.devices.profile import DeviceProfile
    from nas.kendall import kendall

    mape = statistics.fmean(abs(one.percent) for one in judged)
    tau = kendall([one.predicted_ms for one in judged], [one.measured_ms for one in judged])
    kinds = dict.fromkeys(one.kind for one in judged)
    error: dict[str, Any] = {"mape_percent": round(max(mape, noise), 3)}
    if math.isfinite(tau):
        error["kendall_tau"] = round(tau, 4)
    error |= {
        "judged_mape_percent": round(mape, 3), "noise_percent": round(noise, 3), "fitted_mape_percent": round(inner, 3),
        "mape_percent_by_family": {k: round(statistics.fmean(abs(one.percent) for one in judged if one.kind == k), 3) for k in kinds},
        "percent_by_network": {one.name: round(one.percent, 3) for one in judged},
    }  # fmt: skip
    return DeviceProfile(
        name=name, hardware=target.hardware(), runtime=target.describe(), precision=target.precision, batch=1, resolution_us=0.1,
        model=model, fixed_ms=fixed_ms, points=points, error=error, command=command,
        fitted_on=f"{points} designed chains and random detectors measured on this machine; errors on {len(judged)} networks not fitted",
    )  # fmt: skip


def _keep(data: Path, chosen: Sequence[CalibrationNetwork], journal: Journal) -> None:
    """The measurements in the layout that ``nas devices fit`` reads: ``latency.csv`` and ``graphs.jsonl.gz``."""
    figures = journal.figures()
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["model", "family", "input_px", "fitted", "measured_ms"])
    lines = []
    for task in sorted(chosen, key=lambda t: t.name):
        if task.name in figures:
            network = task.make()
            rows.writerow([task.name, task.kind, network.size[0], "no" if task.judges else "yes", f"{figures[task.name]:.6f}"])
            lines.append(json.dumps(network.graph.to_json() | {"name": task.name}))
    write_atomic(data / "graphs.jsonl.gz", gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0))
    write_atomic(data / "latency.csv", table.getvalue())
