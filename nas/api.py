"""The Python faces of ``nas score`` and ``nas cost``."""

from __future__ import annotations

from typing import Any

from nas.costs import Costs, graph_costs
from nas.scores import WEIGHTS
from search_spaces.architecture import Architecture
from search_spaces.graph import Graph
from search_spaces.lowering import count_layers
from zoo.resolve import CostSubject, resolve_subject


def score(
    what: str | Architecture | Graph, name: str | None = None, *, input_px: int = 640,
    weights: tuple[float, ...] = WEIGHTS, seed: int = 0,
) -> float:  # fmt: skip
    """One score (by default the first of ``SCORES``) of an architecture, a graph, or anything that has a name."""
    from nas.scores import SCORES, get_score

    scorer = get_score(name or next(iter(SCORES)))
    graph, px = _subject(what).score_graph(input_px, scorer.deployed)
    return float(scorer(graph, px, **scorer.own(weights=weights, seed=seed)).value)


def cost(
    what: str | Architecture | Graph, device: str | None = None, *, input_px: int = 640, scope: str | None = None
) -> Costs:
    """FLOPs, parameters, activation bytes, layers and, on a ``device``, latency in ms (whole and by part)."""
    subject = _subject(what)
    profile: Any = None
    if device is not None:
        from nas.devices.profile import load_device

        profile = load_device(device)
    layers = None if subject.arch is None else count_layers(subject.arch)
    return graph_costs(subject.graph(scope or subject.default_scope(), input_px), input_px, profile, layers)


def _subject(what: str | Architecture | Graph) -> CostSubject:
    if isinstance(what, Architecture):
        return CostSubject(what.name or what.digest(), what)
    if isinstance(what, Graph):
        return CostSubject(what.name, whole=what)
    return resolve_subject(what)
