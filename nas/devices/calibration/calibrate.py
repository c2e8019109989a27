"""Calibrate this machine: measure, fit, check, and write a latency profile."""

from __future__ import annotations

import csv
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

from nas.devices.calibration.fit import HeldOutNetwork, fit_calibration
from nas.devices.calibration.journal import Journal, Visit
from nas.devices.calibration.measure import MEASURING_SHARE, TURN_RUNS, measure_networks
from nas.devices.calibration.networks import DESIGN, CalibrationNetwork, Design, designed_networks
from nas.devices.measured.exchange_file import MeasurementSet, write_exchange
from nas.devices.measured.here import device_here, runtime_here, today, tool
from nas.devices.measured.measurement import Measurement, Protocol
from nas.devices.noise import NoiseWatch
from nas.devices.runtimes.runtime import Target
from nas.devices.session import runtime_text
from nas.devices.timing import Clock
from workbench.console import cell, table
from workbench.errors import BadInput
from workbench.files import write_atomic
from workbench.hardware import cpus
from workbench.locks import lock_folder
from workbench.tables import Result

if TYPE_CHECKING:
    from nas.devices.profile import DeviceProfile

STATISTIC = "median over visits of the ratio to a reference network timed between the runs"


@dataclass(frozen=True)
class CalibrationRequest:
    """What to make: the profile's name, the time for all of it, and the seed of the designed set and its order.

    ``command`` is recorded in the profile. ``design`` None takes the one of the device.
    """

    name: str
    minutes: float = 5.0
    seed: int = 0
    command: str = ""
    design: Design | None = None

    def __post_init__(self) -> None:
        from nas.devices.profile import SHIPPED

        name = self.name
        if not name or not all(c.isalnum() or c in "._-" for c in name) or name.startswith("."):
            raise BadInput(f"name {name!r} must be letters, digits, '-', '_' and '.'")
        if (SHIPPED / f"{name}.yaml").exists():
            raise BadInput(f"name {name!r} is a profile that ships with the workbench: choose another with --name")
        if not math.isfinite(self.minutes) or not 0 < self.minutes <= 600:
            raise BadInput(f"minutes {self.minutes!r} must be above 0 and at most 600")
        if self.seed < 0:
            raise BadInput(f"seed {self.seed} must be at least 0")


