"""The Python faces of ``nas score`` and ``nas cost``."""

from __future__ import annotations

from typing import Any

from nas.costs import Costs, graph_costs
from nas.scores import WEIGHTS
from search_spaces.architecture import Architecture
from search_spaces.graph import Graph
from search_spaces.lowering import count_layers
from zoo.resolve import ResolvedModel, resolve_model


def score(
    what: str | Architecture | Graph, name: str = "calibrated", *, input_px: int = 640,
    weights: tuple[float, ...] = WEIGHTS, seed: int = 0,
) -> float:  # fmt: skip
    """One score of an architecture, a graph, or anything that can be named on the command line."""
    from nas.scores import get_score

    own = get_score(name)
    graph, px = _subject(what).score_graph(input_px, own.deployed)
    return float(own(graph, px, weights=weights, seed=seed).value)


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


def _subject(what: str | Architecture | Graph) -> ResolvedModel:
    if isinstance(what, Architecture):
        return ResolvedModel(what.name or what.digest(), what)
    if isinstance(what, Graph):
        return ResolvedModel(what.name, plain_graph=what)
    return resolve_model(what)
