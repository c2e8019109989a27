"""End-to-end rate of a sampling strategy: ask + evaluate + tell, everything included, one process.

    python benchmarks/evolution_rate.py                        # evolution, res, 3 ms on t4, 200k candidates
    python benchmarks/evolution_rate.py --compare evolution random --seeds 5
    python benchmarks/evolution_rate.py --profile              # where the time goes

Prints a JSON line and a human line for every run.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import time
from typing import Any

import numpy as np

from nas.budgets import parse_budgets
from nas.devices.profile import load_device
from nas.searcher.evaluator import Evaluator, whole_limits
from nas.strategies import STRATEGIES, strategy_class
from nas.strategies.options import read_options
from nas.strategies.strategy import StrategyContext
from nas.variant_costs import space_costs
from search_spaces.space_file import load_space


def run(name: str, args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One whole search; returns the figures of its JSON line."""
    kind = strategy_class(name)
    costs = space_costs(load_space(args.space), load_device(args.device))
    evaluator = Evaluator(costs, whole_limits(costs, parse_budgets([args.budget])), "maxent")
    parts = dict.fromkeys(("ask", "evaluate", "tell"), 0.0)
    best, found_at, feasible = -np.inf, 0, 0
    began, cpu_began = time.perf_counter(), time.process_time()
    options = {"steps": args.steps, "population": args.population, **args.options}
    strategy = kind(StrategyContext(evaluator, seed), read_options(kind.options_type, name, options))
    while not strategy.finished:
        at = [time.perf_counter()]
        rows = strategy.ask()
        at.append(time.perf_counter())
        evaluation = strategy.evaluate(rows)
        at.append(time.perf_counter())
        strategy.tell(rows, evaluation)
        at.append(time.perf_counter())
        for part, spent in zip(parts, np.diff(at), strict=True):
            parts[part] += float(spent)
        feasible += int(evaluation.feasible.sum())
        now = float(evaluation.score[evaluation.feasible].max(initial=-np.inf))
        if now > best:
            best, found_at = now, evaluator.candidates
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    return {
        "strategy": name, "space": args.space, "budget": args.budget, "device": args.device, "seed": seed,
        "population": args.population, "candidates": evaluator.candidates, "feasible": feasible,
        "seconds": round(seconds, 3), "candidates_per_second": round(evaluator.candidates / seconds),
        "cpu_seconds": round(cpu_seconds, 3), "candidates_per_cpu_second": round(evaluator.candidates / cpu_seconds),
        "share": {part: round(spent / seconds, 3) for part, spent in parts.items()},
        "best_score": best, "best_found_at": found_at, "cpus": os.cpu_count(),
    }  # fmt: skip


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategy", default="evolution", help=f"one of {', '.join(STRATEGIES)}")
    parser.add_argument("--space", default="res")
    parser.add_argument("--budget", default="3ms")
    parser.add_argument("--device", default="t4")
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--population", type=int, default=512)
    parser.add_argument("--seeds", type=int, default=1, help="runs with seeds 0, 1, ...")
    parser.add_argument("--compare", nargs="+", default=[], help="several strategies instead of one")
    parser.add_argument("--options", type=json.loads, default={}, help="the strategy's options, JSON")
    parser.add_argument("--profile", action="store_true", help="print the functions that take longest")
    args = parser.parse_args()
    for name in args.compare or [args.strategy]:
        for seed in range(args.seeds):
            profiler = cProfile.Profile()
            if args.profile:
                profiler.enable()
            result = run(name, args, seed)
            profiler.disable()
            print(json.dumps(result))
            shares = ", ".join(f"{part} {100 * share:.0f} %" for part, share in result["share"].items())
            print(
                f"{name}, seed {seed}: {result['candidates']} candidates in {result['seconds']:.1f} s = "
                f"{result['candidates_per_second']} a second, {result['candidates_per_cpu_second']} a CPU second "
                f"({shares}); best score {result['best_score']:.4f} "
                f"after {result['best_found_at']}",
                flush=True,
            )
            if args.profile:
                pstats.Stats(profiler).sort_stats("tottime").print_stats(18)


if __name__ == "__main__":
    main()
