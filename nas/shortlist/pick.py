"""Who is trained: candidates spread over a search's front, and stock models of about the same cost to hold them against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nas.budgets import FLOPS, LATENCY, LAYERS, QUANTITIES, quantity_of
from nas.costs import graph_costs
from nas.searcher.result import SearchResult
from search_spaces.architecture import Architecture
from workbench.errors import BadInput
from zoo.families.card import find_card, load_cards
from zoo.resolve import resolve_model

FROM_SHARE = 0.5
"""Candidates are spread from this part of the best one's cost on: below, the front is of networks that nobody asked for."""
NEAREST = 3
"""So many stock models, of different families, are trained beside the candidates unless the command names them."""
LOOKED_AT = 2
"""Models of each family whose cost is taken, nearest in FLOPs first."""


@dataclass(frozen=True, slots=True)
class ShortlistCandidate:
    """A find of the search: ``cost`` in base units of the ruler that the shortlist goes by."""

    name: str
    architecture: Architecture
    score: float
    cost: float
    flops: float


@dataclass(frozen=True, slots=True)
class StockModel:
    """A model of the zoo with its cost on the same ruler."""

    model: str
    cost: float


def ruler(result: SearchResult) -> str:
    """The cost that trained detectors are compared by: latency where the search had a device, else its first budget.

    Layers are counted in our own networks only, so they rule nothing.
    """
    line = result.front[0]
    times = [name for name in line if quantity_of(name) == LATENCY]
    budgeted = {budget.quantity for budget in result.problem.budgets}
    return times[0] if times else next((name for name in QUANTITIES if name in budgeted and name != LAYERS), FLOPS)


def pick(result: SearchResult, count: int) -> list[ShortlistCandidate]:
    """At most ``count`` candidates, dearest first: the best scores below costs that are evenly spread up to the best one's.

    Where the front has too few of them, the best-scored others fill up.
    """
    if count < 1:
        raise BadInput(f"--top {count} must be at least 1: so many of the front are trained")
    by = ruler(result)
    by_score = sorted(result.front, key=lambda one: -float(one["score"]))
    highest = float(by_score[0][by])
    lowest = max(FROM_SHARE * highest, min(float(one[by]) for one in by_score))
    chosen: list[dict[str, Any]] = []
    for step in range(count):
        most = highest - (highest - lowest) * step / max(1, count - 1)
        chosen += [one for one in by_score if float(one[by]) <= most and one not in chosen][:1]
    chosen += [one for one in by_score if one not in chosen][: count - len(chosen)]
    chosen.sort(key=lambda one: -float(one[by]))
    space = result.problem.space
    found = []
    for place, line in enumerate(chosen, start=1):
        arch = space.decode(line["row"], name=f"found-{place}")
        if arch.digest() != line["digest"]:
            raise BadInput(f"the space {result.problem.space_name!r} has changed since the search in {str(result.folder)!r}: search again with --fresh")
        found.append(ShortlistCandidate(f"found-{place}", arch, float(line["score"]), float(line[by]), float(line[FLOPS])))
    return found


def stock_models(result: SearchResult, candidates: Sequence[ShortlistCandidate], named: Sequence[str] | None) -> list[StockModel]:
    """The ``named`` models, or those of ``NEAREST`` families whose cost is nearest to the dearest candidate's."""
    if named is not None:
        return [_costed(result, model) for model in dict.fromkeys(find_card(name).model for name in named)]
    px, dearest = result.problem.input_px, candidates[0]
    nearest = {}
    for family, models in _families(px).items():
        models.sort(key=lambda one: abs(math.log(one[1] / dearest.flops)))
        costed = [_costed(result, model) for model, _ in models[:LOOKED_AT]]
        nearest[family] = min(costed, key=lambda one: _apart(one, dearest))
    return sorted(nearest.values(), key=lambda one: _apart(one, dearest))[:NEAREST]


def _apart(one: StockModel, other: ShortlistCandidate) -> float:
    return abs(math.log(one.cost / other.cost))


def _families(px: int) -> dict[str, list[tuple[str, float]]]:
    """Every model of the zoo with its FLOPs at ``px``, by family."""
    found: dict[str, list[tuple[str, float]]] = {}
    for card in load_cards().values():
        found.setdefault(card.family, []).append((card.model, card.measured_flops * (px / card.input_px) ** 2))
    return found


def _costed(result: SearchResult, model: str) -> StockModel:
    """A model on the search's ruler, at the search's input side."""
    px, devices = result.problem.input_px, result.problem.devices
    return StockModel(model, graph_costs(resolve_model(model).graph("detector", px), px, devices).costs[ruler(result)])
