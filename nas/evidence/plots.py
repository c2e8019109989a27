"""Pictures of a score benchmark: tau of every score with its interval, and what each score would have selected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nas.evidence.benchmark import ScoreBenchmark
from nas.evidence.statistics.accuracy import Estimate
from nas.evidence.statistics.rank import MIN_POINTS, latency_bins
from nas.report.canvas import BUDGET, COLOURS, FRONT, INK, MARKERS, new_figure, to_png
from workbench.errors import BadInput

MAX_SELECTED = 4
"""Default number of scores whose selections are drawn."""


def equal_latency_png(benchmark: ScoreBenchmark) -> bytes:
    """One row per score, best on top: mean tau at equal latency with its 90 % interval, a small mark per device."""
    rows = [(a.name, a.equal_latency, a.equal_latency_by_device) for a in benchmark.accuracies]
    ceiling = None if benchmark.ceiling is None else benchmark.ceiling.equal_latency
    return _rows_png(rows, "Kendall tau with trained mAP at equal latency (dot: mean, bar: 90 %)", ceiling)


def families_png(benchmark: ScoreBenchmark) -> bytes:
    """One row per score, best on top: tau over all points with its 90 % interval, a small mark per family."""
    families = benchmark.families
    rows = [
        (a.name, a.tau, {name: a.by_family[name] for name in families if name in a.by_family})
        for a in benchmark.accuracies
    ]
    ceiling = None if benchmark.ceiling is None else benchmark.ceiling.tau
    return _rows_png(rows, "Kendall tau with trained mAP (dot: over all, bar: 90 %, marks: within a family)", ceiling)


def _rows_png(
    rows: Sequence[tuple[str, Estimate, Mapping[str, Estimate]]], label: str, ceiling: float | None
) -> bytes:
    """One row per name with its estimate and those of its parts; ``ceiling`` is what noise leaves to reach."""
    ranked = sorted(rows, key=lambda row: row[1].value)
    figure = new_figure(7.6, 1.7 + 0.33 * len(ranked))
    axes = figure.add_subplot()
    for row, (_, mean, parts) in enumerate(ranked):
        axes.plot((mean.low, mean.high), (row, row), color=FRONT, linewidth=5, alpha=0.35, solid_capstyle="butt")
        axes.plot(mean.value, row, "o", color=FRONT, markersize=7, zorder=4)
        at = {"xycoords": ("axes fraction", "data"), "va": "center"}
        axes.annotate(f"{mean.value:.2f}", (1.02, row), fontsize=9, color=INK, **at)
        for place, (part, estimate) in enumerate(parts.items(), start=1):
            axes.plot(
                estimate.value, row, MARKERS[place % len(MARKERS)], color=COLOURS[place % len(COLOURS)], markersize=4,
                markeredgewidth=0, alpha=0.9, zorder=3, linestyle="none", label=_label(part) if row == 0 else None,
            )  # fmt: skip
    axes.axvline(0, color=BUDGET, linewidth=0.8)
    if ceiling is not None and not np.isnan(ceiling):
        axes.axvline(ceiling, color=BUDGET, linestyle="--", linewidth=1.1, label="perfect score, by the noise")
    axes.set_yticks(range(len(ranked)), [name for name, _, _ in ranked], parse_math=False)
    axes.set_ylim(-0.6, len(ranked) - 0.4)
    axes.set_xlabel(label)
    axes.set_xlim(right=1.0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.25)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return to_png(figure)


def selection_png(benchmark: ScoreBenchmark, device: str, names: Sequence[str] = ()) -> bytes:
    """Accuracy over one device's latency: every point, the best of each latency bin, and what each score selects there.

    ``names``: which scores (default: the best at equal latency).
    """
    if device not in benchmark.devices:
        raise BadInput(f"the benchmark has no device {device!r}: it has {', '.join(benchmark.devices)}")
    bins = benchmark.bins[device]
    shown = list(names) or [accuracy.name for accuracy in benchmark.ranked()[:MAX_SELECTED]]
    ms, truth = benchmark.devices[device], 100 * benchmark.points.target(benchmark.target)
    timed = ~(np.isnan(ms) | np.isnan(truth))
    figure = new_figure(7.6, 5.2)
    axes = figure.add_subplot()
    axes.plot(ms[timed], truth[timed], ".", color="#BBBBBB", markersize=4, label="trained detectors", zorder=1)
    best = _selected(truth, truth, ms, timed, bins)
    axes.plot(ms[best], truth[best], "-", color=INK, linewidth=0.9, label="best of each latency bin", zorder=2)
    columns = {column.name: column.values for column in benchmark.columns}
    for place, name in enumerate(shown):
        known = timed & np.isfinite(columns[name])
        selected = _selected(columns[name], truth, ms, known, bins)
        lost = float(np.mean(truth[_selected(truth, truth, ms, known, bins)] - truth[selected]))
        axes.plot(
            ms[selected], truth[selected], MARKERS[place % len(MARKERS)], color=COLOURS[place % len(COLOURS)],
            markersize=7, alpha=0.85, markeredgecolor="white", markeredgewidth=0.5, zorder=3 + place,
            label=f"selected by {name}: {lost:.1f} points lost",
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel(f"latency on {_label(device)}, ms", parse_math=False)
    axes.set_ylabel(f"{benchmark.target}, percent", parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8.5, frameon=False, loc="lower right")
    return to_png(figure)


def _selected(score: np.ndarray, truth: np.ndarray, ms: np.ndarray, known: np.ndarray, bins: int) -> np.ndarray:
    """Index of the highest score in every latency bin; among tied scores the worst target."""
    rows = np.flatnonzero(known)
    group = latency_bins(ms[rows], bins)
    selected = []
    for label in np.unique(group):
        in_bin = rows[group == label]
        if len(in_bin) >= MIN_POINTS:
            selected.append(in_bin[np.lexsort((truth[in_bin], -score[in_bin]))[0]])
    return np.array(selected, dtype=int)


def _label(name: str) -> str:
    return name.replace("_", " ")
