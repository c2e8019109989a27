"""Search a space for the best detector under one or more budgets.

Budgets are of the whole detector (backbone, RepGFPN, ZeroHead; folded, batch 1) unless --scope backbone:
  3ms  latency on --device        20GFLOPs  2 x multiply-accumulates      9Mparams  parameters
  25layers  backbone convolutions  64MBact  activations in FP16           2.5..3ms  a range

Additive scores are searched exactly: the answer comes with a proof, and with the whole Pareto front below the budget.
Other scores and --strategy evolution, random, tpe, nsga2 sample --steps candidates.
Results are kept in runs/NAME; the same command again resumes an interrupted run.

examples:
  nas search --budget 3ms --device t4
  nas search --budget 3.3ms --device t4 --budget 25layers --space res
  nas search --budget 20GFLOPs --budget 10Mparams --strategy evolution --steps 500000 --set children=256
  nas search --budget 2.5..3ms --device t4 --space my-space.yaml --json
  nas search --device t4 --device raspberry-pi-4 --budget t4:3ms --budget raspberry-pi-4:900ms
  nas search --device cpu --budget 60ms --measure 5      (after nas calibrate)
  nas search --device t4 --budget 3ms --then distill --teacher rtdetrv2-x.safetensors --data my-data --top 5
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from nas.shortlist import options

if TYPE_CHECKING:
    from nas.devices.runtimes import Target
    from nas.searcher.finalists import Finalists
    from nas.searcher.result import SearchResult

HELP = "find the best architecture under budgets, with a proof"
RESUMES = True
"""Whether the same command resumes after an interruption."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas search``."""
    _add_problem(parser)
    _add_method(parser)
    _add_output(parser)
    options.add_options(parser)


def _add_problem(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--budget", action="append", metavar="B", required=True,
        help="3ms, 20GFLOPs, 9Mparams, 25layers, 64MBact or a range; may be repeated",
    )  # fmt: skip
    add(
        "--device", action="append", metavar="D",
        help="latency profile, by name or YAML file (see `nas devices`); may be repeated",
    )  # fmt: skip
    add("--space", default="res", metavar="S", help="space, by name or YAML file (see `nas spaces`; default res)")
    add("--grid", type=int, metavar="N", help="channel grid instead of the space's own (8, 16, 32 ...)")
    add("--score", help="a score of docs/scores.md (default: the first additive one that the space allows)")
    add("--weights", metavar="W,..", help="stage weights of maxent and deepmad, coarsest last (default 0,0,1,1,16)")
    add("--scope", default="detector", help="what budgets count: detector (default) or backbone")
    add("--input", type=int, default=640, metavar="PX", help="input side in pixels (default 640)")
    add("--seed", type=int, default=0, help="random seed (default 0)")


