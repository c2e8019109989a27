"""Search a space for the best detector under one or more budgets.

Budgets are of the whole detector (backbone, RepGFPN, ZeroHead; folded, batch 1) unless --scope backbone:
  3ms  latency on --device        20GFLOPs  2 x multiply-accumulates      9Mparams  parameters
  25layers  backbone convolutions  64MBact  activations in FP16           2.5..3ms  a range

Additive scores (calibrated, maxent) are searched exactly: the answer comes with a proof, and with the whole Pareto
front below the budget. The default, calibrated, was fitted to really trained detectors; maxent is MAE-NAS's.
Other scores and --strategy evolution, random, tpe, nsga2 sample --steps candidates.
Results are kept in runs/NAME; the same command again resumes an interrupted run.

examples:
  nas search --budget 3ms --device t4
  nas search --budget 3.3ms --device t4 --budget 25layers --space res
  nas search --budget 20GFLOPs --budget 10Mparams --strategy evolution --steps 500000
  nas search --budget 2.5..3ms --device t4 --space my-space.yaml --json
  nas search --device t4 --device raspberry-pi-4 --budget t4:3ms --budget raspberry-pi-4:900ms
  nas search --device cpu --budget 60ms --measure 5      (after nas calibrate)
  nas search --device t4 --budget 3ms --then distill --teacher rtdetrv2-x.safetensors --data my-data --top 5
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nas.shortlist import options

if TYPE_CHECKING:
    from nas.devices.runtimes.runtime import Target

HELP = "find the best architecture under budgets, with a proof"
RESUMES = True
"""Whether the same command goes on after an interruption."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas search``."""
    add = parser.add_argument
    add("--budget", action="append", metavar="B", required=True, help="3ms, 20GFLOPs, 9Mparams, 25layers, 64MBact or a range; may be repeated")
    add("--device", action="append", metavar="D", help="latency profile, by name or YAML file (see `nas devices`); may be repeated")
    add("--space", default="res", metavar="S", help="search space, by name or YAML file (see `nas spaces`; default res)")
    add("--grid", type=int, metavar="N", help="channel grid instead of the space's own (8, 16, 32 ...)")
    add("--score", help="calibrated, maxent (MAE-NAS), or another of docs/scores.md (default calibrated; maxent where a space goes beyond stride 32)")
    add("--weights", metavar="W,..", help="stage weights of maxent and deepmad, coarsest last (default 0,0,1,1,16)")
    add("--strategy", help="exact, evolution, random, tpe or nsga2 (default: exact where it applies)")
    add("--scope", default="detector", help="what budgets count: detector (default) or backbone")
    add("--input", type=int, default=640, metavar="PX", help="input side in pixels (default 640)")
    add("--seed", type=int, default=0, help="same seed, same answer (default 0)")
    add("--steps", type=int, default=200_000, help="candidates of a sampling strategy (default 200000)")
    add("--population", type=int, default=512, help="population of a sampling strategy (default 512)")
    add("--time-limit", type=float, default=300.0, metavar="S", help="seconds after which the exact search stops proving (default 300)")
    add("--top-k", type=int, default=5, help="architectures written to top/ (default 5)")
    add("--measure", type=int, metavar="K", help="measure the best K of the front on this machine, and rank them anew")
    add("--measure-on", default="cpu", metavar="D", help="where: cpu (default) or cuda")
    add("--runtime", help="with --measure: onnxruntime (default), openvino or torch")
    add("--threads", type=int, metavar="N", help="with --measure: CPU threads (default: all CPUs)")
    add("--workers", type=int, metavar="N", help="so many processes of a local Ray, or jobs at once on a cluster (default: this process)")
    add("--address", metavar="A", help="join the Ray cluster at auto or HOST:PORT instead of starting a local one")
    add("--islands", type=int, metavar="N", help="populations of an evolution, whatever the workers (default: one, or one a worker where scores are cheap)")
    add("--name", help="run folder below --runs (default: made from the settings)")
    add("--runs", default="runs", metavar="DIR", help="where run folders live (default runs)")
    add("--fresh", action="store_true", help="start over instead of resuming")
    add("--no-pictures", action="store_true", help="skip the PNGs")
    add("--json", action="store_true", help="print the result as JSON (format nas-search-1)")
    add("--quiet", action="store_true", help="no progress line")
    options.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Search, then print the table (or JSON)."""
    from nas.budgets import parse_weights
    from nas.searcher.run import search

    target, wish = _target(args), options.wish_of(args)  # what is not here is refused before the search
    if wish is not None:
        wish.check()
    result = search(
        args.budget, args.device, space=args.space, strategy=args.strategy, score=args.score,
        weights=None if args.weights is None else parse_weights(args.weights),
        scope=args.scope, input_px=args.input, grid=args.grid, seed=args.seed, steps=args.steps,
        population=args.population, top_k=args.top_k, time_limit_s=args.time_limit, name=args.name, runs=args.runs,
        fresh=args.fresh, pictures=not args.no_pictures, quiet=args.quiet or args.json, workers=args.workers, address=args.address,
        islands=args.islands,
    )  # fmt: skip
    finalists = None
    if target is not None:
        from nas.searcher.measured_finalists import measure_finalists
        from workbench.console import Progress

        progress = Progress(args.quiet or args.json)
        try:
            finalists = measure_finalists(result, args.measure, target, log=progress.show)
        finally:
            progress.done()
    if not args.json:
        print(_text(result))
        if finalists is not None:
            print("\n" + finalists.text())
    trained = None
    if wish is not None:
        from nas.shortlist.run import train_shortlist

        trained = train_shortlist(result, wish, not args.no_pictures)
    if args.json:
        from workbench.console import print_json

        more = {"measured": finalists, "trained": trained}
        print_json(result.to_dict() | {name: found.to_dict() for name, found in more.items() if found is not None})
    elif trained is not None:
        print("\n" + trained.text())
    return 0


def _target(args: argparse.Namespace) -> Target | None:
    """Where finalists are measured; None where nobody asked for it."""
    from workbench.errors import BadInput

    if args.measure is None:
        if args.runtime is not None or args.threads is not None or args.measure_on != "cpu":
            raise BadInput("--measure-on, --runtime and --threads say how finalists are measured: add --measure K")
        return None
    if args.measure < 1:
        raise BadInput(f"--measure {args.measure} must be at least 1: so many of the front are measured")
    from nas.devices.session import choose_target

    return choose_target(args.measure_on, args.runtime, args.threads)


def _text(result: object) -> str:
    from nas.budgets import LATENCY, quantity_of
    from nas.searcher.run import SearchResult
    from search_spaces.lowering import count_layers
    from workbench.console import table

    assert isinstance(result, SearchResult)
    rows = []
    parts = [p for p in ("backbone", "neck", "head", "fixed") if p in result.best.parts_ms]
    times = [name for name in result.best.costs if quantity_of(name) == LATENCY]
    scores = list(result.best.scores) or [result.settings["score"]]
    for c in (result.best, result.anchor):
        if c is None:
            continue
        row = [c.name, *(f"{c.scores.get(name, c.score):.6g}" for name in scores), *(c.costs[name] for name in times), *(c.parts_ms.get(p) for p in parts)]
        rows.append([*row, c.costs["flops"] / 1e9, c.costs["params"] / 1e6, count_layers(c.architecture)])
    header = ["", *scores, *(f"ms {name.partition('@')[2]}".strip() for name in times), *parts, "GFLOPs", "Mparams", "layers"]
    arch = result.best.architecture
    lines = [table(header, rows), "", f"stem {arch.stem.out}" + (" after focus" if arch.stem.focus else "")]
    lines += [
        f"stage {i}: {s.depth} x {s.kind}, {s.btn} -> {s.out} channels, k{s.k}, stride {s.stride}"
        for i, s in enumerate(arch.stages, start=1)
    ]
    lines += ["", f"front by {scores[0]}: {len(result.front)} architectures from {_point(result.front[0])} to {_point(result.front[-1])}"]
    if scores[0] == "calibrated":
        from nas.scores.calibrated import in_words, shipped, terms_of
        from search_spaces.lowering import lower

        outside = shipped().outside(terms_of(lower(arch), result.settings["input_px"], shipped().form))
        lines.append(f"{scores[0]} {result.best.score:.4f} stands for {in_words(result.best.score, outside)}")
    if result.certificate is not None:
        lines.append(_certificate(result.certificate))
    else:
        lines.append(f"{result.candidates:,} candidates in {result.seconds:.1f} s; sampling proves nothing: --strategy exact does, for additive scores")
    lines += [f"note: {note}" for note in result.notes]
    lines.append(f"written to {result.folder}: best.yaml, front.csv, front.png, best.png, top/, TensorBoard events (nas board)")
    return "\n".join(lines)


def _point(line: dict[str, float]) -> str:
    from nas.budgets import QUANTITIES, format_cost, quantity_of

    name = next(n for n in line if quantity_of(n) in QUANTITIES)
    return f"{line['score']:.5g} at {format_cost(name, line[name])}"


def _certificate(c: dict[str, float]) -> str:
    verdict = "certificate: proved best" if c["proved"] else "certificate: NOT proved best (time limit)"
    return (
        f"{verdict}. best score {c['score']:.6f}, bound {c['bound']:.6f}; {c['options']:.3g} architectures in the space, "
        f"{c['arcs']:,} arc options, {c['labels']:,} labels, {c['table_entries']:,} table updates, {c['seconds']:.1f} s; front: {c['front']}"
    )
