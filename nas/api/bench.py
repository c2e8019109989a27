"""``nas.bench``: measured latency on this machine, beside the prediction of its profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nas.api.arguments import Text, texts_of
from nas.devices.profile import DeviceProfile, load_device, read_profile, user_folder
from nas.devices.runtimes import Network, Target, choose_target, cpus, find_network, open_network, with_file
from nas.devices.timing import NoiseWatch, Plan, time_networks, timing_warnings
from workbench.console import Progress, cell
from workbench.errors import BadInput
from workbench.tables import Result, Table


@dataclass(frozen=True)
class BenchResult(Result):
    """Measured networks in the order in which they were named; ``rows`` have the keys of ``nas bench --json``."""

    rows: tuple[dict[str, Any], ...]
    target: Target
    profile: DeviceProfile | None
    load_before: float | None
    """System load before the first run."""
    others_share: float | None
    """Share of the CPUs that other processes took meanwhile."""
    warnings: tuple[str, ...]
    unknown_ops: dict[str, tuple[str, ...]]
    """Ops by network that the prediction counts as memory traffic."""

    @property
    def ms(self) -> float:
        """Median latency of the first network in milliseconds."""
        return float(self.rows[0]["p50_ms"])

    def to_table(self) -> Table:
        """One row a network."""
        header = ["network", "pixels", "p50 ms", "interval ms", "p95 ms", "ratio"]
        if self.profile:
            header += ["predicted ms", "error %"]
        rows: list[list[Any]] = []
        for row in self.rows:
            low, high = row["interval_ms"]
            cells = [row["name"], f"{row['height']} x {row['width']}", row["p50_ms"], f"{cell(low)} to {cell(high)}"]
            cells += [row["p95_ms"], row["ratio"]]
            rows.append(cells + ([row["predicted_ms"], row["predicted_error_percent"]] if self.profile else []))
        return Table(header, rows)

    def to_dict(self) -> dict[str, Any]:
        """What ``nas bench --json`` prints."""
        target = self.target
        return {
            "device": target.device, "hardware": target.hardware(), "runtime": target.describe(),
            "threads": target.threads, "precision": target.precision, "batch": 1,
            "profile": None if self.profile is None else self.profile.name, "load_before": self.load_before,
            "others_share": self.others_share, "warnings": list(self.warnings), "networks": list(self.rows),
        }  # fmt: skip

    def __str__(self) -> str:
        """The table, what was measured on what, and warnings."""
        target = self.target
        where = f"{target.hardware()}; {target.describe()}; {target.precision}, batch 1"
        lines = [str(self.to_table()), f"\n{where}. interval: holds the p50 of another run, 19 times in 20"]
        lines.append(self._prediction())
        lines += [f"warning: {row['name']}: {warning}" for row in self.rows for warning in row["warnings"]]
        lines += [f"warning: {warning}" for warning in self.warnings]
        for name, ops in self.unknown_ops.items():
            lines.append(f"warning: {name}: predicted as memory traffic: {', '.join(ops)}")
        return "\n".join(lines)

    def _prediction(self) -> str:
        profile = self.profile
        if profile is None:
            return "no profile of this machine: nas calibrate makes one, and its prediction is then shown beside"
        name = f"profile {profile.name} ({profile.hardware}; {profile.runtime})"
        if profile.hardware != self.target.hardware():
            return f"predicted for another device: {name}"
        error = profile.error.get("mape_percent")
        return f"predicted by {name}" + ("" if error is None else f", whose mean error is {cell(float(error))} %")


def bench(
    models: Text | Sequence[Text], *, device: str = "cpu", runtime: str | None = None, input_px: int | None = None,
    threads: int | None = None, precision: str = "FP32", seconds: float = 3.0, repeats: int = 3, rounds: int = 8,
    profile: str | None = None, quiet: bool = False,
) -> BenchResult:  # fmt: skip
    """Measure networks on this machine in turns, with an interval that holds the median of another run.

    Args:
        models: what ``nas.latency`` takes. Ours run without decoding; an ONNX file runs as it is.
        device: ``cpu`` or ``cuda``.
        runtime: ``onnxruntime``, ``openvino`` or ``torch``; None takes the device's default.
        input_px: side of the square input in pixels; None takes each model's own.
        threads: CPU threads; None takes all CPUs.
        precision: ``FP32``, or ``FP16`` with torch on CUDA.
        seconds: time for each network.
        repeats: least number of runs a round.
        rounds: number of rounds; their spread gives the interval.
        profile: device profile to compare with; None takes this machine's own, if it is calibrated.
    """
    texts, plan = texts_of(models), Plan(seconds, repeats, rounds)
    target = choose_target(device, runtime, threads, precision)
    compared = load_device(profile) if profile else own_profile(target)
    networks = [with_file(find_network(text, input_px)) for text in texts]
    sessions = []
    progress = Progress(quiet)
    try:
        for network in networks:
            progress.show(f"loading {network.name}", force=True)
            sessions.append(open_network(network, target))
        watch = NoiseWatch().start()
        reopen = lambda i: open_network(networks[i], target)  # noqa: E731
        timings = time_networks(sessions, plan, progress.show, reopen=reopen)
        noise = watch.stop()
    finally:
        progress.done()
    rows = []
    for text, network, timing in zip(texts, networks, timings, strict=True):
        row = _row(text, network, timing, compared, target)
        rows.append(row | {"ratio": timing.p50_ms / timings[0].p50_ms})
    unknown = {n.name: tuple(n.graph.meta["unknown_ops"]) for n in networks if n.graph.meta.get("unknown_ops")}
    warnings = tuple(noise.warnings(cpus(), target.threads))
    return BenchResult(tuple(rows), target, compared, noise.load_before, noise.others, warnings, unknown)


def _row(text: str, network: Network, timing: Any, profile: DeviceProfile | None, target: Target) -> dict[str, Any]:
    """One network as ``--json`` prints it, without its ratio to the first one."""
    low, high = timing.interval_ms()
    ms = None if profile is None else profile.latency_ms(network.graph, network.table_px)
    same_hardware = profile is not None and profile.hardware == target.hardware()
    return {
        "model": text, "name": network.name, "height": network.size[0], "width": network.size[1],
        "p50_ms": timing.p50_ms, "interval_ms": [low, high], "p95_ms": timing.p95_ms, "best_ms": timing.best_ms,
        "predicted_ms": ms,
        "predicted_error_percent": 100 * (ms / timing.p50_ms - 1) if ms is not None and same_hardware else None,
        "runs": len(timing.runs), "rounds_ms": timing.medians, "warm_up_runs": timing.warm_up_runs,
        "warnings": timing_warnings(timing),
    }  # fmt: skip


def own_profile(target: Target) -> DeviceProfile | None:
    """The profile that ``nas calibrate`` made for this machine, runtime, threads and precision, if there is one."""
    wanted = (target.hardware(), target.describe(), target.precision, 1)
    for path in sorted(user_folder().glob("*.yaml")):
        try:
            profile = read_profile(path)
        except BadInput:
            continue  # nas devices names a broken file; here nobody asked for it
        if (profile.hardware, profile.runtime, profile.precision, profile.batch) == wanted:
            return profile
    return None