def _add_method(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--strategy", help="exact, evolution, random, tpe or nsga2 (default: exact where it applies)")
    add("--steps", type=int, help="candidates of a sampling strategy (default 200000)")
    add("--population", type=int, help="population of a sampling strategy (default 512)")
    add(
        "--set", action="append", default=[], metavar="KEY=VALUE",
        help="change an option of the strategy, such as children=256 (see docs/search.md); may be repeated",
    )  # fmt: skip
    add(
        "--time-limit", type=float, default=300.0, metavar="S",
        help="seconds after which the exact search stops proving (default 300)",
    )  # fmt: skip
    add(
        "--workers", type=int, metavar="N",
        help="number of processes of a local Ray, or of jobs at once on a cluster (default: this process)",
    )  # fmt: skip
    add("--address", metavar="A", help="join the Ray cluster at auto or HOST:PORT instead of starting a local one")
    add(
        "--islands", type=int, metavar="N",
        help="populations of an evolution (default: one, or one a worker where scores are cheap)",
    )  # fmt: skip


def _add_output(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--top-k", type=int, default=5, help="architectures written to top/ (default 5)")
    add("--measure", type=int, metavar="K", help="measure the best K of the front on this machine, and rank them anew")
    add("--measure-on", default="cpu", metavar="D", help="where: cpu (default) or cuda")
    add("--runtime", help="with --measure: onnxruntime (default), openvino or torch")
    add("--threads", type=int, metavar="N", help="with --measure: CPU threads (default: all CPUs)")
    add("--name", help="run folder below --runs (default: made from the settings)")
    add("--runs", default="runs", metavar="DIR", help="where run folders are (default runs)")
    add("--fresh", action="store_true", help="start over instead of resuming")
    add("--no-pictures", action="store_true", help="skip the PNGs")
    add("--json", action="store_true", help="print the result as JSON (format nas-search-1)")
    add("--quiet", action="store_true", help="no progress line")


def run(args: argparse.Namespace) -> int:
    """Search, then print the table (or JSON)."""
    target, shortlist = _target(args), options.wish_of(args)  # bad input is refused before the search
    if shortlist is not None:
        shortlist.check()
    result = _search(args)
    finalists = None if target is None else _measure(args, result, target)
    if not args.json:
        print(result_text(result))
        if finalists is not None:
            print("\n" + finalists.text())
    trained = None
    if shortlist is not None:
        from nas.shortlist.run import train_shortlist

        trained = train_shortlist(result, shortlist, not args.no_pictures)
    if args.json:
        from workbench.console import print_json

        more = {"measured": finalists, "trained": trained}
        print_json(result.to_dict() | {name: part.to_dict() for name, part in more.items() if part is not None})
    elif trained is not None:
        print("\n" + trained.text())
    return 0


def _search(args: argparse.Namespace) -> SearchResult:
    from nas.budgets import parse_weights
    from nas.searcher.api import search

    return search(
        args.budget, args.device, space=args.space, strategy=args.strategy, score=args.score,
        weights=None if args.weights is None else parse_weights(args.weights), scope=args.scope, input_px=args.input,
        grid=args.grid, seed=args.seed, steps=args.steps, population=args.population, options=_changes(args.set),
        top_k=args.top_k, time_limit_s=args.time_limit, name=args.name, runs=args.runs, fresh=args.fresh,
        pictures=not args.no_pictures, quiet=args.quiet or args.json, workers=args.workers, address=args.address,
        islands=args.islands,
    )  # fmt: skip


def _changes(texts: list[str]) -> dict[str, str]:
    """``KEY=VALUE`` texts as a dict."""
    from workbench.errors import BadInput

    changes: dict[str, str] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key or not value:
            raise BadInput(f"--set {text!r} must be KEY=VALUE, for instance children=256")
        if key in changes:
            raise BadInput(f"--set {key} is given twice: {changes[key]} and {value}; leave one out")
        changes[key] = value
    return changes


def _measure(args: argparse.Namespace, result: SearchResult, target: Target) -> Finalists:
    from nas.searcher.measured_finalists import measure_finalists
    from workbench.console import Progress

    progress = Progress(args.quiet or args.json)
    try:
        return measure_finalists(result, args.measure, target, log=progress.show)
    finally:
        progress.done()


def _target(args: argparse.Namespace) -> Target | None:
    """Where finalists are measured; None without ``--measure``."""
    from workbench.errors import BadInput

    if args.measure is None:
        if args.runtime is not None or args.threads is not None or args.measure_on != "cpu":
            raise BadInput("--measure-on, --runtime and --threads say how finalists are measured: add --measure K")
        return None
    if args.measure < 1:
        raise BadInput(f"--measure {args.measure} must be at least 1: the number of finalists to measure")
    from nas.devices.runtimes import choose_target

    return choose_target(args.measure_on, args.runtime, args.threads)


def result_text(result: SearchResult) -> str:
    """The best candidate beside its anchor, its stages, the front and the proof, as text."""
    arch, scores = result.best.architecture, _shown_scores(result)
    lines = [_table(result, scores), "", f"stem {arch.stem.out}" + (" after focus" if arch.stem.focus else "")]
    lines += [
        f"stage {i}: {s.depth} x {s.kind}, {s.btn} -> {s.out} channels, k{s.k}, stride {s.stride}"
        for i, s in enumerate(arch.stages, start=1)
    ]
    first, last = _point(result.front[0]), _point(result.front[-1])
    lines += ["", f"front by {scores[0]}: {len(result.front)} architectures from {first} to {last}"]
    lines += _explanation(result)
    if result.certificate is not None:
        lines.append(_certificate(result.certificate))
    else:
        lines.append(
            f"{result.candidates:,} candidates in {result.seconds:.1f} s; sampling proves nothing: "
            "--strategy exact does, for additive scores"
        )
    lines += [f"note: {note}" for note in result.notes]
    files = "best.yaml, front.csv, front.png, best.png, top/, TensorBoard events (nas board)"
    lines.append(f"written to {result.folder}: {files}")
    return "\n".join(lines)


def _shown_scores(result: SearchResult) -> list[str]:
    return list(result.best.scores) or [result.problem.score]


def _table(result: SearchResult, scores: list[str]) -> str:
    """Scores and costs of the best candidate and its anchor."""
    from nas.budgets import LATENCY, quantity_of
    from search_spaces.lowering import count_layers
    from workbench.console import table

    parts = [part for part in ("backbone", "neck", "head", "fixed") if part in result.best.parts_ms]
    times = [name for name in result.best.costs if quantity_of(name) == LATENCY]
    rows = []
    for c in (result.best, result.anchor):
        if c is not None:
            values = [f"{c.scores.get(name, c.score):.6g}" for name in scores]
            latencies = [*(c.costs[name] for name in times), *(c.parts_ms.get(part) for part in parts)]
            sizes = [c.costs["flops"] / 1e9, c.costs["params"] / 1e6, count_layers(c.architecture)]
            rows.append([c.name, *values, *latencies, *sizes])
    headings = [f"ms {name.partition('@')[2]}".strip() for name in times]
    return table(["", *scores, *headings, *parts, "GFLOPs", "Mparams", "layers"], rows)


def _explanation(result: SearchResult) -> list[str]:
    """What the best score means, for scores that can say it."""
    from nas.scores import get_score
    from zoo.resolve import CostSubject

    problem, best = result.problem, result.best
    score = get_score(problem.score)
    if score.explain is None:
        return []
    graph, px = CostSubject(best.name, best.architecture).score_graph(problem.input_px, score.deployed)
    computed = score(graph, px, **score.own(weights=problem.weights, seed=problem.seed))
    text = score.explain(dataclasses.replace(computed, value=best.score))
    return [f"{score.name} {best.score:.4f}: {text}"]


def _point(line: dict[str, float]) -> str:
    from nas.budgets import QUANTITIES, format_cost, quantity_of

    name = next(n for n in line if quantity_of(n) in QUANTITIES)
    return f"{line['score']:.5g} at {format_cost(name, line[name])}"


def _certificate(c: dict[str, float]) -> str:
    verdict = "certificate: proved best" if c["proved"] else "certificate: NOT proved best (time limit)"
    return (
        f"{verdict}. best score {c['score']:.6f}, bound {c['bound']:.6f}; "
        f"{c['options']:.3g} architectures in the space, {c['arcs']:,} arc options, {c['labels']:,} labels, "
        f"{c['table_entries']:,} table updates, {c['seconds']:.1f} s; front: {c['front']}"
    )
