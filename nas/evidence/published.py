"""The zoo's published detectors as evidence: COCO AP and T4 latency as their authors publish them.

Training recipes differ between families (epochs, augmentation, pre-training, distillation), so part of what separates
two families is not in their graphs. ``recipe_effect`` estimates how much.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nas.detectors.read import read_atlas
from nas.detectors.sources.zoo_cards import DEVICE, TARGET, ZOO
from nas.evidence.statistics.rank import equal_latency_tau
from nas.evidence.trained import TrainedDetectors, trained_points
from workbench.console import Progress

BINS = 4
"""Bins of T4 latency: about thirty models do not fill more."""
MIN_MODELS = 3
"""Number of models that make a family."""


@dataclass(frozen=True)
class RecipeEffect:
    """What families differ by beyond latency.

    ``offset_points``: AP points of each family above a common curve of AP over T4 latency. ``deviation_points``: their
    standard deviation. ``residual_points``: the deviation of models from their own family's curve. ``blind_oracle``:
    tau at equal latency of a score that ranks every family perfectly and does not know the offsets.
    """

    offset_points: dict[str, float]
    deviation_points: float
    residual_points: float
    blind_oracle: float

    def __str__(self) -> str:
        return (
            f"Training recipes confound this: beyond latency, families differ by {self.deviation_points:.1f} AP points "
            f"(standard deviation), models of one family from its curve by {self.residual_points:.1f}; a score that "
            f"ranks every family perfectly and does not know the recipes would reach tau {self.blind_oracle:.2f} at "
            "equal latency."
        )


def zoo_detectors(progress: Progress | None = None) -> TrainedDetectors:
    """Every model of the zoo at its published input size: the whole detector in deploy form without box decoding."""
    return trained_points(read_atlas([ZOO], progress))


def recipe_effect(points: TrainedDetectors, bins: int = BINS) -> RecipeEffect:
    """Fit AP = quadratic in ln(T4 latency) + an offset per family (``MIN_MODELS`` timed models), by least squares."""
    ap, ms = points.accuracy[TARGET], points.latency[DEVICE]
    timed = ~np.isnan(ms)
    counts = {str(name): (timed & (points.family == name)).sum() for name in np.unique(points.family)}
    names = [name for name, count in counts.items() if count >= MIN_MODELS]
    rows = timed & np.isin(points.family, names)
    x = np.log(ms[rows] / np.exp(np.log(ms[rows]).mean()))
    membership = (points.family[rows][:, None] == np.array(names)[None, :]).astype(float)
    design = np.column_stack([x, x**2, membership])
    coefficients = np.linalg.lstsq(design, ap[rows], rcond=None)[0]
    offsets = coefficients[2:] - coefficients[2:].mean()
    residuals = ap[rows] - design @ coefficients
    without_offsets = ap[rows] - membership @ offsets
    freedom = max(1, int(rows.sum()) - len(coefficients))
    return RecipeEffect(
        offset_points={name: round(100 * float(value), 2) for name, value in zip(names, offsets, strict=True)},
        deviation_points=100 * float(offsets.std(ddof=1)) if len(names) > 1 else 0.0,
        residual_points=100 * float(np.sqrt((residuals**2).sum() / freedom)),
        blind_oracle=equal_latency_tau(without_offsets, ap[rows], ms[rows], bins),
    )
