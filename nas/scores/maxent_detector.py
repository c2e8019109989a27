"""``maxent_detector``: ``maxent`` of backbone and neck together."""

from __future__ import annotations

import math

from nas.scores.entropy import WEIGHTS, align_weights, levels
from nas.scores.score import Score, ScoreResult
from search_spaces.graph import Graph


def maxent_detector(graph: Graph, input_px: int, weights: tuple[float, ...] = WEIGHTS) -> ScoreResult:
    """Sum over the levels of backbone and neck of weight x (entropy + ln channels), the last weight for the coarsest.

    The largest path to a level of the neck may go down to a coarser one and come up again: no sum over blocks.
    """
    all_levels = levels(graph, input_px, whole=True)
    aligned = align_weights(weights, len(all_levels))
    terms = [w * (level.entropy + math.log(level.channels)) for w, level in zip(aligned, all_levels, strict=True)]
    return ScoreResult(math.fsum(terms), tuple(terms), {"strides": [level.stride for level in all_levels]})


MAXENT_DETECTOR = Score(
    "maxent_detector", "maximum entropy of backbone and neck together, by level", maxent_detector, deployed=True
)
