"""How well `nas calibrate` knows this CPU: networks that no fit has seen, measured and predicted; the same bench twice.

Run ``python benchmarks/latency_cpu.py --page docs/benchmarks/latency-cpu.md`` on an otherwise idle machine (about a
quarter of an hour, two cores; seed 0). It calibrates with the shipped defaults, searches 20 detectors (four in each
space: two under FLOPs, two under milliseconds of the new profile, which is where a search would exploit its faults),
measures them and the smallest model of every family of the zoo twice, and writes its tables between the marks of the
page. ``--profile FILE`` evaluates an existing profile instead of calibrating.

``--cpu-time`` is for a machine that other programs share: it runs one thread and counts the time that this thread
has had a CPU, in calibration and benches alike. That leaves out the waiting, though not what others do to caches and
memory.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import nas
from nas.costs import SpaceCosts
from nas.devices.calibration.calibrate import CalibrationRequest
from nas.devices.calibration.calibrate import calibrate as in_house
from nas.devices.find_network import find_network
from nas.devices.interval import interval_ms
from nas.devices.network import Network
from nas.devices.noise import NoiseWatch
from nas.devices.profile import DeviceProfile, read_profile
from nas.devices.session import choose_target, open_network
from nas.devices.timing import Clock, Plan, Timing, time_networks, timing_warnings
from nas.kendall import kendall
from search_spaces.lowering import lower
from search_spaces.space_file import load_space, space_names
from workbench.console import Progress
from workbench.files import write_atomic
from workbench.hardware import cpus

ZOO = {"damo-yolo-ns": 416, "yolox-nano": 416, "yolo11n": 640, "yolo26n": 640, "rtdetrv2-s": 640, "yolov7": 640}
"""The smallest model of every family, at its own input side in pixels."""
SHARES = (0.1, 0.4)
"""Budgets of FLOPs: this share of 4,096 random detectors of the space keep them."""
FASTER = 0.8
"""Budget of the searches under milliseconds, as a share of the latency predicted for those under FLOPs."""
STEPS = 20_000
PX = 640
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def calibrate(folder: Path, threads: int | None, clock: Clock | None) -> tuple[DeviceProfile, dict[str, Any]]:
    """A fresh profile in ``folder``, made by the command itself unless by another clock, and what came of it."""
    if clock is not None:
        progress = Progress()
        request = CalibrationRequest("this-cpu", command="benchmarks/latency_cpu.py --cpu-time")
        made = in_house(choose_target(threads=threads), folder, request, progress.show, clock)
        progress.done()
        return made.profile, {
            "seconds": made.seconds,
            "measured": made.measured,
            "judged": made.held_out,
            "noise_percent": made.noise_percent,
        }
    command = [sys.executable, "-m", "nas.cli", "calibrate", "--device", "cpu", "--name", "this-cpu", "--json"]
    command += ["--threads", str(threads)] if threads else []
    done = subprocess.run(
        command, env={**os.environ, "NAS_DEVICES": str(folder)}, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.returncode)
    found: dict[str, Any] = json.loads(done.stdout)
    return read_profile(folder / "this-cpu.yaml"), found


def searched(
    profile: DeviceProfile, profile_file: Path, runs: Path, spaces: Sequence[str], steps: int, progress: Progress
) -> list[Network]:
    """Twenty search results: every space, two budgets of FLOPs, and two of milliseconds below them."""
    found = []
    for seed, space in enumerate(spaces):
        rulers = SpaceCosts(load_space(space), None, PX)
        costs = rulers.costs(rulers.space.sample(4096, np.random.default_rng(seed)))["flops"]
        for gflops in np.quantile(costs, SHARES) / 1e9:
            limit = f"{gflops:.3g}GFLOPs"
            for device in (None, str(profile_file)):
                progress.show(f"searching {space} under {limit}", force=True)
                result = nas.search(
                    limit, device, space=space, strategy="evolution", steps=steps, seed=seed, input_px=PX, runs=runs,
                    name=f"{space}-{limit}", pictures=False,
                )  # fmt: skip
                network = Network.of_graph(lower(result.best.architecture), (PX, PX))
                label = f"{space}, {limit}"
                found.append(dataclasses.replace(network, name=label).with_cached_onnx())
                limit = f"{FASTER * profile.latency_ms(network.graph, network.table_px):.4g}ms"
    return found


def bench(
    networks: list[Network], threads: int | None, plan: Plan, clock: Clock, progress: Progress
) -> tuple[list[Timing], list[str]]:
    """One bench of all networks, and what disturbed it."""
    target = choose_target(threads=threads)
    sessions = []
    for network in networks:
        progress.show(f"loading {network.name}")
        sessions.append(open_network(network, target))
    watch = NoiseWatch().start()
    timings = time_networks(sessions, plan, progress.show, clock, reopen=lambda i: open_network(networks[i], target))
    return timings, watch.stop().warnings(cpus(), target.threads)


def table(header: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])


@dataclass(frozen=True)
class Comparison:
    """Networks with predicted and measured latencies, index by index."""

    networks: list[Network]
    predicted_ms: list[float]
    benches: list[list[Timing]]
    """Two benches of all networks."""

    def __post_init__(self) -> None:
        assert len(self.benches) == 2

    @property
    def measured_ms(self) -> list[float]:
        """Medians of the first bench."""
        return [timing.p50_ms for timing in self.benches[0]]

    @property
    def errors_percent(self) -> list[float]:
        """Errors of the predictions."""
        return [100 * (p / m - 1) for p, m in zip(self.predicted_ms, self.measured_ms, strict=True)]

    def summary_row(self, profile: DeviceProfile, group: str, members: Sequence[int]) -> list[str]:
        """The summary of the networks at indices ``members``."""
        first, second = self.benches
        errors, measured = [self.errors_percent[i] for i in members], self.measured_ms
        inside = 0
        for i in members:
            band = interval_ms(profile, self.predicted_ms[i])
            inside += band is not None and band.low_ms <= measured[i] <= band.high_ms
        tau = kendall([self.predicted_ms[i] for i in members], [measured[i] for i in members])
        agree = sum(low <= second[i].p50_ms <= high for i in members for low, high in [first[i].interval_ms()])
        return [
            group, str(len(errors)), f"{statistics.fmean(abs(e) for e in errors):.1f}",
            f"{statistics.fmean(errors):+.1f}", f"{max(errors, key=abs):+.1f}", f"{tau:.3f}",
            f"{inside} of {len(errors)}", f"{agree} of {len(errors)}",
        ]  # fmt: skip

    def network_row(self, i: int) -> list[str]:
        """The figures of one network."""
        low, high = self.benches[0][i].interval_ms()
        return [
            self.networks[i].name, str(self.networks[i].size[0]), f"{self.measured_ms[i]:.2f}",
            f"{low:.2f} to {high:.2f}", f"{self.benches[1][i].p50_ms:.2f}", f"{self.predicted_ms[i]:.2f}",
            f"{self.errors_percent[i]:+.1f}",
        ]  # fmt: skip


def report(
    profile: DeviceProfile, calibrated: dict[str, Any] | None, comparison: Comparison, disturbances: list[str]
) -> str:
    """Everything that the page shows."""
    indices = range(len(comparison.networks))
    zoo = [i for i in indices if comparison.networks[i].name in ZOO]
    search_results = [i for i in indices if i not in zoo]
    groups = {"zoo, smallest of each family": zoo, "search results": search_results, "all": indices}
    summary = [comparison.summary_row(profile, group, members) for group, members in groups.items()]
    rows = [comparison.network_row(i) for i in indices]
    lines = [f"{datetime.date.today()}; {profile.hardware}; {profile.runtime}; FP32, batch 1.", ""]
    if calibrated is not None:
        lines += [
            f"Calibration: {calibrated['seconds']:.0f} s for {calibrated['measured']} networks; {profile.points} "
            f"fitted with an error of {profile.error['fitted_mape_percent']:.1f} %, {len(calibrated['judged'])} judged "
            f"with {profile.error['judged_mape_percent']:.1f} %; a network measured twice differs from itself by "
            f"{calibrated['noise_percent']:.1f} % on average.", "",
        ]  # fmt: skip
    header = [
        "not fitted", "networks", "MAPE %", "mean error %", "worst %", "Kendall tau", "in the predicted 90 % interval",
        "second bench in the first one's interval",
    ]  # fmt: skip
    lines += [table(header, summary), ""]
    lines += [table(["network", "px", "p50 ms", "interval ms", "second p50 ms", "predicted ms", "error %"], rows), ""]
    marked = sum(bool(timing_warnings(timing)) for timings in comparison.benches for timing in timings)
    warnings = "; ".join(dict.fromkeys(disturbances)) or "none"
    lines.append(
        f"Disturbances that the bench itself reports: {warnings}; {marked} of {2 * len(rows)} measurements marked."
    )
    return "\n".join(lines)


def main() -> None:
    """Calibrate, search, measure twice, print, and fill the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, help="Markdown page whose part between the marks is replaced")
    parser.add_argument("--profile", type=Path, help="evaluate this profile instead of calibrating")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    parser.add_argument("--cpu-time", action="store_true", help="one thread, and its CPU time")
    parser.add_argument("--rounds", type=int, default=8, help="rounds of each bench")
    parser.add_argument(
        "--models",
        nargs="+",
        default=list(ZOO),
        choices=list(ZOO),
        help="of the zoo (default: the smallest of each family)",
    )
    parser.add_argument("--spaces", nargs="+", default=list(space_names()), help="spaces to search (default: all)")
    parser.add_argument("--steps", type=int, default=STEPS, help="candidates of each search")
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each network in each bench")
    args = parser.parse_args()
    progress, clock = Progress(), None
    if args.cpu_time:
        args.threads, clock = 1, time.thread_time_ns
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        calibrated = None
        if args.profile is None:
            profile, calibrated = calibrate(folder, args.threads, clock)
            file = folder / "this-cpu.yaml"
        else:
            file = args.profile
            profile = read_profile(file)
        networks = [find_network(model, px).with_cached_onnx() for model, px in ZOO.items() if model in args.models]
        networks += searched(profile, file, folder / "runs", args.spaces, args.steps, progress)
        predicted = [profile.latency_ms(network.graph, network.table_px) for network in networks]
        benches = [
            bench(
                networks, args.threads, Plan(args.seconds, rounds=args.rounds), clock or time.perf_counter_ns, progress
            )
            for _ in range(2)
        ]
    progress.done()
    comparison = Comparison(networks, predicted, [timings for timings, _ in benches])
    text = report(profile, calibrated, comparison, [w for _, warnings in benches for w in warnings])
    if args.cpu_time:
        text = "One thread; its time on a CPU, not the time on the clock.\n\n" + text
    print(text)
    if args.page is not None:
        page = args.page.read_text(encoding="utf-8")
        head, _, rest = page.partition(BEGIN)
        _, _, tail = rest.partition(END)
        write_atomic(args.page, f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}")


if __name__ == "__main__":
    main()
