"""The exact search: growth with the channel grid, and what it finds beside DAMO-YOLO's published backbones.

    python benchmarks/exact_search.py growth     labels, seconds, memory at grids 32, 16 and 8
    python benchmarks/exact_search.py anchors    T, S and M at their own layers and T4 latency

Every row runs in a fresh process, so that memory is its own. Prints a Markdown table and one JSON line a row.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

from nas.budgets import parse_budgets
from nas.costs import SpaceCosts, architecture_costs
from nas.devices.profile import load_device
from nas.scores import get_score
from nas.scores.maxent import MAXENT
from nas.scores.rows import SCORE_TICK
from nas.searcher.evaluator import whole_limits
from nas.strategies.exact.search import solve
from search_spaces.lowering import count_layers, skeleton
from search_spaces.published import PUBLISHED
from search_spaces.space import with_grid
from search_spaces.space_file import load_space

GROWTH = [
    ("res", grid, budgets)
    for budgets in (
        ["3ms"],
        ["3.373ms", "25layers"],
        ["20GFLOPs"],
        ["3ms", "10Mparams"],
        ["3ms", "10Mparams", "20GFLOPs", "25layers"],
    )
    for grid in (32, 16, 8)
]
ANCHORS = [("damo-yolo-t", "res-t"), ("damo-yolo-s", "res"), ("damo-yolo-m", "csp")]


def one(space: str, grid: int | None, budgets: list[str]) -> dict[str, Any]:
    """Solve one problem in this process."""
    start = time.perf_counter()
    chosen = load_space(space) if grid is None else with_grid(load_space(space), grid)
    profile = load_device("t4")
    costs = SpaceCosts(chosen, profile)
    found = solve(MAXENT.over_rows(costs), whole_limits(costs, parse_budgets(budgets)))
    row, certificate = found.rows[-1], found.certificate
    measured = architecture_costs(chosen.decode(row), 640, profile)
    return {
        "space": space, "grid": chosen.channel_step, "budget": budgets, **certificate.to_dict(),
        "front_points": len(found.rows), "wall_s": round(time.perf_counter() - start, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "ms": measured.costs["latency_ms"], "mparams": measured.costs["params"] / 1e6,
        "gflops": measured.costs["flops"] / 1e9, "layers": count_layers(chosen.decode(row)),
        "tick": SCORE_TICK,
    }  # fmt: skip


def in_fresh_process(space: str, grid: int | None, budgets: list[str]) -> dict[str, Any]:
    """The same in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "one", json.dumps([space, grid, budgets])],
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def growth(rows: int | None) -> None:
    """How the work grows, in the first ``rows`` problems."""
    print(
        "| budget | grid | architectures | arc options | labels | table updates | seconds | peak MB | score | front | "
        "proved |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for space, grid, budgets in GROWTH[:rows]:
        r = in_fresh_process(space, grid, budgets)
        print(
            f"| {' '.join(budgets)} | {grid} | {r['options']:.2e} | {r['arcs']:,} | {r['labels']:,} | "
            f"{r['table_entries']:.2e} | "
            f"{r['wall_s']} | {r['peak_mb']} | {r['score']:.4f} | {r['front_points']} ({r['front']}) | {r['proved']} |",
            flush=True,
        )


def anchors(rows: int | None) -> None:
    """Published backbones against the proved best of their spaces, the first ``rows`` of them."""
    profile = load_device("t4")
    print("| | score | ms (T4 profile) | layers | Mparams | GFLOPs | seconds |")
    print("|---|---|---|---|---|---|---|")
    for name, space in ANCHORS[:rows]:
        arch = PUBLISHED[name]
        costs = architecture_costs(arch, 640, profile).costs
        value = get_score("maxent")(skeleton(arch), 320).value
        print(
            f"| {name}, published | {value:.2f} | {costs['latency_ms']:.4f} | {count_layers(arch)} | "
            f"{costs['params'] / 1e6:.2f} | {costs['flops'] / 1e9:.2f} | |"
        )
        r = in_fresh_process(space, None, [f"{costs['latency_ms']:.4f}ms", f"{count_layers(arch)}layers"])
        print(
            f"| proved best of `{space}` | {r['score']:.2f} | {r['ms']:.4f} | {r['layers']} | {r['mparams']:.2f} | "
            f"{r['gflops']:.2f} | {r['wall_s']} |",
            flush=True,
        )


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["growth", "anchors", "one"], help="one: a single problem, as JSON")
    parser.add_argument("problem", nargs="?", help="with one: space, grid and budgets as JSON")
    parser.add_argument("--rows", type=int, metavar="N", help="only the first N rows")
    args = parser.parse_args()
    if args.table == "one":
        print(json.dumps(one(*json.loads(args.problem))))
    elif args.table == "growth":
        growth(args.rows)
    else:
        anchors(args.rows)


if __name__ == "__main__":
    main()
