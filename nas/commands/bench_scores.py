"""Hold scores against detectors that were really trained: does a higher score mean a better detector?

DATA is a folder with accuracy.csv (arch, input_px, columns of mAP), latency.csv (arch, input_px, columns ending in
_ms) and graphs.jsonl.gz or NAME.onnx; or `zoo`, the published detectors; several are combined. Every score is ranked
against the accuracy over all points, at fixed input size, within families and among points of equal latency on each
device.

With --train the folder is made first: architectures of equal predicted latency, sampled from small copies of our own
spaces, each trained briefly by one recipe. The same command resumes after an interruption; without --train the folder
is used as it is.

examples:
  nas bench-scores --data runs/own-truth --train 24 --seeds 2
  nas bench-scores --data runs/own-truth --score all --out runs/own-truth-judged
"""

from __future__ import annotations

import argparse

from nas.commands import evidence_options

HELP = "hold scores against detectors that were really trained"
RESUMES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas bench-scores``."""
    add = parser.add_argument
    add(
        "--data", required=True, action="append", metavar="DIR",
        help="folder of trained detectors, made by --train or brought along; or zoo; may be repeated",
    )  # fmt: skip
    add(
        "--score", action="append", nargs="+", metavar="NAME",
        help="scores and plain sizes (flops, params, depth); 'closed': all that run no network (default); 'all'",
    )  # fmt: skip
    add("--target", metavar="COLUMN", help="column of accuracy.csv (default voc_scratch_map50_95, else the first)")
    add(
        "--latency", nargs="+", default=[], metavar="COLUMN",
        help="columns of latency.csv, by the beginnings of their names (default: all)",
    )  # fmt: skip
    add("--px", nargs="+", type=int, default=[], metavar="PX", help="only points of these input sizes (default: all)")
    add(
        "--bins", type=int, metavar="N",
        help="quantile bins of latency within which points count as equally fast (default: one for 10 points that have "
        "both, at most 12; for zoo 4, for detectors of equal latency 1)",
    )  # fmt: skip
    add("--refit", action="store_true", help="also compare fitted scores as refitted without the family in question")
    add("--draws", type=int, default=1000, metavar="N", help="bootstrap resamples of architectures (default 1000)")
    add(
        "--seed", type=int, default=0,
        help="seed of forward-pass scores, the bootstrap, and everything that --train samples (default 0)",
    )  # fmt: skip
    add(
        "--jobs", type=int, default=1, metavar="N",
        help="local Ray processes for forward-pass scores and trainings (default 1: without Ray)",
    )  # fmt: skip
    add(
        "--out", metavar="DIR",
        help="write verdicts.json and plots there, and cache forward-pass scores there (default for the cache: "
        "runs/bench-scores)",
    )  # fmt: skip
    add("--json", action="store_true", help="print JSON")
    add("--quiet", action="store_true", help="no progress")
    evidence_options.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Rank the scores and print the result."""
    from nas.evidence.run import BenchScoresRequest, bench_scores
    from workbench.console import Progress, print_json

    request = BenchScoresRequest(
        data=tuple(args.data),
        scores=tuple(name for group in args.score or [["closed"]] for name in group),
        target=args.target,
        latency=tuple(args.latency),
        input_px=tuple(args.px),
        bins=args.bins,
        refit=args.refit,
        draws=args.draws,
        seed=args.seed,
        jobs=args.jobs,
        out=args.out,
        training=evidence_options.evidence_request(args),
    )
    benchmark = bench_scores(request, Progress(args.quiet))
    if args.json:
        print_json(benchmark.to_dict())
        return 0
    print(benchmark)
    if args.out:
        print(f"\nwrote {args.out}")
    return 0
