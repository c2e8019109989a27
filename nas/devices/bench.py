"""Measure networks on this machine, in turns, beside the prediction of a profile."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.devices.find_network import find_network
from nas.devices.measured.exchange_file import MeasurementSet
from nas.devices.measured.here import device_here, runtime_here, today, tool
from nas.devices.measured.measurement import UNNAMED, Measurement, Protocol, counted
from nas.devices.measured.networks import family_of
from nas.devices.network import Network
from nas.devices.noise import Noise, NoiseWatch
from nas.devices.profile import DeviceProfile, read_profile, user_folder
from nas.devices.reference import open_reference
from nas.devices.runtimes.runtime import Target
from nas.devices.session import open_network, runtime_text
from nas.devices.timing import Plan, Timing, time_networks, timing_warnings
from workbench.console import cell, table
from workbench.errors import BadInput
from workbench.hardware import cpus
from workbench.tables import Result

STATISTIC = "median of the rounds' medians, loaded anew each round"


@dataclass(frozen=True)
class BenchRow:
    """One measured network; ``model`` is what was asked for, ``ratio`` its p50 over that of the first network.

    Ratios are of times at one speed of the machine; ``calibrated_ms`` is the p50 at the speed that the profile of this
    machine describes, None unless it states it.
    """

    model: str
    network: Network
    timing: Timing
    ratio: float
    predicted_ms: float | None
    error_percent: float | None
    """Error of the prediction, of ``calibrated_ms`` where that is known; None unless the profile is of this machine."""
    calibrated_ms: float | None = None

    @property
    def unknown_ops(self) -> list[str]:
        """Ops that the profile does not know, predicted as memory traffic."""
        return list(self.network.graph.meta.get("unknown_ops", ()))

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        timing = self.timing
        return {
            "model": self.model,
            "name": self.network.name,
            "height": self.network.size[0],
            "width": self.network.size[1],
            "p50_ms": timing.p50_ms,
            "interval_ms": list(timing.interval_ms()),
            "p95_ms": timing.p95_ms,
            "best_ms": timing.best_ms,
            "ratio": self.ratio,
            "reference_ms": statistics.median(timing.reference_ms),
            "reference_rounds_ms": list(timing.reference_ms),
            "calibrated_ms": self.calibrated_ms,
            "predicted_ms": self.predicted_ms,
            "predicted_error_percent": self.error_percent,
            "runs": len(timing.runs),
            "rounds_ms": timing.medians,
            "warm_up_runs": timing.warm_up_runs,
            "warnings": timing_warnings(timing),
        }


@dataclass(frozen=True)
class BenchResult(Result):
    """Measured networks in the order asked for, the target, the profile beside, and other load on the machine."""

    rows: tuple[BenchRow, ...]
    target: Target
    profile: DeviceProfile | None
    noise: Noise
    plan: Plan = field(default_factory=Plan)
    file: Path | None = None
    """The file of measurements that these were appended to."""

    @property
    def ms(self) -> float:
        """Median latency of the first network in milliseconds."""
        return self.rows[0].timing.p50_ms

    @property
    def speed(self) -> float | None:
        """Speed of this machine during the measurement over that at its calibration; None if the latter is unknown."""
        known = _known_reference_ms(self.profile, self.target)
        now = statistics.median(ms for row in self.rows for ms in row.timing.reference_ms)
        return None if known is None else known / now

    @property
    def warnings(self) -> list[str]:
        """What disturbed the whole measurement."""
        return self.noise.warnings(cpus(), self.target.threads)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as in ``nas bench --json``."""
        return {
            "device": self.target.device,
            "hardware": self.target.hardware(),
            "runtime": runtime_text(self.target),
            "threads": self.target.threads,
            "precision": self.target.precision,
            "batch": 1,
            "profile": None if self.profile is None else self.profile.name,
            "speed": self.speed,
            "load_before": self.noise.load_before,
            "others_share": self.noise.others,
            "warnings": self.warnings,
            "file": None if self.file is None else str(self.file),
            "networks": [row.to_dict() for row in self.rows],
        }

    def to_table(self) -> tuple[list[str], list[list[Any]]]:
        """Header and one row a network."""
        header = ["network", "pixels", "p50 ms", "interval ms", "p95 ms", "ratio"]
        header += ["calibrated ms"] if self.speed is not None else []
        header += ["predicted ms", "error %"] if self.profile else []
        rows: list[list[Any]] = []
        for row in self.rows:
            (low, high), (height, width), timing = row.timing.interval_ms(), row.network.size, row.timing
            interval = f"{cell(low)} to {cell(high)}"
            cells = [row.network.name, f"{height} x {width}", timing.p50_ms, interval, timing.p95_ms, row.ratio]
            cells += [row.calibrated_ms] if self.speed is not None else []
            rows.append(cells + ([row.predicted_ms, row.error_percent] if self.profile else []))
        return header, rows

    def __str__(self) -> str:
        target = self.target
        where = f"{target.hardware()}; {runtime_text(target)}; {target.precision}, batch 1"
        interval = "interval: where another run puts its p50, 19 times in 20"
        lines = [table(*self.to_table()), f"\n{where}. {interval}", self._profile_line()]
        for row in self.rows:
            lines += [f"warning: {row.network.name}: {warning}" for warning in timing_warnings(row.timing)]
        lines += [f"warning: {warning}" for warning in self.warnings]
        for row in self.rows:
            if row.unknown_ops:
                unknown = ", ".join(row.unknown_ops)
                lines.append(f"warning: {row.network.name}: predicted as memory traffic: {unknown}")
        if self.file is not None:
            lines.append(f"\nadded {counted(len(self.rows), 'measurement')} to {self.file}")
        return "\n".join(lines)

    def measurements(self, source: str = UNNAMED) -> MeasurementSet:
        """The measurements in the form in which they are exchanged, with ``source`` for who measured them."""
        found = MeasurementSet()
        device, runtime = device_here(self.target), runtime_here(self.target)
        for row in self.rows:
            timing, graph = row.timing, row.network.graph
            protocol = Protocol(
                STATISTIC, host_work=False, decoding=False if row.network.module is not None else None,
                warm_up_runs=timing.warm_up_runs, repeats=self.plan.repeats, rounds=len(timing.rounds),
                seconds=self.plan.seconds,
            )  # fmt: skip
            measurement = Measurement(
                network=found.add_graph(graph), name=row.network.name, ms=timing.p50_ms, input_px=row.network.size,
                family=_family(row.network), device=device, runtime=runtime, protocol=protocol,
                interval_ms=timing.interval_ms(), p95_ms=timing.p95_ms, runs=len(timing.runs),
                rounds_ms=tuple(timing.medians), warnings=(*self.warnings, *timing_warnings(timing)), date=today(),
                tool=tool(), source=source,
            )  # fmt: skip
            found.rows.append(measurement)
        return found

    def _profile_line(self) -> str:
        profile = self.profile
        if profile is None:
            return "no profile of this machine: nas calibrate makes one, and a prediction then stands beside"
        name = f"profile {profile.name} ({profile.hardware}; {profile.runtime})"
        if profile.hardware != self.target.hardware():
            return f"predicted for another device: {name}"
        error = profile.error.get("mape_percent")
        line = f"predicted by {name}" + (f", whose usual error is {cell(float(error))} %" if error is not None else "")
        if self.speed is None:
            return line
        speed = f"this machine ran at {cell(self.speed)} of its speed at the calibration"
        return f"{line}\n{speed}; calibrated ms are at that speed"


