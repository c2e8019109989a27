"""One architecture with all its scores and costs, and the published detector to set beside it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from nas.costs import architecture_costs
from nas.scores import fitting_scores, get_score
from nas.searcher.evaluator import Evaluator
from search_spaces.architecture import Architecture
from search_spaces.published import PUBLISHED
from search_spaces.tinynas_text import to_text
from workbench.errors import BadInput
from zoo.resolve import ResolvedModel


@dataclass(frozen=True)
class Candidate:
    """An architecture with its costs in base units, and latency by part in ms."""

    name: str
    architecture: Architecture
    score: float
    costs: dict[str, float]
    parts_ms: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    """The searched score and every additive one that the space allows, by name."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the stable keys of ``--json``."""
        return {
            "name": self.name,
            "digest": self.architecture.digest(),
            "score": self.score,
            "scores": self.scores,
            "costs": self.costs,
            "latency_ms_by_part": self.parts_ms,
            "architecture": self.architecture.to_dict(),
            "tinynas": text_or_nothing(self.architecture),
        }

    @staticmethod
    def of(data: dict[str, Any]) -> Candidate:
        """Read the output of ``to_dict``."""
        architecture, parts_ms = Architecture.from_dict(data["architecture"]), data["latency_ms_by_part"]
        return Candidate(data["name"], architecture, data["score"], data["costs"], parts_ms, data.get("scores", {}))


def cost_candidate(evaluator: Evaluator, arch: Architecture, name: str, score: float | None = None) -> Candidate:
    """``arch`` at its own or the search's input side, with its costs and scores.

    ``score``: the searched one where it is known.
    """
    space_costs, searched = evaluator.space_costs, evaluator.score.name
    side = arch.input_px or space_costs.input_px
    arch = dataclasses.replace(arch, input_px=side)
    costs = architecture_costs(arch, side, space_costs.devices, space_costs.scope)
    scores = {} if score is None else {searched: score}
    for other in dict.fromkeys((searched, *fitting_scores(space_costs))):
        if other not in scores:
            function = get_score(other)
            graph, px = ResolvedModel(name, arch).score_graph(side, function.deployed)
            options = function.own(weights=evaluator.weights, seed=evaluator.seed)
            scores[other] = float(function(graph, px, **options).value)
    rounded = {key: plain_number(value) for key, value in costs.costs.items()}
    return Candidate(name, arch, scores[searched], rounded, costs.parts_ms, scores)


def nearest_anchor(evaluator: Evaluator) -> Candidate | None:
    """DAMO-YOLO's published detector of the same style nearest to the main budget, with the same costs."""
    limit, space_costs = evaluator.limits[0], evaluator.space_costs
    target = limit.high * space_costs.unit(limit.name)

    def distance(arch: Architecture) -> float:
        costs = architecture_costs(arch, space_costs.input_px, space_costs.devices, space_costs.scope)
        return abs(math.log(costs.costs[limit.name] / target))

    # Nearest first, scored after: a forward-pass score takes seconds a network.
    same_style = (arch for arch in PUBLISHED.values() if arch.style == space_costs.space.style)
    nearest = min(same_style, key=distance, default=None)
    return None if nearest is None else cost_candidate(evaluator, nearest, nearest.name)


def text_or_nothing(arch: Architecture) -> str:
    """The TinyNAS text of an architecture, empty where it cannot be said in it."""
    try:
        return to_text(arch)
    except BadInput:
        return ""


def plain_number(value: Any) -> float | int:
    """A plain number, rounded to 9 decimals; int where it is whole."""
    number = round(float(value), 9)
    return int(number) if number.is_integer() else number