@dataclass(frozen=True)
class CalibrationResult(Result):
    """A written profile, its errors on held-out networks, how many were measured, and which ``failed`` and why.

    ``noise_percent`` is the mean difference of two visits to the same network, each over the reference network at its
    moment; ``drift_percent`` is that of the plain times. ``warnings`` are of the last run.
    """

    profile: DeviceProfile
    path: Path
    held_out: tuple[HeldOutNetwork, ...]
    noise_percent: float
    drift_percent: float
    measured: int
    failed: tuple[tuple[str, str], ...]
    seconds: float
    warnings: tuple[str, ...]

    @property
    def noise_exceeds_error(self) -> bool:
        """Whether the noise is larger than the error on held-out networks and is stored instead of it."""
        return self.noise_percent > statistics.fmean(abs(network.percent) for network in self.held_out)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as in ``nas calibrate --json``."""
        return {
            "file": str(self.path),
            "profile": self.profile.to_dict(),
            "noise_percent": self.noise_percent,
            "drift_percent": self.drift_percent,
            "noise_rules": self.noise_exceeds_error,
            "measured": self.measured,
            "seconds": self.seconds,
            "failed": dict(self.failed),
            "warnings": list(self.warnings),
            "judged": [network.to_dict() for network in self.held_out],
        }

    def to_table(self) -> tuple[list[str], list[list[Any]]]:
        """Header and one row a held-out network, fastest first."""
        networks = sorted(self.held_out, key=lambda network: network.measured_ms)
        rows: list[list[Any]] = [[n.name, n.kind, n.measured_ms, n.predicted_ms, n.percent] for n in networks]
        return ["not fitted", "kind", "measured ms", "predicted ms", "error %"], rows

    def __str__(self) -> str:
        error = self.profile.error
        lines = [
            table(*self.to_table()),
            f"\nerror on {len(self.held_out)} networks not fitted: {cell(error['judged_mape_percent'])} % "
            f"(fitted ones: {cell(error['fitted_mape_percent'])} %)",
            f"a network measured twice differs from itself by {cell(self.noise_percent)} % on average "
            f"({cell(self.drift_percent)} % before the speed of the machine is divided out)",
        ]
        if self.noise_exceeds_error:
            lines.append(
                "warning: the noise is larger than that error, so the profile states the noise as its error; a "
                "quieter machine would tell more"
            )
        lines += [f"warning: {warning}" for warning in self.warnings]
        lines += [f"warning: {name} was left out: {reason}" for name, reason in self.failed]
        lines.append(f"\nwrote {self.path} after {self.seconds:.0f} s; use it with --device {self.profile.name}")
        return "\n".join(lines)


def calibrate(
    target: Target,
    folder: Path,
    request: CalibrationRequest,
    log: Callable[[str], None] = lambda text: None,
    clock: Clock = time.perf_counter_ns,
) -> CalibrationResult:
    """Measure, fit, check, and write ``folder/NAME.yaml`` with the measurements in ``folder/NAME.measured/``.

    An interrupted calibration is resumed by the same call.
    """
    start = time.monotonic()
    name, minutes, design = request.name, request.minutes, request.design or Design.of_device(target.device)
    networks = designed_networks(design, request.seed)
    data = folder / f"{name}.measured"
    header = {
        "design": DESIGN,
        **design.to_dict(),
        "seed": request.seed,
        "hardware": target.hardware(),
        "runtime": runtime_text(target),
        "precision": target.precision,
    }
    with lock_folder(data, "folder of a calibration", "--name"):
        journal = Journal(data / "journal.jsonl", header)
        earlier_s = journal.spent_s
        if journal.resumed and journal.visits:
            log(f"goes on after {len(journal.visits)} measurements of an interrupted calibration")
        needed = design.min_fitted + design.min_held_out
        watch = NoiseWatch().start()
        try:
            measure_networks(networks, target, journal, 60 * minutes * MEASURING_SHARE, log, clock, needed)
        finally:
            journal.close()
        warnings = watch.stop().warnings(cpus(), target.threads)
        log("fitting")
        fit = fit_calibration(networks, journal, target, design, minutes)
        profile = fit.to_profile(target, name, request.command)
        path = folder / f"{name}.yaml"
        _write_measurements(data, networks, journal, target)
        write_atomic(path, profile.to_yaml())
        # Finished: the next calibration starts from the beginning.
        journal.path.unlink()
    return CalibrationResult(
        profile,
        path,
        fit.held_out,
        fit.noise_percent,
        journal.drift_percent(),
        len(journal.times_ms()),
        tuple(journal.failed.items()),
        earlier_s + time.monotonic() - start,
        tuple(warnings),
    )


def _write_measurements(
    data: Path, networks: Sequence[CalibrationNetwork], journal: Journal, target: Target
) -> None:
    """Write ``latency.csv`` and ``graphs.jsonl.gz``, and ``measurements.jsonl.gz`` to be sent to others."""
    times = journal.times_ms()
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["model", "family", "input_px", "fitted", "measured_ms"])
    graphs = []
    for network in sorted(networks, key=lambda n: n.name):
        if network.name in times:
            made = network.make()
            fitted = "no" if network.held_out else "yes"
            rows.writerow([network.name, network.kind, made.size[0], fitted, f"{times[network.name]:.6f}"])
            graphs.append(json.dumps(made.graph.to_json() | {"name": network.name}))
    write_atomic(data / "graphs.jsonl.gz", gzip.compress(("\n".join(graphs) + "\n").encode(), mtime=0))
    write_atomic(data / "latency.csv", text.getvalue())
    write_exchange(data / "measurements.jsonl.gz", _measurements(networks, journal, target))


def _measurements(networks: Sequence[CalibrationNetwork], journal: Journal, target: Target) -> MeasurementSet:
    """The measured networks in the form in which measurements are exchanged; a round is a visit."""
    visits: dict[str, list[Visit]] = {}
    for visit in journal.visits:
        visits.setdefault(visit.network, []).append(visit)
    times = journal.times_ms()
    found = MeasurementSet()
    device, runtime = device_here(target), runtime_here(target)
    for network in sorted((n for n in networks if n.name in visits), key=lambda n: n.name):
        made, own = network.make(), visits[network.name]
        protocol = Protocol(STATISTIC, host_work=False, decoding=False, repeats=TURN_RUNS, rounds=len(own))
        measurement = Measurement(
            network=found.add_graph(made.graph), name=network.name, ms=times[network.name],
            input_px=made.size, family=network.kind, device=device, runtime=runtime, protocol=protocol,
            runs=sum(visit.runs for visit in own), rounds_ms=journal.rounds_ms(network.name), date=today(),
            tool=tool(),
        )  # fmt: skip
        found.rows.append(measurement)
    return found
