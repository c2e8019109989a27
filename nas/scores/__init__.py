"""Zero-shot scores over any Graph: estimates of how good a network may become, without training it.

``SCORES`` maps names to scores, one file each. Scores that need torch import it when they are computed; the others are
closed forms. Definitions: ``docs/scores.md``.
"""

from __future__ import annotations

from nas.costs import SpaceCosts
from nas.scores.activations import ACTIVATIONS
from nas.scores.calibrated import CALIBRATED
from nas.scores.deepmad import DEEPMAD
from nas.scores.entropy import WEIGHTS as WEIGHTS
from nas.scores.expressivity import EXPRESSIVITY
from nas.scores.forecast import FILE_ENDINGS, FORECAST, ForecastFit, forecast_score
from nas.scores.maxent import MAXENT
from nas.scores.maxent_detector import MAXENT_DETECTOR
from nas.scores.meco import MECO
from nas.scores.nwot import NWOT, NWOT_PRE
from nas.scores.score import Score as Score
from nas.scores.score import ScoreResult as ScoreResult
from nas.scores.swap import SWAP
from nas.scores.synflow import SYNFLOW
from nas.scores.zen import ZEN
from nas.scores.zico import ZICO
from workbench.errors import unknown_name

SCORES: dict[str, Score] = {
    score.name: score
    for score in (
        CALIBRATED,
        FORECAST,
        MAXENT,
        MAXENT_DETECTOR,
        DEEPMAD,
        ACTIVATIONS,
        ZEN,
        NWOT,
        NWOT_PRE,
        SYNFLOW,
        ZICO,
        SWAP,
        MECO,
        EXPRESSIVITY,
    )
}
"""Scores by name. A search maximizes the first additive one that its space allows; the order is that of the evidence at
equal latency (``docs/benchmarks/scores.md``)."""


def get_score(name: str) -> Score:
    """The score called ``name``, or ``forecast`` with the numbers of a YAML file.

    The error for an unknown name lists its nearest neighbours.
    """
    if name in SCORES:
        return SCORES[name]
    if name.endswith(FILE_ENDINGS):
        ForecastFit.load(name)
        return forecast_score(name, name)
    raise unknown_name("score", name, SCORES)


def additive_scores() -> list[Score]:
    """The scores that the exact search can maximize, preferred one first."""
    return [score for score in SCORES.values() if score.additive]


def fitting_scores(costs: SpaceCosts) -> tuple[str, ...]:
    """Names of the additive scores that can be computed in the space of ``costs``, preferred one first."""
    return tuple(score.name for score in additive_scores() if not score.unfit(costs))
