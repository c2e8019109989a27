"""``deepmad``: entropy times log of channels and resolution, with DeepMAD's effectiveness (CVPR 2023)."""

from __future__ import annotations

import math

from nas.scores.entropy import WEIGHTS, align_weights, levels
from nas.scores.score import Filter, Score, ScoreResult
from search_spaces.graph import Graph
from search_spaces.space import Space


def deepmad(graph: Graph, input_px: int, weights: tuple[float, ...] = WEIGHTS) -> ScoreResult:
    """Sum over levels of weight x ln(channels x side^2) x entropy, with the effectiveness in the notes."""
    found = levels(graph, input_px)
    terms = [
        w * (math.log(level.channels) + math.log(level.side**2)) * level.entropy
        for w, level in zip(align_weights(weights, len(found)), found, strict=True)
    ]
    notes = {"strides": [level.stride for level in found], "effectiveness": effectiveness(graph, input_px)}
    return ScoreResult(math.fsum(terms), tuple(terms), notes)


def effectiveness(graph: Graph, input_px: int) -> float:
    """DeepMAD's depth against width: the largest over levels of layers / exp(mean ln fan-in).

    Small values are trainable; DeepMAD keeps it below about 0.5 for images.
    """
    return max(level.layers * math.exp(-level.log_width / level.layers) for level in levels(graph, input_px))


def too_deep(result: ScoreResult, space: Space) -> bool:
    """DeepMAD's rule with TinyNAS's limits: whether a network is deeper than is effective for its width."""
    return bool(result.notes["effectiveness"] > (0.5 if space.style == "mob" else 0.3))


def explain(result: ScoreResult) -> str:
    """The effectiveness as a line for people."""
    return f"DeepMAD effectiveness (depth against width) {result.notes['effectiveness']:.3f}"


DEEPMAD = Score(
    "deepmad", "entropy times log of channels and resolution, with its effectiveness (CVPR 2023)", deepmad,
    explain=explain, filter=Filter(too_deep, "too deep for their width (DeepMAD's effectiveness)"),
)  # fmt: skip
