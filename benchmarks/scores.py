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

from nas.commands.bench_scores import FOLDER
from nas.evidence import published
from nas.evidence.accuracy import Figure, ScoreAccuracy
from nas.evidence.benchmark import REFERENCE, ScoreBenchmark, benchmark_scores
from nas.evidence.columns import ScoreColumn, columns, is_slow, known_names
from nas.evidence.refit import fitted, left_out
from nas.evidence.trained import TARGET, TrainedDetectors, read_trained
from nas.report.score_plot import picks_png, standing_png
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
    parser.add_argument("--jobs", type=int, default=1, help="local Ray processes for forward-pass scores")
    args = parser.parse_args()
    progress = Progress()
    points = read_trained(args.data)
    closed = [name for name in known_names() if not is_slow(name)]
    found = columns(points, closed, progress=progress)
    truth = points.target(TARGET)
    whole = benchmark_scores(
        points,
        found + [left_out(points, name, truth) for name in fitted()],
        TARGET,
        points.devices(tuple(DEVICES)),
        progress=progress,
    )
    parts = [about(whole), standing(whole), by_device(whole), ceiling(whole)]
    if not args.quick:
        parts.append("## Forward-pass scores")
        parts += list(forward(points, found, args.jobs, progress))
    parts += [
        "## Other accuracies of the same detectors",
        others(points, found, progress),
        "## Other people's detectors",
        zoo(closed, progress),
    ]
    text = "\n\n".join(parts)
    print(text)
    if args.page is not None:
        write_page(args.page, text)
        drawn = [name for name in DRAWN if any(verdict.name == name for verdict in whole.verdicts)]
        write_atomic(args.page.with_name("scores-equal-latency.png"), standing_png(whole))
        write_atomic(args.page.with_name("scores-picks.png"), picks_png(whole, "raspberrypi4_cpu_tflite_fp32", drawn))


def about(trial: ScoreBenchmark) -> str:
    """What the first tables rest on."""
    facts = trial.to_json()
    return (
        f"{datetime.date.today()}: {facts['points']} points, {facts['architectures']} architectures of "
        f"{len(facts['families'])} families at "
        f"{len(facts['input_px'])} input sizes, `{trial.target}`; {trial.bins} latency bins a device, {trial.draws:,} "
        f"bootstrap draws, seed {trial.seed}."
    )


def standing(trial: ScoreBenchmark) -> str:
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
    for verdict in ranked(trial):
        ahead = trial.lead(verdict.name)
        rows.append(
            [
                verdict.name,
                f"**{verdict.equal_latency.value:.2f}** {span(verdict.equal_latency)}",
                "" if ahead is None else f"{ahead.value:+.2f} {span(ahead, '+')}",
                f"{verdict.tau.value:.2f} {span(verdict.tau)}",
                f"{verdict.spearman:.2f}",
                number(verdict.fixed_size),
                number(verdict.in_family),
                f"{verdict.regret_points.value:.1f} {span(verdict.regret_points)}",
                f"{100 * verdict.front_share.value:.0f} %",
            ]
        )
    return markdown(header, rows)


def by_device(trial: ScoreBenchmark) -> str:
    """Tau at equal latency on each device."""
    rows = [
        [verdict.name, *(number(verdict.equal_latency_by_device[name]) for name in DEVICES)]
        for verdict in ranked(trial)
    ]
    return markdown(["τ at equal latency", *DEVICES.values()], rows)


