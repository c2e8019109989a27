"""The result of ``nas bench-scores``: scores ranked by how well they order trained detectors; text, table, data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.evidence.columns import ScoreColumn
from nas.evidence.published import RecipeEffect
from nas.evidence.statistics.accuracy import LEVEL, TOP, BenchmarkOptions, Estimate, ScoreAccuracy, lead, score_accuracy
from nas.evidence.statistics.noise import NoiseCeiling, NoiseOptions, noise_ceiling, repeated_runs_ceiling
from nas.evidence.statistics.rank import MIN_POINTS
from nas.evidence.trained import TrainedDetectors
from workbench.console import Progress, table
from workbench.tables import Result, Table

REFERENCE = "activations"
"""The plain size that a score has to beat."""
HEADER = (
    "score", "tau at equal latency", "90 %", f"ahead of {REFERENCE}", "tau, all", "Spearman", "at one size",
    "in a family", "regret, mAP points", "front found",
)  # fmt: skip


@dataclass(frozen=True)
class ScoreBenchmark(Result):
    """The accuracy of every score in the order of ``columns``, the noise ceiling if there is one, and the data."""

    points: TrainedDetectors
    target: str
    devices: Mapping[str, np.ndarray]
    columns: tuple[ScoreColumn, ...]
    accuracies: tuple[ScoreAccuracy, ...]
    ceiling: NoiseCeiling | None
    options: BenchmarkOptions
    recipe_effect: RecipeEffect | None = None
    """Of published detectors only."""

    @property
    def families(self) -> list[str]:
        """Families in which some score has a tau; empty if the data hold only one, which is all points."""
        if len(set(self.points.family)) < 2:
            return []
        taus = (item for accuracy in self.accuracies for item in accuracy.by_family.items())
        return sorted({name for name, tau in taus if not np.isnan(tau.value)})

    @property
    def bins(self) -> dict[str, int]:
        """Latency bins by device."""
        return self.options.bins_by_device(self.points.target(self.target), self.devices)

    def bins_text(self) -> str:
        """``4 latency bins a device``, or the number on every device where they differ."""
        numbers = set(self.bins.values())
        if len(numbers) <= 1:
            return f"{next(iter(numbers), 0)} latency bins a device"
        truth = ~np.isnan(self.points.target(self.target))
        points = {name: int((truth & ~np.isnan(ms)).sum()) for name, ms in self.devices.items()}
        return "latency bins: " + ", ".join(f"{name} {n} ({points[name]} points)" for name, n in self.bins.items())

    def ranked(self) -> list[ScoreAccuracy]:
        """Best tau at equal latency first."""
        return sorted(self.accuracies, key=lambda accuracy: -accuracy.equal_latency.value)

    def lead(self, name: str, other: str = REFERENCE) -> Estimate | None:
        """Tau at equal latency of one score minus that of another; None if either is missing."""
        accuracies = {accuracy.name: accuracy for accuracy in self.accuracies}
        if name == other or name not in accuracies or other not in accuracies:
            return None
        return lead(accuracies[name], accuracies[other])

    def figures(self) -> dict[str, Any]:
        """JSON-ready, as in ``verdicts.json``: the data, the options and every statistic."""
        known = ~np.isnan(self.points.target(self.target))
        scores = []
        for accuracy in self.accuracies:
            ahead = self.lead(accuracy.name)
            scores.append({**accuracy.to_dict(), "lead_over_" + REFERENCE: None if ahead is None else ahead.to_dict()})
        return {
            "data": self.points.source,
            "target": self.target,
            "points": int(known.sum()),
            "architectures": len(set(self.points.arch[known])),
            "families": sorted(set(map(str, self.points.family[known]))),
            "input_px": sorted(set(map(int, self.points.input_px[known]))),
            "devices": list(self.devices),
            "bins": self.bins,
            "least_points": MIN_POINTS,
            "top": TOP,
            "interval": LEVEL,
            "draws": self.options.draws,
            "seed": self.options.seed,
            "ceiling": None if self.ceiling is None else self.ceiling.to_dict(),
            "scores": scores,
        }

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, as ``--json`` prints it."""
        return {**self.figures(), "blur": None if self.recipe_effect is None else vars(self.recipe_effect)}

    def to_table(self) -> Table:
        """Header and one row per score, best first."""
        rows = []
        for accuracy in self.ranked():
            ahead = self.lead(accuracy.name)
            rows.append([
                accuracy.name,
                _number(accuracy.equal_latency.value),
                _interval(accuracy.equal_latency),
                "" if ahead is None else _interval(ahead, sign="+"),
                _number(accuracy.tau.value),
                _number(accuracy.spearman),
                _number(accuracy.fixed_size.value),
                _number(accuracy.in_family.value),
                _number(accuracy.regret_points.value),
                _number(accuracy.front_share.value),
            ])  # fmt: skip
        return Table(HEADER, rows)

    def __str__(self) -> str:
        about, ranked = self.figures(), self.ranked()
        counts = f"{about['points']:,} points, {about['architectures']} architectures"
        families = f"{len(about['families'])} families"
        lines = [f"{counts} of {families}, accuracy {self.target} of {self.points.source}", ""]
        lines += [str(self.to_table()), ""]
        if self.devices:
            lines += [self.bins_text(), ""]
        lines.append(_breakdown("at equal latency", self.devices, {a.name: a.equal_latency_by_device for a in ranked}))
        if self.families:
            lines += ["", _breakdown("in a family", self.families, {a.name: a.by_family for a in ranked})]
        if self.ceiling is not None:
            lines += ["", str(self.ceiling)]
        for accuracy in ranked:
            failures = sorted(accuracy.failures.items())
            lines += [f"{accuracy.name} has no value for {name}: {reason}" for name, reason in failures]
        if self.recipe_effect is not None:
            lines += ["", str(self.recipe_effect)]
        return "\n".join(lines)


def benchmark_scores(
    points: TrainedDetectors,
    columns: Sequence[ScoreColumn],
    target: str,
    devices: Mapping[str, np.ndarray],
    options: BenchmarkOptions | None = None,
    progress: Progress | None = None,
) -> ScoreBenchmark:
    """Rank every score column against one accuracy column of the points; ``devices`` are latencies ``[n]`` in ms."""
    options = options or BenchmarkOptions()
    truth = points.target(target)
    accuracies = []
    for count, column in enumerate(columns, start=1):
        accuracies.append(score_accuracy(points, column, truth, devices, options))
        if progress is not None:
            text = f"{count} of {len(columns)} scores compared with {target}"
            progress.show(text, force=count == len(columns))
    noise = NoiseOptions(options.bins, options.seed)
    ceiling = repeated_runs_ceiling(points, target, devices, noise) or noise_ceiling(points, truth, devices, noise)
    return ScoreBenchmark(points, target, devices, tuple(columns), tuple(accuracies), ceiling, options)


def _breakdown(title: str, parts: Sequence[str] | Mapping[str, Any], taus: Mapping[str, Mapping[str, Estimate]]) -> str:
    """A table of tau: one row per score, one column per part (a device or a family)."""
    rows = [
        [name, *(_number(of_part[part].value) if part in of_part else "-" for part in parts)]
        for name, of_part in taus.items()
    ]
    return table([title, *parts], rows)


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


def _interval(estimate: Estimate, sign: str = "") -> str:
    return "-" if np.isnan(estimate.low) else f"{estimate.low:{sign}.2f} .. {estimate.high:{sign}.2f}"
