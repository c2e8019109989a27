"""Whether the latency of a shrunk detector is real: children cut to budgets of this CPU's own profile, and measured.

    python benchmarks/shrink_latency.py --out docs/benchmarks/shrink-latency.md

Calibrates one thread of this CPU (or takes ``--profile``), cuts three parents to four budgets each by the choice of
``nas shrink`` (importance by weight norms: latency does not depend on what was learned), and measures the twelve
children with ONNX Runtime. Time is that of the thread on a CPU, so that other programs only disturb the caches, and at
the speed that the machine had at its calibration (by the reference network).
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

from distill.importance.measure import measure_importance
from nas.budgets import parse_budget
from nas.costs import latency_profiles
from nas.devices.calibration.calibrate import CalibrationRequest, calibrate
from nas.devices.interval import interval_ms
from nas.devices.network import Network
from nas.devices.profile import DeviceProfile, read_profile
from nas.devices.reference import open_reference
from nas.devices.session import choose_target, open_network
from nas.devices.timing import Plan, time_networks
from nas.shrinking.choice import Chooser
from workbench.console import Progress
from workbench.files import write_atomic
from zoo.factory import build
from zoo.pruning.groups import channel_groups

PARENTS = ("yolox-s", "yolo11s", "damo-yolo-s")
SHARES = (0.8, 0.65, 0.5, 0.4)
CLOCK = time.thread_time_ns


def children(model: str, profile: DeviceProfile, input_px: int, shares: list[float]) -> list[tuple[float, Network]]:
    """Budget in milliseconds and child, for every share of the parent's latency."""
    torch.manual_seed(0)
    parent = build(model)
    scores = measure_importance(parent, channel_groups(parent), "norm")
    chooser = Chooser(parent, scores, latency_profiles(profile), input_px)
    made = []
    for share in shares:
        budget_ms = share * chooser.parent_costs["latency_ms"]
        choice = chooser.choose([parse_budget(f"{budget_ms:.6f}ms")])
        child = copy.copy(parent)
        child.recipe = dataclasses.replace(parent.recipe, cuts=choice.cuts)
        graph = child.graph(input_px)
        graph.name = f"{model} at {100 * share:.0f} %"
        made.append((budget_ms, Network.of_graph(graph, (input_px, input_px))))
    return made


def main(words: list[str] | None = None) -> int:
    """Print and write one row a child."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parents", nargs="+", default=list(PARENTS))
    parser.add_argument("--shares", nargs="+", type=float, default=list(SHARES))
    parser.add_argument("--profile", help="profile of one thread of this CPU by CPU time")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each child")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--input", type=int, default=320)
    parser.add_argument("--out")
    args = parser.parse_args(words)
    target, progress = choose_target(threads=1), Progress()
    with tempfile.TemporaryDirectory() as folder:
        if args.profile:
            profile = read_profile(Path(args.profile))
        else:
            request = CalibrationRequest("this-cpu", args.minutes, command="benchmarks/shrink_latency.py")
            calibrated = calibrate(target, Path(folder), request, progress.show, CLOCK)
            profile = calibrated.profile
            print(
                f"a network measured twice differs by {calibrated.drift_percent:.1f} %, over the reference network by "
                f"{calibrated.noise_percent:.1f} %; judged {profile.error['judged_mape_percent']:.1f} %"
            )
    made = [child for model in args.parents for child in children(model, profile, args.input, args.shares)]
    networks = [network.with_cached_onnx() for _, network in made]
    sessions = [open_network(network, target) for network in networks]
    plan = Plan(args.seconds, rounds=args.rounds)
    measured = time_networks(
        sessions, plan, progress.show, CLOCK, reopen=lambda i: open_network(networks[i], target),
        reference=open_reference(target),
    )  # fmt: skip
    known = profile.reference_ms
    timings = [timing.at_speed(known) if known else timing for timing in measured]
    progress.done()
    rows, errors = [], []
    for (budget_ms, network), timing in zip(made, timings, strict=True):
        predicted = profile.latency_ms(network.graph, network.table_px)
        interval = interval_ms(profile, budget_ms)
        assert interval is not None, "a calibrated profile states its error"
        errors.append(abs(predicted / timing.p50_ms - 1))
        kept = "yes" if timing.p50_ms <= interval.high_ms else "NO"
        rows.append(
            f"| {network.name} | {budget_ms:.2f} | {predicted:.2f} | {timing.p50_ms:.2f} | "
            f"{100 * (predicted / timing.p50_ms - 1):+.1f} | {interval.high_ms:.2f} | {kept} |"
        )
        print(rows[-1], flush=True)
    error = profile.error
    summary = (
        f"MAPE {100 * statistics.fmean(errors):.1f} % over {len(rows)} children; the profile's own error on others, "
        f"not fitted: {error.get('judged_mape_percent', error.get('mape_percent'))} %."
    )
    print(summary)
    header = "| child | budget, ms | predicted | measured | error, % | budget's interval ends at | within |"
    if args.out:
        table = "\n".join([header, "|---|--:|--:|--:|--:|--:|---|", *rows])
        write_atomic(args.out, f"```\npython benchmarks/shrink_latency.py\n```\n\n{table}\n\n{summary}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
