"""Fitted scores judged fairly: every point scored by a fit that has not seen its family.

A score that was fitted to the very data it is judged on flatters itself. One that gives its terms in its notes, and is
``-ln(1 - accuracy)`` as a sum of them with coefficients of at least zero, is fitted again here without the family in turn:
by least squares and to the judged accuracy alone, however the shipped numbers came about.
"""

from __future__ import annotations

import numpy as np

from nas.evidence.columns import ScoreColumn
from nas.evidence.trained import TrainedDetectors
from nas.scores import SCORES, get_score
from workbench.errors import BadInput


def fitted() -> list[str]:
    """The registered scores that were fitted to evidence."""
    return [name for name, score in SCORES.items() if score.fitted_terms]


def left_out(points: TrainedDetectors, name: str, target: np.ndarray) -> ScoreColumn:
    """The score refitted without each family in turn, at that family's points, ``[n]``; NaN where the target is unknown."""
    families = np.unique(points.family)
    if len(families) < 2:
        raise BadInput(f"score {name!r} cannot be judged on families left out: the data hold {len(families)} family")
    rows = [get_score(name)(points.graphs[arch], int(px)).notes for arch, px in zip(points.arch, points.input_px, strict=True)]
    terms = np.array([[float(row[term]) for term in get_score(name).fitted_terms] for row in rows])
    known = ~np.isnan(target)
    truth = -np.log1p(-target)
    values = np.full(len(points), np.nan)
    for family in families:
        out = points.family == family
        numbers = _fit(terms[known & ~out], truth[known & ~out])
        values[out] = numbers[0] + terms[out] @ numbers[1:]
    return ScoreColumn(f"{name}, family left out", values)


def _fit(terms: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intercept and coefficients of least squares, none of the latter below zero."""
    from scipy.optimize import nnls  # type: ignore[import-untyped]

    middle = terms.mean(axis=0)
    slopes, _ = nnls(terms - middle, truth - truth.mean())
    return np.concatenate([[truth.mean() - middle @ slopes], slopes])
