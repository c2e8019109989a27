"""Hold scores against detectors that were really trained: does a higher score mean a better detector?

DATA is a folder with accuracy.csv (arch, input_px, columns of mAP), latency.csv (arch, input_px, columns ending in
_ms) and graphs.jsonl.gz or NAME.onnx; or `zoo`, the published detectors. Every score is ranked against the accuracy over all
points, at fixed input size, within families and among points of equal latency on each device.

With --train the folder is made first: architectures of equal predicted latency, drawn from small copies of our own spaces, each trained
briefly by one recipe. Interrupted, the same command goes on; without --train the folder is judged again.

examples:
  nas bench-scores --data runs/own-truth --train 24 --seeds 2
  nas bench-scores --data runs/own-truth --score all --out runs/own-truth-judged
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nas.evidence import options

if TYPE_CHECKING:
    from nas.evidence.accuracy import Figure
    from nas.evidence.benchmark import ScoreBenchmark
    from nas.evidence.noise import Ceiling

HELP = "hold scores against detectors that were really trained"
RESUMES = True
FOLDER = "runs/bench-scores"
ZOO = "zoo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas bench-scores``."""
    parser.add_argument("--data", required=True, metavar="DIR", help="folder of trained detectors, made by --train or brought along; or zoo")
    parser.add_argument("--score", action="append", nargs="+", metavar="NAME", help="scores and plain measures (flops, params, depth); 'closed': all that run no network (the default); 'all'")
    parser.add_argument("--target", metavar="COLUMN", help="column of accuracy.csv (default voc_scratch_map50_95, else the first)")
    parser.add_argument("--latency", nargs="+", default=[], metavar="COLUMN", help="columns of latency.csv, by their beginnings (default: all)")
    parser.add_argument("--px", nargs="+", type=int, default=[], metavar="PX", help="only points of these input sizes (default: all)")
    parser.add_argument("--bins", type=int, metavar="N", help="quantile bins of latency within which points count as equally fast (default 12, for zoo 4, for detectors of equal latency 1)")
    parser.add_argument("--refit", action="store_true", help="judge fitted scores also as refitted without the family they are judged on")
    parser.add_argument("--draws", type=int, default=1000, metavar="N", help="bootstrap draws of architectures (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of forward-pass scores, bootstrap, and everything that --train draws (default 0)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="local Ray processes for forward-pass scores and trainings (default 1: without Ray)")
    parser.add_argument("--out", metavar="DIR", help=f"write verdicts.json and pictures there; it also keeps forward-pass scores, from which the same command goes on (default for the latter: {FOLDER})")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    options.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Judge and print."""
    import numpy as np

    from nas.evidence import published
    from nas.evidence.benchmark import benchmark_scores
    from nas.evidence.columns import columns, is_slow
    from nas.evidence.rank import LEAST, usual_bins
    from nas.evidence.refit import fitted, left_out
    from nas.evidence.trained import TARGET, read_trained
    from workbench.console import Progress, print_json
    from workbench.errors import BadInput, missing_package

    for option in ("draws", "bins", "jobs"):
        value = getattr(args, option)
        if value is not None and value < 1:
            raise BadInput(f"--{option} {value} must be at least 1")
    progress = Progress(args.quiet)
    names = _names([name for group in args.score or [["closed"]] for name in group])
    zoo = args.data == ZOO
    if zoo and args.train is not None:
        raise BadInput("--data zoo are other people's detectors: with --train, name a folder to leave ours in")
    try:
        wish = options.wish_of(args)
        if wish is not None:
            from nas.evidence.train import train_evidence

            train_evidence(wish, progress)
    except ModuleNotFoundError as error:
        raise missing_package("bench-scores --train", error.name, "train") from error
    points = published.zoo_detectors(progress) if zoo else read_trained(args.data)
    if args.px:
        points = points.part(np.isin(points.input_px, args.px))
        if not len(points):
            raise BadInput(f"--px {' '.join(map(str, args.px))}: {args.data} has no point of these sizes")
    target = args.target or (TARGET if TARGET in points.accuracy else next(iter(points.accuracy)))
    truth, devices = points.target(target), points.devices(args.latency)
    slow = any(is_slow(name) for name in names)
    folder = args.out or (FOLDER if slow else None)
    journal = Path(folder) / "journals" if folder and slow else None
    found = columns(points, names, args.seed, args.jobs, journal, progress)
    if args.refit:
        found += [left_out(points, name, truth) for name in fitted() if name in names]
    bins = args.bins or (published.BINS if zoo else usual_bins(devices.values()))
    trial = benchmark_scores(points, found, target, devices, bins, args.draws, args.seed, published.LEAST if zoo else LEAST, progress)
    progress.done()
    blur = published.blur(points, bins) if zoo else None
    if args.out:
        _write(trial, Path(args.out))
    if args.json:
        print_json({**trial.to_json(), "blur": None if blur is None else vars(blur)})
        return 0
    _print(trial)
    if blur is not None:
        print(
            f"\nRecipes blur this: beyond latency, families differ by {blur.deviation_points:.1f} AP points (standard deviation), models of one "
            f"family from its curve by {blur.residual_points:.1f}; a score that is perfect inside families and blind to recipes would reach {blur.blind_oracle:.2f} at equal latency."
        )
    if args.out:
        print(f"\nwrote {args.out}")
    return 0


def _names(asked: list[str]) -> list[str]:
    """Names once each, with 'closed' and 'all' written out."""
    from nas.evidence.columns import is_slow, known_names
    from workbench.errors import unknown_name

    every = known_names()
    unknown = [word for word in asked if word not in ("all", "closed", *every)]
    if unknown:
        raise unknown_name("score", unknown[0], every)
    short = {"all": every, "closed": [name for name in every if not is_slow(name)]}
    return list(dict.fromkeys(name for word in asked for name in short.get(word, [word])))


def _write(trial: ScoreBenchmark, folder: Path) -> None:
    import json

    from nas.report.score_plot import families_png, picks_png, standing_png
    from workbench.files import write_atomic

    write_atomic(folder / "verdicts.json", json.dumps(trial.to_json(), indent=2, allow_nan=False) + "\n")
    if trial.devices:
        write_atomic(folder / "equal-latency.png", standing_png(trial))
        if trial.bins > 1:
            write_atomic(folder / "picks.png", picks_png(trial, next(iter(trial.devices))))
    if trial.families:
        write_atomic(folder / "in-a-family.png", families_png(trial))


def _print(trial: ScoreBenchmark) -> None:
    from nas.evidence.benchmark import REFERENCE
    from workbench.console import table

    about = trial.to_json()
    print(f"{about['points']:,} points, {about['architectures']} architectures of {len(about['families'])} families, accuracy {trial.target} of {trial.points.source}\n")
    ranked = sorted(trial.verdicts, key=lambda verdict: -verdict.equal_latency.value)
    rows = []
    for verdict in ranked:
        ahead = trial.lead(verdict.name)
        rows.append([
            verdict.name, _short(verdict.equal_latency.value), _interval(verdict.equal_latency), "" if ahead is None else _interval(ahead, sign=True),
            _short(verdict.tau.value), _short(verdict.spearman), _short(verdict.fixed_size.value), _short(verdict.in_family.value),
            _short(verdict.regret_points.value), _short(verdict.front_share.value),
        ])  # fmt: skip
    print(table(["score", "tau at equal latency", "90 %", f"ahead of {REFERENCE}", "tau, all", "Spearman", "at one size", "in a family", "regret, mAP points", "front found"], rows))
    print("\n" + table(["at equal latency", *trial.devices], [[v.name, *(_short(v.equal_latency_by_device[d].value) for d in trial.devices)] for v in ranked]))
    if trial.families:
        print("\n" + table(["in a family", *trial.families], [[v.name, *(_short(v.by_family[f].value) if f in v.by_family else "-" for f in trial.families)] for v in ranked]))
    if trial.ceiling is not None:
        print("\n" + noise_text(trial.ceiling))
    for verdict in ranked:
        for name, reason in sorted(verdict.failures.items()):
            print(f"{verdict.name} has no value for {name}: {reason}")


def noise_text(top: Ceiling) -> str:
    """How far noise lets a score come, in a sentence."""
    repeated = "" if top.between_runs is None else f" One seed orders them as another does with tau {top.between_runs:.2f}."
    if top.tau != top.tau:
        return f"Noise: one training run scatters by about {top.deviation_points:.2f} mAP points, no less than they differ by: scores cannot be told apart by these accuracies.{repeated}"
    return f"Noise: one training run scatters by about {top.deviation_points:.2f} mAP points, so a perfect score would reach {top.equal_latency:.2f} at equal latency and {top.tau:.2f} over all points.{repeated}"


def _short(value: float) -> str:
    return "-" if value != value else f"{value:.3f}"


def _interval(figure: Figure, sign: bool = False) -> str:
    if figure.low != figure.low:
        return "-"
    return f"{figure.low:+.2f} .. {figure.high:+.2f}" if sign else f"{figure.low:.2f} .. {figure.high:.2f}"
