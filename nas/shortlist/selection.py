"""What is trained: candidates spread over a search's front, and stock models of about the same cost for comparison."""

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
"""Candidates are spread over costs from this share of the best one's on; below, networks are smaller than wanted."""
NEAREST = 3
"""Number of stock models, of different families, that are trained too unless the command names them."""
COSTED = 2
"""Models of each family that are costed, nearest in FLOPs first."""


@dataclass(frozen=True, slots=True)
class ShortlistCandidate:
    """A candidate of the search; ``cost`` in base units of ``compared_cost``."""

    name: str
    architecture: Architecture
    score: float
    cost: float
    flops: float


@dataclass(frozen=True, slots=True)
class StockModel:
    """A model of the zoo with its cost in the same units."""

    model: str
    cost: float


def compared_cost(result: SearchResult) -> str:
    """Name of the cost by which trained detectors are compared: latency with a device, else the first budget's.

    Layers are counted only in our own networks, so they cannot be compared.
    """
    line = result.front[0]
    times = [name for name in line if quantity_of(name) == LATENCY]
    budgeted = {budget.quantity for budget in result.problem.budgets}
    return times[0] if times else next((name for name in QUANTITIES if name in budgeted and name != LAYERS), FLOPS)


def select_candidates(result: SearchResult, count: int) -> list[ShortlistCandidate]:
    """At most ``count`` candidates, costliest first: the best scores below evenly spaced costs up to the best one's.

    If the front has too few of them, the best-scored others are added.
    """
    if count < 1:
        raise BadInput(f"--top {count} must be at least 1: the number of candidates that are trained")
    cost = compared_cost(result)
    by_score = sorted(result.front, key=lambda line: -float(line["score"]))
    highest = float(by_score[0][cost])
    lowest = max(FROM_SHARE * highest, min(float(line[cost]) for line in by_score))
    chosen: list[dict[str, Any]] = []
    for step in range(count):
        limit = highest - (highest - lowest) * step / max(1, count - 1)
        chosen += [line for line in by_score if float(line[cost]) <= limit and line not in chosen][:1]
    chosen += [line for line in by_score if line not in chosen][: count - len(chosen)]
    chosen.sort(key=lambda line: -float(line[cost]))
    space = result.problem.space
    candidates = []
    for place, line in enumerate(chosen, start=1):
        name = f"found-{place}"
        arch = space.decode(line["row"], name=name)
        if arch.digest() != line["digest"]:
            changed = f"the space {result.problem.space_name!r} has changed since the search in {str(result.folder)!r}"
            raise BadInput(f"{changed}: search again with --fresh")
        candidates.append(ShortlistCandidate(name, arch, float(line["score"]), float(line[cost]), float(line[FLOPS])))
    return candidates


def stock_models(
    result: SearchResult, candidates: Sequence[ShortlistCandidate], named: Sequence[str] | None
) -> list[StockModel]:
    """The ``named`` models, or those of ``NEAREST`` families whose cost is nearest to the costliest candidate's."""
    if named is not None:
        return [_costed(result, model) for model in dict.fromkeys(find_card(name).model for name in named)]
    costliest = candidates[0]
    px = result.problem.side_of(costliest.architecture)
    nearest = {}
    for family, models in _flops_by_family(px).items():
        models.sort(key=lambda model: abs(math.log(model[1] / costliest.flops)))
        costed = [_costed(result, model) for model, _ in models[:COSTED]]
        nearest[family] = min(costed, key=lambda model: _distance(model, costliest))
    return sorted(nearest.values(), key=lambda model: _distance(model, costliest))[:NEAREST]


def _distance(model: StockModel, candidate: ShortlistCandidate) -> float:
    return abs(math.log(model.cost / candidate.cost))


def _flops_by_family(px: int) -> dict[str, list[tuple[str, float]]]:
    """Every model of the zoo with its FLOPs at ``px``, by family."""
    families: dict[str, list[tuple[str, float]]] = {}
    for card in load_cards().values():
        flops = card.measured_flops * (px / card.input_px) ** 2
        families.setdefault(card.family, []).append((card.model, flops))
    return families


def _costed(result: SearchResult, model: str) -> StockModel:
    """A model with its cost on the search's devices, at the input side of the best found."""
    px = result.problem.side_of(result.best.architecture)
    costs = graph_costs(resolve_model(model).graph("detector", px), px, result.problem.devices).costs
    return StockModel(model, costs[compared_cost(result)])