def bench(
    models: Sequence[str | Network],
    target: Target,
    plan: Plan | None = None,
    input_px: int | None = None,
    profile: DeviceProfile | None = None,
    log: Callable[[str], None] = lambda text: None,
) -> BenchResult:
    """Measure models (names as on the command line, or networks) on a target.

    ``profile`` is the one whose prediction is set beside; None takes this machine's own if there is one.
    """
    profile, plan = profile or own_profile(target), plan or Plan()
    names = [model if isinstance(model, str) else model.name for model in models]
    networks = [find_network(m, input_px) if isinstance(m, str) else m for m in models]
    networks = [network.with_cached_onnx() for network in networks]
    sessions = []
    for network in networks:
        log(f"loading {network.name}")
        sessions.append(open_network(network, target))
    watch = NoiseWatch().start()
    reference = open_reference(target)
    timings = time_networks(
        sessions, plan, log, reopen=lambda i: open_network(networks[i], target), reference=reference
    )  # fmt: skip
    noise = watch.stop()
    is_here = profile is not None and profile.hardware == target.hardware()
    known = _known_reference_ms(profile, target)
    first = timings[0].at_speed(1.0).p50_ms
    rows = []
    for name, network, timing in zip(names, networks, timings, strict=True):
        ms = None if profile is None else profile.latency_ms(network.graph, network.table_px)
        calibrated = None if known is None else timing.at_speed(known).p50_ms
        error = 100 * (ms / (calibrated or timing.p50_ms) - 1) if ms is not None and is_here else None
        rows.append(BenchRow(name, network, timing, timing.at_speed(1.0).p50_ms / first, ms, error, calibrated))
    return BenchResult(tuple(rows), target, profile, noise, plan)


def _known_reference_ms(profile: DeviceProfile | None, target: Target) -> float | None:
    """The reference network's time in the profile of this very target; None where it is of another or states none."""
    if profile is None or not profile.reference_ms:
        return None
    identity = (profile.hardware, profile.runtime, profile.precision)
    return profile.reference_ms if identity == (target.hardware(), runtime_text(target), target.precision) else None


def _family(network: Network) -> str:
    """The family that the graph states, that of the model of the zoo, or the name up to its first number."""
    from zoo.families.card import load_cards

    stated = network.graph.meta.get("family")
    card = load_cards().get(network.name)
    return str(stated or (card.family if card else family_of(network.name)))


def own_profile(target: Target) -> DeviceProfile | None:
    """The profile that ``nas calibrate`` made of this machine, runtime, threads and precision, if there is one."""
    identity = (target.hardware(), runtime_text(target), target.precision, 1)
    for path in sorted(user_folder().glob("*.yaml")):
        try:
            profile = read_profile(path)
        except BadInput:
            continue  # nas devices reports a broken file; here nobody asked for it
        if (profile.hardware, profile.runtime, profile.precision, profile.batch) == identity:
            return profile
    return None
