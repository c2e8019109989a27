"""Speed-up of a search by workers: evolution on islands with one worker and with two, and the exact search.

    python benchmarks/search_workers.py  # two islands, 2 million candidates, about 4 minutes
    python benchmarks/search_workers.py --out docs/benchmarks/workers.md

Every repeat does the same islands first in this process, then with one worker of Ray, then with two, so that a machine
that is busy for a while slows all of them. Rounds are written to a journal as in `nas search`. Ray's own start is timed
apart.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import nas
from nas.budgets import parse_budgets
from nas.costs import SpaceCosts
from nas.devices.profile import load_device
from nas.searcher.evaluator import Evaluator, whole_limits
from nas.searcher.front import Front
from nas.searcher.products import RUN_FILES
from nas.strategies.evolution import EvolutionOptions
from nas.strategies.islands import IslandSearch
from nas.strategies.strategy import SearchState, StrategyContext
from search_spaces.space_file import load_space
from workbench.files import write_atomic
from workbench.run_folder import RunFolder
from workbench.workers import Workers
from workbench.workers.in_process import InProcess


def evolve(args: argparse.Namespace, workers: int) -> dict[str, Any]:
    """One whole search on islands; with 0 workers in this process."""
    space = load_space("res")
    rulers = SpaceCosts(space, load_device("t4"))
    evaluator = Evaluator(rulers, whole_limits(rulers, parse_budgets(["3ms"])), "maxent")
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch, _open_workers(workers) as pool:
        started = time.perf_counter()
        study = RunFolder.open(Path(scratch) / "run", {"seed": args.seed}, {}, RUN_FILES)
        context = StrategyContext(evaluator, args.seed, workers=pool)
        strategy = IslandSearch(context, EvolutionOptions(args.steps), args.islands)
        search = SearchState(Front(space.genes))
        rounds, own_s = 0, 0.0
        if workers:
            _warm(pool)
        first = time.perf_counter()
        while not strategy.finished:
            cpu = time.process_time()
            rows = strategy.ask()
            evaluation = strategy.evaluate(rows)
            strategy.tell(rows, evaluation)
            search.front.add(rows, evaluation.score, evaluation.costs[evaluator.primary])
            for kind, record in strategy.save(search):
                study.append(kind, record)
            rounds += 1
            own_s += time.process_time() - cpu
        seconds = time.perf_counter() - first
        written = (study.folder / "journal.jsonl").stat().st_size
        study.close()
    return {
        "workers": workers,
        "seconds": seconds,
        "start_s": started - began,
        "rounds": rounds,
        "driver_ms_a_round": 1e3 * own_s / rounds,
        "journal_bytes_a_round": written / rounds,
        "candidates": strategy.candidates,
        "best": float(search.front.score[-1]),
        "points": len(search.front.rows),
    }


def _open_workers(workers: int) -> AbstractContextManager[Workers]:
    if not workers:
        return InProcess()
    from workbench.workers.on_ray import RayWorkers

    return RayWorkers(workers)


def _warm(pool: Workers) -> None:
    """Worker processes import NumPy and the rulers on their first job."""
    for key in range(pool.count):
        pool.start(key, load_space, "res")
    while pool.in_flight:
        pool.wait()


def exact(workers: int | None) -> float:
    """Seconds of the exact search, start to end."""
    with tempfile.TemporaryDirectory() as scratch:
        began = time.perf_counter()
        nas.search("3ms", "t4", runs=scratch, pictures=False, workers=workers)
        return time.perf_counter() - began


def main() -> None:
    """Measure, print, and write the page if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2_000_000)
    parser.add_argument("--islands", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the page here")
    args = parser.parse_args()
    runs: dict[int, list[dict[str, Any]]] = {0: [], 1: [], 2: []}
    for _ in range(args.repeats):
        for workers, list_of in runs.items():
            list_of.append(evolve(args, workers))
            print(json.dumps(list_of[-1]), flush=True)
    if len({(run["best"], run["points"], run["candidates"]) for of in runs.values() for run in of}) != 1:
        raise SystemExit("the answers differ: nothing here may be believed")
    ratios = [one["seconds"] / two["seconds"] for one, two in zip(runs[1], runs[2], strict=True)]
    exact_s = {workers: [exact(workers) for _ in range(args.repeats)] for workers in (None, 2)}
    text = page(args, runs, ratios, exact_s)
    print(text)
    if args.out:
        write_atomic(args.out, text)


def page(
    args: argparse.Namespace,
    runs: dict[int, list[dict[str, Any]]],
    ratios: list[float],
    exact_s: dict[int | None, list[float]],
) -> str:
    """The figures as ``docs/benchmarks/workers.md``."""

    def middle(of: list[dict[str, Any]], what: str) -> float:
        return statistics.median(run[what] for run in of)

    names = {0: "this process, no Ray", 1: "one worker of Ray", 2: "two workers of Ray"}
    rows = [
        f"| {names[workers]} | {middle(of, 'seconds'):.1f} | {middle(of, 'candidates') / middle(of, 'seconds'):,.0f} | "
        f"{middle(of, 'start_s'):.1f} |"
        for workers, of in runs.items()
    ]
    two = runs[2]
    load = os.getloadavg()
    one_s, two_s = statistics.median(exact_s[None]), statistics.median(exact_s[2])
    loads = ", ".join(f"{value:.1f}" for value in load)
    options = f"--steps {args.steps} --islands {args.islands} --repeats {args.repeats}"
    per_round = middle(two, "candidates") / middle(two, "rounds")
    return f"""# What workers are worth

```
python benchmarks/search_workers.py {options} --out docs/benchmarks/workers.md
```

Evolution, space `res`, budget 3 ms on profile `t4`, score `maxent` (the cheapest), {args.steps:,} candidates on
{args.islands} islands, population 512 each, seed {args.seed}. Machine: {os.cpu_count()} CPU cores
({platform.machine()}), no GPU, Python {platform.python_version()}; the load averages at the end were
{loads}, and above {os.cpu_count()} mean that other programs took their share. Medians of
{args.repeats} repeats, in each of which the three lines were measured in turns.

| who evolves | seconds | candidates a second | Ray's start, s |
|---|---|---|---|
{chr(10).join(rows)}

**Two workers against one: {statistics.median(ratios):.2f} ×** ({", ".join(f"{ratio:.2f}" for ratio in ratios)};
aimed at 1.8 or more). All runs end with the same front of {two[0]["points"]} points and the same best score,
{two[0]["best"]:.4f}; the benchmark stops if they do not.

A round of an island has {per_round:,.0f} candidates here. It costs the driver
{middle(two, "driver_ms_a_round"):.1f} ms of its own CPU time and
{middle(two, "journal_bytes_a_round") / 1e3:.0f} KB of journal. [Sizing](../cluster.md#sizing) is based on these
figures.

## Exact search

`nas search --budget 3ms --device t4` takes {one_s:.2f} s, and with `--workers 2` {two_s:.2f} s (start to end, without
pictures): it runs in the driver and Ray is not even started. Its tables depend on one another, stage after stage, and a
task of Ray would have to be handed arrays of up to 1.5 GB for work that takes about a second.
"""


if __name__ == "__main__":
    main()
