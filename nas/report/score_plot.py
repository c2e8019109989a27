"""Pictures of a trial of scores: where each one stands at equal latency, and what each one would have picked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nas.evidence.rank import LEAST, latency_bins
from nas.report.fit_plot import COLOURS, MARKERS
from nas.report.plots import BUDGET, FRONT, INK, _figure, _png
from workbench.errors import BadInput

if TYPE_CHECKING:
    from nas.evidence.accuracy import Figure
    from nas.evidence.benchmark import ScoreBenchmark

MOST_PICKS = 4
"""Scores whose picks are drawn where none are named."""


def standing_png(trial: ScoreBenchmark) -> bytes:
    """One row a score, best on top: mean tau at equal latency with its 90 % interval, a small mark for every device."""
    rows = [(verdict.name, verdict.equal_latency, verdict.equal_latency_by_device) for verdict in trial.verdicts]
    return _rows_png(rows, "Kendall tau with trained mAP at equal latency (dot: mean, bar: 90 %)", None if trial.ceiling is None else trial.ceiling.equal_latency)


def families_png(trial: ScoreBenchmark) -> bytes:
    """One row a score, best on top: tau over all points with its 90 % interval, a small mark for every family of the trial."""
    rows = [(verdict.name, verdict.tau, {name: verdict.by_family[name] for name in trial.families if name in verdict.by_family}) for verdict in trial.verdicts]
    return _rows_png(rows, "Kendall tau with trained mAP (dot: over all, bar: 90 %, marks: within a family)", None if trial.ceiling is None else trial.ceiling.tau)


def _rows_png(rows: Sequence[tuple[str, Figure, Mapping[str, Figure]]], label: str, ceiling: float | None) -> bytes:
    """A row for every name, its figure, and the figures of its parts; ``ceiling`` is what noise leaves to reach."""
    ranked = sorted(rows, key=lambda row: row[1].value)
    figure = _figure(7.6, 1.7 + 0.33 * len(ranked))
    axes = figure.add_subplot()
    for row, (_, mean, parts) in enumerate(ranked):
        axes.plot((mean.low, mean.high), (row, row), color=FRONT, linewidth=5, alpha=0.35, solid_capstyle="butt")
        axes.plot(mean.value, row, "o", color=FRONT, markersize=7, zorder=4)
        axes.annotate(f"{mean.value:.2f}", (1.02, row), xycoords=("axes fraction", "data"), va="center", fontsize=9, color=INK)
        for place, (part, figure_of) in enumerate(parts.items()):
            axes.plot(
                figure_of.value, row, MARKERS[(place + 1) % len(MARKERS)], color=COLOURS[(place + 1) % len(COLOURS)], markersize=4,
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
    return _png(figure)


def picks_png(trial: ScoreBenchmark, device: str, names: Sequence[str] = ()) -> bytes:
    """Accuracy over one device's latency: every point, the best of each latency bin, and what each score would have picked there.

    ``names``: which scores (default: the best at equal latency).
    """
    if device not in trial.devices:
        raise BadInput(f"the trial has no device {device!r}: it has {', '.join(trial.devices)}")
    order = sorted(trial.verdicts, key=lambda verdict: -verdict.equal_latency.value)
    chosen = list(names) or [verdict.name for verdict in order[:MOST_PICKS]]
    ms, truth = trial.devices[device], 100 * trial.points.target(trial.target)
    timed = ~(np.isnan(ms) | np.isnan(truth))
    figure = _figure(7.6, 5.2)
    axes = figure.add_subplot()
    axes.plot(ms[timed], truth[timed], ".", color="#BBBBBB", markersize=4, label="trained detectors", zorder=1)
    best = _picks(truth, truth, ms, timed, trial.bins)
    axes.plot(ms[best], truth[best], "-", color=INK, linewidth=0.9, label="best of each latency bin", zorder=2)
    columns = {column.name: column.values for column in trial.columns}
    for place, name in enumerate(chosen):
        known = timed & np.isfinite(columns[name])
        picked = _picks(columns[name], truth, ms, known, trial.bins)
        lost = float(np.mean(truth[_picks(truth, truth, ms, known, trial.bins)] - truth[picked]))
        axes.plot(
            ms[picked], truth[picked], MARKERS[place % len(MARKERS)], color=COLOURS[place % len(COLOURS)], markersize=7, alpha=0.85,
            markeredgecolor="white", markeredgewidth=0.5, label=f"picked by {name}: {lost:.1f} points lost", zorder=3 + place,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel(f"latency on {_label(device)}, ms", parse_math=False)
    axes.set_ylabel(f"{trial.target}, percent", parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8.5, frameon=False, loc="lower right")
    return _png(figure)


def _picks(score: np.ndarray, truth: np.ndarray, ms: np.ndarray, known: np.ndarray, bins: int) -> np.ndarray:
    """The point of the highest score in every latency bin; the worse one where scores tie."""
    rows = np.flatnonzero(known)
    group = latency_bins(ms[rows], bins)
    found = []
    for label in np.unique(group):
        own = rows[group == label]
        if len(own) >= LEAST:
            found.append(own[np.lexsort((truth[own], -score[own]))[0]])
    return np.array(found, dtype=int)


def _label(device: str) -> str:
    return device.replace("_", " ")