def ceiling(trial: ScoreBenchmark) -> str:
    """The noise, in a sentence."""
    top = trial.ceiling
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
        slow = columns(part, names, jobs=jobs, folder=Path(FOLDER) / "journals", progress=progress)
        same = [ScoreColumn(column.name, column.values[keep], column.failures) for column in closed]
        # Fitted to all sizes, judged here at a few: what is left out is the family.
        same += [
            ScoreColumn(c.name, c.values[keep])
            for c in (left_out(points, name, points.target(TARGET)) for name in fitted())
        ]
        trial = benchmark_scores(part, same + slow, TARGET, part.devices(tuple(DEVICES)), bins=bins, progress=progress)
        yield f"At {' and '.join(map(str, sizes))} px: {len(part)} points, {bins} latency bins, seed 0."
        rows = [
            [
                v.name,
                f"**{v.equal_latency.value:.2f}** {span(v.equal_latency)}",
                *(number(v.equal_latency_by_device[d]) for d in DEVICES),
                number(v.tau),
                f"{v.regret_points.value:.1f}",
            ]
            for v in ranked(trial)
        ]
        yield markdown(
            ["score", "τ at equal latency (90 %)", *DEVICES.values(), "τ, all of these points", "regret, mAP points"],
            rows,
        )
        refused = [
            f"{v.name} has no value for {name}: {reason}"
            for v in trial.verdicts
            for name, reason in sorted(v.failures.items())
        ]
        if refused:
            yield "\n".join(f"* {line}" for line in refused)


def others(points: TrainedDetectors, closed: Sequence[ScoreColumn], progress: Progress) -> str:
    """Tau at equal latency and over all points for every other accuracy column, and for the first one on the same
    points.
    """
    extra = [target for target in points.accuracy if target != TARGET]
    shared = ~np.isnan(np.stack([points.target(target) for target in extra])).any(axis=0)
    part = points.part(shared)
    trials = {}
    for target in (TARGET, *extra):
        same = [ScoreColumn(column.name, column.values[shared], column.failures) for column in closed]
        again = [left_out(part, name, part.target(target)) for name in fitted()]
        trials[target] = benchmark_scores(
            part, [*same, *again], target, part.devices(tuple(DEVICES)), draws=200, progress=progress
        )
    rows = []
    for name in (verdict.name for verdict in ranked(trials[TARGET])):
        verdicts = [next(v for v in trial.verdicts if v.name == name) for trial in trials.values()]
        rows.append(
            [name, *(f"**{v.equal_latency.value:.2f}** {span(v.equal_latency)}; {v.tau.value:.2f}" for v in verdicts)]
        )
    tops = [trial.ceiling for trial in trials.values()]
    rows.append(
        ["*noise ceiling*", *("" if top is None else f"{top.equal_latency:.2f}; {top.tau:.2f}" for top in tops)]
    )
    intro = (
        f"The {trials[TARGET].verdicts[0].architectures} architectures ({len(part)} points) for which all these are "
        "known. τ at equal latency (90 %); τ over all points. *Family left out*: its terms fitted to the "
        "column's own accuracies of the other families; plain `calibrated` is the score as it ships."
    )
    return intro + "\n\n" + markdown(["score", *(f"`{target.removesuffix('_map50_95')}`" for target in trials)], rows)


def zoo(closed: Sequence[str], progress: Progress) -> str:
    """The zoo's families with their published COCO AP, and how much recipes blur them."""
    points = published.zoo_detectors(progress)
    found = columns(points, closed, progress=progress)
    trial = benchmark_scores(
        points,
        found,
        published.TARGET,
        points.devices(),
        bins=published.BINS,
        family_least=published.LEAST,
        progress=progress,
    )
    families = [str(f) for f in np.unique(points.family) if (points.family == f).sum() >= published.LEAST]
    rows = []
    for verdict, column in sorted(
        zip(trial.verdicts, found, strict=True), key=lambda pair: -pair[0].equal_latency.value
    ):
        orders = []
        for family in families:
            own = points.family == family
            orders.append(_order(column.values[own], points.accuracy[published.TARGET][own], points.arch[own]))
        rows.append(
            [
                verdict.name,
                f"{verdict.equal_latency.value:.2f} {span(verdict.equal_latency)}",
                f"{verdict.tau.value:.2f} {span(verdict.tau)}",
                *orders,
            ]
        )
    blur = published.blur(points)
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


def ranked(trial: ScoreBenchmark) -> list[ScoreAccuracy]:
    """Best at equal latency first."""
    return sorted(trial.verdicts, key=lambda verdict: -verdict.equal_latency.value)


def number(figure: Figure) -> str:
    """Two digits, or a dash."""
    return "-" if np.isnan(figure.value) else f"{figure.value:.2f}"


def span(figure: Figure, sign: str = "") -> str:
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
