"""Hold every score against the detectors that ``nas bench-scores --train`` trained, and write the page with its
picture.

    python benchmarks/own_truth.py --data docs/benchmarks/own-truth --page docs/benchmarks/own-truth.md

Nothing is trained. Forward-pass scores come from the journal that ``nas bench-scores`` keeps, or are computed: some
minutes of one core.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from scores import about, markdown, number, ranked, span, write_page  # the script beside this one

from nas.commands.bench_scores import FOLDER, noise_text
from nas.evidence.benchmark import REFERENCE, ScoreBenchmark, benchmark_scores
from nas.evidence.columns import columns, known_names
from nas.evidence.rank import usual_bins
from nas.evidence.trained import read_trained
from nas.report.score_plot import families_png
from workbench.console import Progress
from workbench.files import write_atomic


def main() -> None:
    """Judge, print, and fill the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder that nas bench-scores --train left")
    parser.add_argument(
        "--page", type=Path, help="Markdown page whose part between the marks is replaced; the picture goes beside it"
    )
    parser.add_argument("--scores", nargs="+", default=known_names(), metavar="SCORE", help="only these (default: all)")
    args = parser.parse_args()
    progress = Progress()
    points = read_trained(args.data)
    scores = columns(points, args.scores, folder=Path(FOLDER) / "journals", progress=progress)
    devices = points.devices()
    trial = benchmark_scores(
        points, scores, next(iter(points.accuracy)), devices, usual_bins(devices.values()), progress=progress
    )
    noise = [] if trial.ceiling is None else [noise_text(trial.ceiling)]
    text = "\n\n".join([about(trial), standing(trial), *noise, trainings(args.data)])
    print(text)
    if args.page is not None:
        write_page(args.page, text)
        write_atomic(args.page.with_suffix(".png"), families_png(trial))


def standing(trial: ScoreBenchmark) -> str:
    """One line a score, best first, with its tau within each space."""
    rows = []
    for verdict in ranked(trial):
        ahead = trial.lead(verdict.name)
        own = [number(verdict.by_family[name]) if name in verdict.by_family else "-" for name in trial.families]
        rows.append(
            [
                verdict.name,
                f"**{number(verdict.equal_latency)}** {span(verdict.equal_latency)}",
                "" if ahead is None else f"{ahead.value:+.2f} {span(ahead, '+')}",
                *own,
                f"{verdict.regret_points.value:.1f}",
            ]
        )
    return markdown(
        [
            "score",
            "τ (90 %)",
            f"ahead of {REFERENCE} (90 %)",
            *(f"in `{name}`" for name in trial.families),
            "regret, AP points",
        ],
        rows,
    )


def trainings(folder: Path) -> str:
    """AP and costs of every architecture."""
    rows = []
    for line in map(json.loads, (folder / "trained.jsonl").read_text(encoding="utf-8").splitlines()):
        aps = [f"{100 * run['ap']:.1f}" if "ap" in run else "failed" for run in line["runs"]]
        seconds = [f"{run['seconds']:.0f}" for run in line["runs"] if "ap" in run]
        costs = line["costs"]
        rows.append(
            [
                line["name"],
                ", ".join(aps),
                f"{costs['latency_ms']:.2f}",
                f"{costs['flops'] / 1e6:.0f}",
                f"{costs['params'] / 1e3:.0f}",
                ", ".join(seconds),
            ]
        )
    return markdown(
        ["architecture", "AP of each seed, %", "predicted ms", "MFLOPs", "parameters, thousand", "seconds"], rows
    )


if __name__ == "__main__":
    main()
