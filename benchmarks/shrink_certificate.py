"""How far a shrinking can be from the optimum, and how long that takes to prove: six medium detectors, two devices.

    python benchmarks/shrink_certificate.py --out docs/benchmarks/shrink-certificate.md

Every detector is cut to 70, 50 and 35 % of its own latency. Official weights are not needed: importance is drawn from a
skewed distribution with a fixed seed, a block costs what its units cost together, a decoder layer 2 % of everything.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

import numpy as np
import torch

from distill.importance.scores import ImportanceScores
from nas.budgets import parse_budget
from nas.costs import latency_profiles
from nas.devices.profile import load_device
from nas.shrinking.choice import Chooser
from workbench.files import write_atomic
from zoo.detector import Detector
from zoo.factory import build
from zoo.pruning.groups import channel_groups

MODELS = ("yolo11m", "yolo26m", "yolox-m", "yolov7", "damo-yolo-m", "rtdetrv2-m")
HEADER = (
    "| detector | device | share | ms | groups | kept importance | bound | gap, % | s | MiB |\n"
    "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n"
)


def drawn_importance(parent: Detector, seed: int) -> ImportanceScores:
    """Skewed, as that of trained detectors: a gamma distribution of shape 1/2 within groups, and one of their means."""
    groups, rng = channel_groups(parent), np.random.default_rng(seed)
    units = {g.name: rng.gamma(2.0) * rng.gamma(0.5, size=len(g)) for g in groups.groups}
    blocks = {path: sum(float(units[g.name].sum()) for g in groups.groups if g.block == path) for path in groups.blocks}
    total = sum(float(values.sum()) for values in units.values())
    stacks = {path: 0.02 * total * np.arange(n - 1, -1, -1.0) for path, n in groups.stacks.items()}
    return ImportanceScores(units, blocks, stacks, f"gamma, seed {seed}")


def main(words: list[str] | None = None) -> int:
    """Print and write one row a detector, device and share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--devices", nargs="+", default=["t4", "raspberry-pi-5"])
    parser.add_argument("--shares", nargs="+", type=float, default=[0.7, 0.5, 0.35])
    parser.add_argument("--input", type=int, default=640)
    parser.add_argument("--gap", type=float, default=1e-3)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out")
    args = parser.parse_args(words)
    rows: list[str] = []
    for model in args.models:
        with torch.device("meta"):
            parent = build(model)
        scores = drawn_importance(parent, args.seed)
        for device in args.devices:
            profiles = latency_profiles(load_device(device))
            start = time.perf_counter()
            chooser = Chooser(parent, scores, profiles, args.input)
            tables_s = time.perf_counter() - start
            for share in args.shares:
                ms = share * chooser.parent_costs["latency_ms"]
                choice = chooser.choose([parse_budget(f"{ms:.6f}ms")], args.gap, args.seconds)
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
                rows.append(
                    f"| {model} | {device} | {share:g} | {choice.costs['latency_ms']:.3f} of {ms:.3f} | "
                    f"{len(choice.kept)} | {choice.value:.5f} | {choice.bound:.5f} | {100 * choice.gap:.4f} | "
                    f"{choice.seconds:.1f} + {tables_s:.1f} | {memory} |"
                )
                print(rows[-1], flush=True)
    if args.out:
        write_atomic(args.out, f"```\npython benchmarks/shrink_certificate.py\n```\n\n{HEADER}{chr(10).join(rows)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
