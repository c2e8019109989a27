"""Fitted scores without leakage: every point scored by a fit that has not seen its family.

A score that was fitted to the data it is compared on looks better than it is. For a score that returns its terms in its
notes and models ``-ln(1 - accuracy)`` as their sum with non-negative coefficients, the fit is repeated here without
each family in turn: by least squares and to the compared accuracy alone, whatever the shipped coefficients were fitted
to.
"""

from __future__ import annotations

import numpy as np

from nas.evidence.columns import ScoreColumn
from nas.evidence.trained import TrainedDetectors
from nas.scores import SCORES, get_score
from workbench.errors import BadInput


def fitted_scores() -> list[str]:
    """Names of the registered scores that were fitted to trained detectors."""
    return [name for name, score in SCORES.items() if score.fitted_terms]


def leave_family_out(points: TrainedDetectors, name: str, target: np.ndarray) -> ScoreColumn:
    """The score at every point ``[n]``, refitted without the point's family, to the points that have a ``target``."""
    families = np.unique(points.family)
    if len(families) < 2:
        raise BadInput(f"score {name!r} cannot be refitted without a family: the data hold {len(families)} family")
    score = get_score(name)
    notes = [
        score(points.graphs[arch], int(px)).notes for arch, px in zip(points.arch, points.input_px, strict=True)
    ]
    terms = np.array([[float(note[term]) for term in score.fitted_terms] for note in notes])
    known = ~np.isnan(target)
    log_error = -np.log1p(-target)
    values = np.full(len(points), np.nan)
    for family in families:
        left_out = points.family == family
        coefficients = _fit(terms[known & ~left_out], log_error[known & ~left_out])
        values[left_out] = coefficients[0] + terms[left_out] @ coefficients[1:]
    return ScoreColumn(f"{name}, family left out", values)


def _fit(terms: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Intercept and non-negative coefficients by least squares."""
    from scipy.optimize import nnls  # type: ignore[import-untyped]

    mean = terms.mean(axis=0)
    slopes, _ = nnls(terms - mean, target - target.mean())
    return np.concatenate([[target.mean() - mean @ slopes], slopes])
