"""Evaluate every score against trained detectors, and write the page with its plots.

    python benchmarks/scores.py --data ../shared/yolobench --page docs/benchmarks/scores.md

Forward-pass scores come from the journal that ``nas bench-scores`` keeps (``runs/bench-scores``) and are computed
where it lacks them: about half an hour of one core the first time, nothing afterwards. ``--quick`` leaves them out.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from nas.evidence import published
from nas.evidence.benchmark import REFERENCE, ScoreBenchmark, benchmark_scores
from nas.evidence.columns import ScoreColumn, runs_network, score_columns, score_names
from nas.evidence.plots import equal_latency_png, selection_png
from nas.evidence.refit import fitted_scores, leave_family_out
from nas.evidence.run import FOLDER
from nas.evidence.statistics.accuracy import DRAWS, BenchmarkOptions, Estimate, ScoreAccuracy
from nas.evidence.trained import TARGET, TrainedDetectors, read_trained
from workbench.console import Progress
from workbench.errors import BadInput
from workbench.files import write_atomic

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
DEVICES = {
    "jetson_nano_gpu_ort_fp32": "Jetson Nano",
    "intel_i7_10875h_cpu_openvino_fp32": "OpenVINO",
    "raspberrypi4_cpu_tflite_fp32": "Raspberry Pi 4",
    "nvidia_a40_gpu_tensorrt": "A40",
}
FORWARD = (
    (("nwot", "nwot_pre", "meco", "expressivity"), (160, 320), 12),
    (("nwot", "nwot_pre", "meco", "expressivity", "swap", "synflow", "zen", "zico"), (160,), 6),
)
"""Which forward-pass scores run at which input sizes (pixels), and into how many latency bins so few points are cut."""
DRAWN = ("calibrated, family left out", "activations", "flops", "maxent")


def main() -> None:
    """Evaluate, print, and fill the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder in the layout of YOLOBench")
    parser.add_argument(
        "--page", type=Path, help="Markdown page whose part between the marks is replaced; plots go beside it"
    )
    parser.add_argument("--quick", action="store_true", help="without forward-pass scores")
    parser.add_argument("--scores", nargs="+", metavar="SCORE", help="closed-form scores (default: all)")
    parser.add_argument("--draws", type=int, default=DRAWS, help="bootstrap draws (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="local Ray processes for forward-pass scores")
    args = parser.parse_args()
    progress = Progress()
    points = read_trained(args.data)
    closed = args.scores or [name for name in score_names() if not runs_network(name)]
    found = score_columns(points, closed, progress=progress)
    truth = points.target(TARGET)
    whole = benchmark_scores(
        points,
        found + [leave_family_out(points, name, truth) for name in fitted_scores()],
        TARGET,
        points.devices(tuple(DEVICES)),
        BenchmarkOptions(draws=args.draws),
        progress,
    )
    parts = [about(whole), standing(whole), by_device(whole), ceiling(whole)]
    if not args.quick:
        parts.append("## Forward-pass scores")
        parts += list(forward(points, found, args.jobs, progress))
    parts += [
        "## Other accuracies of the same detectors",
        others(points, found, args.draws, progress),
        "## Other people's detectors",
        zoo(closed, args.draws, progress),
    ]
    text = "\n\n".join(parts)
    print(text)
    if args.page is not None:
        write_page(args.page, text)
        drawn = [name for name in DRAWN if any(accuracy.name == name for accuracy in whole.accuracies)]
        write_atomic(args.page.with_name("scores-equal-latency.png"), equal_latency_png(whole))
        write_atomic(
            args.page.with_name("scores-picks.png"), selection_png(whole, "raspberrypi4_cpu_tflite_fp32", drawn)
        )


def about(benchmark: ScoreBenchmark) -> str:
    """What the first tables rest on."""
    facts = benchmark.figures()
    return (
        f"{datetime.date.today()}: {facts['points']} points, {facts['architectures']} architectures of"
        f" {len(facts['families'])} families at {len(facts['input_px'])} input sizes, `{benchmark.target}`;"
        f" {benchmark.bins_text()}, {benchmark.options.draws:,} bootstrap draws, seed"
        f" {benchmark.options.seed}."
    )


def standing(benchmark: ScoreBenchmark) -> str:
    """The main table: one line a score, best first."""
    header = [
        "score",
        "τ at equal latency (90 %)",
        f"ahead of {REFERENCE} (90 %)",
        "τ, all points",
        "Spearman",
        "τ at one size",
        "τ in a family",
        "regret, mAP points",
        "front found",
    ]
    rows = []
    for accuracy in ranked(benchmark):
        ahead = benchmark.lead(accuracy.name)
        rows.append(
            [
                accuracy.name,
                f"**{accuracy.equal_latency.value:.2f}** {span(accuracy.equal_latency)}",
                "" if ahead is None else f"{ahead.value:+.2f} {span(ahead, '+')}",
                f"{accuracy.tau.value:.2f} {span(accuracy.tau)}",
                f"{accuracy.spearman:.2f}",
                number(accuracy.fixed_size),
                number(accuracy.in_family),
                f"{accuracy.regret_points.value:.1f} {span(accuracy.regret_points)}",
                f"{100 * accuracy.front_share.value:.0f} %",
            ]
        )
    return markdown(header, rows)


def by_device(benchmark: ScoreBenchmark) -> str:
    """Tau at equal latency on each device."""
    rows = [
        [accuracy.name, *(number(accuracy.equal_latency_by_device[name]) for name in DEVICES)]
        for accuracy in ranked(benchmark)
    ]
    return markdown(["τ at equal latency", *DEVICES.values()], rows)


def ceiling(benchmark: ScoreBenchmark) -> str:
    """The noise, in a sentence."""
    top = benchmark.ceiling
    if top is None:
        return "Too few input sizes to estimate the noise."
    return (
        f"**Noise ceiling**: one training run scatters by about {top.deviation_points:.2f} mAP points about its "
        f"architecture's smooth curve ({top.architectures} architectures). A score that knew the "
        f"smooth curves would reach τ = **{top.equal_latency:.2f}** at equal latency ({top.low:.2f} to {top.high:.2f}) "
        f"and {top.tau:.2f} over all points."
    )


def forward(points: TrainedDetectors, closed: Sequence[ScoreColumn], jobs: int, progress: Progress) -> Iterator[str]:
    """Tables of forward-pass scores beside the others, on the points where all were computed."""
    for names, sizes, bins in FORWARD:
        keep = np.isin(points.input_px, sizes)
        part = points.part(keep)
        slow = score_columns(part, names, jobs=jobs, folder=Path(FOLDER) / "journals", progress=progress)
        same = [ScoreColumn(column.name, column.values[keep], column.failures) for column in closed]
        # Fitted to all sizes, judged here at a few: what is left out is the family.
        same += [
            ScoreColumn(c.name, c.values[keep])
            for c in (leave_family_out(points, name, points.target(TARGET)) for name in fitted_scores())
        ]
        benchmark = benchmark_scores(
            part, same + slow, TARGET, part.devices(tuple(DEVICES)), BenchmarkOptions(bins), progress
        )
        yield f"At {' and '.join(map(str, sizes))} px: {len(part)} points, {bins} latency bins, seed 0."
        rows = [
            [
                v.name,
                f"**{v.equal_latency.value:.2f}** {span(v.equal_latency)}",
                *(number(v.equal_latency_by_device[d]) for d in DEVICES),
                number(v.tau),
                f"{v.regret_points.value:.1f}",
            ]
            for v in ranked(benchmark)
        ]
        yield markdown(
            ["score", "τ at equal latency (90 %)", *DEVICES.values(), "τ, all of these points", "regret, mAP points"],
            rows,
        )
        refused = [
            f"{v.name} has no value for {name}: {reason}"
            for v in benchmark.accuracies
            for name, reason in sorted(v.failures.items())
        ]
        if refused:
            yield "\n".join(f"* {line}" for line in refused)


def others(points: TrainedDetectors, closed: Sequence[ScoreColumn], draws: int, progress: Progress) -> str:
    """Tau at equal latency and over all points for every other accuracy column, and for the first one on the same
    points.
    """
    extra = [target for target in points.accuracy if target != TARGET]
    shared = ~np.isnan(np.stack([points.target(target) for target in extra])).any(axis=0)
    part = points.part(shared)
    benchmarks = {}
    for target in (TARGET, *extra):
        same = [ScoreColumn(column.name, column.values[shared], column.failures) for column in closed]
        again = [leave_family_out(part, name, part.target(target)) for name in fitted_scores()]
        benchmarks[target] = benchmark_scores(
            part,
            [*same, *again],
            target,
            part.devices(tuple(DEVICES)),
            BenchmarkOptions(draws=min(200, draws)),
            progress,
        )
    rows = []
    for name in (accuracy.name for accuracy in ranked(benchmarks[TARGET])):
        verdicts = [next(v for v in benchmark.accuracies if v.name == name) for benchmark in benchmarks.values()]
        rows.append(
            [name, *(f"**{v.equal_latency.value:.2f}** {span(v.equal_latency)}; {v.tau.value:.2f}" for v in verdicts)]
        )
    tops = [benchmark.ceiling for benchmark in benchmarks.values()]
    rows.append(
        ["*noise ceiling*", *("" if top is None else f"{top.equal_latency:.2f}; {top.tau:.2f}" for top in tops)]
    )
    intro = (
        f"The {benchmarks[TARGET].accuracies[0].architectures} architectures ({len(part)} points) for which all these"
        " are known. τ at equal latency (90 %); τ over all points. *Family left out*: its terms fitted to the column's"
        " own accuracies of the other families; plain `calibrated` is the score as it ships."
    )
    return (
        intro + "\n\n" + markdown(["score", *(f"`{target.removesuffix('_map50_95')}`" for target in benchmarks)], rows)
    )


def zoo(closed: Sequence[str], draws: int, progress: Progress) -> str:
    """The zoo's families with their published COCO AP, and how much recipes blur them."""
    points = published.zoo_detectors(progress)
    found = score_columns(points, closed, progress=progress)
    benchmark = benchmark_scores(
        points,
        found,
        published.TARGET,
        points.devices(),
        BenchmarkOptions(published.BINS, draws, family_min_points=published.MIN_MODELS),
        progress,
    )
    families = [str(f) for f in np.unique(points.family) if (points.family == f).sum() >= published.MIN_MODELS]
    rows = []
    for accuracy, column in sorted(
        zip(benchmark.accuracies, found, strict=True), key=lambda pair: -pair[0].equal_latency.value
    ):
        orders = []
        for family in families:
            own = points.family == family
            orders.append(_order(column.values[own], points.accuracy[published.TARGET][own], points.arch[own]))
        rows.append(
            [
                accuracy.name,
                f"{accuracy.equal_latency.value:.2f} {span(accuracy.equal_latency)}",
                f"{accuracy.tau.value:.2f} {span(accuracy.tau)}",
                *orders,
            ]
        )
    blur = published.recipe_effect(points)
    offsets = ", ".join(
        f"{family} {value:+.1f}" for family, value in sorted(blur.offset_points.items(), key=lambda item: -item[1])
    )
    timed = int((~np.isnan(points.latency[published.DEVICE])).sum())
    return (
        f"{len(points)} models of the zoo against their published COCO AP; {timed} have a published T4 latency, cut "
        f"into {published.BINS} bins. The last columns: whether the score orders "
        "a family as its AP does; if not, the pairs that it swaps.\n\n"
        + markdown(["score", "τ at equal T4 latency (90 %)", "τ, all", *families], rows)
        + f"\n\n**Recipes blur this.** Above a common curve of AP over T4 latency the families lie at {offsets} AP "
        f"points (standard deviation {blur.deviation_points:.1f}), while a "
        f"model lies {blur.residual_points:.1f} points off its own family's curve. A score that ordered every family "
        "perfectly and knew nothing of those offsets would reach τ = "
        f"{blur.blind_oracle:.2f} at equal latency: on these data a higher figure says as much about recipes as about "
        "graphs."
    )


def _order(score: np.ndarray, truth: np.ndarray, names: np.ndarray) -> str:
    """``yes`` where a score orders a family as its accuracy does, else the pairs that it swaps or ties, lesser
    first.
    """
    swapped = [
        f"{names[i]} and {names[j]}"
        for i in range(len(names))
        for j in range(len(names))
        if truth[i] < truth[j] and not score[i] < score[j]
    ]
    return (
        "yes"
        if not swapped
        else f"{len(swapped)} swapped: " + "; ".join(swapped[:2]) + ("; ..." if len(swapped) > 2 else "")
    )


def ranked(benchmark: ScoreBenchmark) -> list[ScoreAccuracy]:
    """Best at equal latency first."""
    return sorted(benchmark.accuracies, key=lambda accuracy: -accuracy.equal_latency.value)


def number(figure: Estimate) -> str:
    """Two digits, or a dash."""
    return "-" if np.isnan(figure.value) else f"{figure.value:.2f}"


def span(figure: Estimate, sign: str = "") -> str:
    """The interval in brackets."""
    return "" if np.isnan(figure.low) else f"({figure.low:{sign}.2f} to {figure.high:{sign}.2f})"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows))


def write_page(page: Path, text: str) -> None:
    """Replace what stands between the marks; a page without them is refused."""
    before = page.read_text(encoding="utf-8")
    head, begin, rest = before.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise BadInput(f"{page} has no {BEGIN} and {END}, between which the figures go")
    write_atomic(page, f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}")


if __name__ == "__main__":
    main()
