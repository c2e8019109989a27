"""One trial: some scores, some trained detectors, one accuracy, some devices, and everything that is said about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.evidence.accuracy import DRAWS, LEVEL, TOP, Figure, ScoreAccuracy, lead, score_accuracy
from nas.evidence.columns import ScoreColumn
from nas.evidence.noise import Ceiling, ceiling, ceiling_of_repeats
from nas.evidence.rank import BINS, LEAST
from nas.evidence.trained import TrainedDetectors
from workbench.console import Progress

REFERENCE = "activations"
"""The plain measure that a score has to beat."""


@dataclass(frozen=True)
class ScoreBenchmark:
    """Verdicts in the order of the scores, the noise ceiling where it can be told, and what they rest on."""

    points: TrainedDetectors
    target: str
    devices: dict[str, np.ndarray]
    columns: tuple[ScoreColumn, ...]
    verdicts: tuple[ScoreAccuracy, ...]
    ceiling: Ceiling | None
    bins: int
    draws: int
    seed: int

    @property
    def families(self) -> list[str]:
        """Families in which some score has a tau; none where there is but one, which is the whole."""
        if len(set(self.points.family)) < 2:
            return []
        return sorted({name for verdict in self.verdicts for name, figure in verdict.by_family.items() if not np.isnan(figure.value)})

    def lead(self, name: str, other: str = REFERENCE) -> Figure | None:
        """By how much a score is ahead of another at equal latency; None where either is missing."""
        found = {verdict.name: verdict for verdict in self.verdicts}
        if name == other or name not in found or other not in found:
            return None
        return lead(found[name], found[other])

    def to_json(self) -> dict[str, Any]:
        """Plain data: what was judged, how, and every figure."""
        known = ~np.isnan(self.points.target(self.target))
        verdicts = []
        for verdict in self.verdicts:
            ahead = self.lead(verdict.name)
            verdicts.append({**verdict.to_json(), "lead_over_" + REFERENCE: None if ahead is None else ahead.to_json()})
        top = None if self.ceiling is None else self.ceiling.to_json()
        return {
            "data": self.points.source, "target": self.target, "points": int(known.sum()),
            "architectures": len(set(self.points.arch[known])), "families": sorted(set(map(str, self.points.family[known]))),
            "input_px": sorted(set(map(int, self.points.input_px[known]))), "devices": list(self.devices), "bins": self.bins,
            "least_points": LEAST, "top": TOP, "interval": LEVEL, "draws": self.draws, "seed": self.seed,
            "ceiling": top, "scores": verdicts,
        }  # fmt: skip


def benchmark_scores(
    points: TrainedDetectors, columns: Sequence[ScoreColumn], target: str, devices: dict[str, np.ndarray], bins: int = BINS, draws: int = DRAWS,
    seed: int = 0, family_least: int = LEAST, progress: Progress | None = None,
) -> ScoreBenchmark:  # fmt: skip
    """Judge every column against one accuracy of the points."""
    truth = points.target(target)
    verdicts = []
    for count, column in enumerate(columns, start=1):
        verdicts.append(score_accuracy(points, column, truth, devices, bins, draws, seed, family_least))
        if progress is not None:
            progress.show(f"{count} of {len(columns)} scores judged against {target}", force=count == len(columns))
    top = ceiling_of_repeats(points, target, devices, bins, seed) or ceiling(points, truth, devices, bins, seed)
    return ScoreBenchmark(points, target, devices, tuple(columns), tuple(verdicts), top, bins, draws, seed)
