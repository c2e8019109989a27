"""Zero-shot scores over any Graph: how good a network may become, guessed without training it.

``SCORES`` is the registry. Those that ``needs_torch`` run a randomly initialised module, and torch arrives only then;
the others are closed forms. Definitions: ``docs/scores.md``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from search_spaces.graph import Graph
from workbench.errors import BadInput, missing_package, unknown_name

WEIGHTS = (0.0, 0.0, 1.0, 1.0, 16.0)
"""Stage weights of DAMO-YOLO's searches, coarsest last: P3 and P4 once, P5 sixteen times."""


@dataclass(frozen=True)
class ScoreResult:
    """``value``, its terms by resolution level (finest first; empty where there are none), and remarks."""

    value: float
    per_stage: tuple[float, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """One score. ``additive``: a sum over blocks, which the exact search can prove optimal. ``deployed``: defined on
    the whole detector as it is deployed, not on TinyNAS's skeleton of the backbone. ``weighted``: the stage weights
    change it."""

    name: str
    doc: str
    function: Callable[[Graph, int, tuple[float, ...], int], ScoreResult]
    needs_torch: bool = False
    additive: bool = False
    deployed: bool = False
    weighted: bool = False

    def __call__(
        self, graph: Graph, input_px: int, weights: tuple[float, ...] = WEIGHTS, seed: int = 0
    ) -> ScoreResult:
        """Score ``graph`` at ``input_px`` pixels."""
        if not len(graph):
            raise BadInput(f"score {self.name!r} needs a network: graph {graph.name!r} has no ops")
        return self.function(graph, input_px, weights, seed)


def _closed(name: str, module: str = "closed_form") -> Callable[[Graph, int, tuple[float, ...], int], ScoreResult]:
    def call(graph: Graph, input_px: int, weights: tuple[float, ...], seed: int) -> ScoreResult:
        return _late(module, name)(graph, input_px, weights)

    return call


def _forward(name: str) -> Callable[[Graph, int, tuple[float, ...], int], ScoreResult]:
    def call(graph: Graph, input_px: int, weights: tuple[float, ...], seed: int) -> ScoreResult:
        return _late("forward", name)(graph, input_px, seed)

    return call


def _late(module: str, name: str) -> Callable[..., ScoreResult]:
    """A score's function, its module (and torch with it) imported now."""
    try:
        function: Callable[..., ScoreResult] = getattr(importlib.import_module(f"nas.scores.{module}"), name)
    except ModuleNotFoundError as error:
        raise missing_package(f"score {name!r}", error.name, "torch") from error
    return function


SCORES: dict[str, Score] = {
    score.name: score
    for score in (
        Score("maxent", "maximum entropy with multi-scale stage weights (MAE-NAS, ICML 2022)", _closed("maxent"), additive=True, weighted=True),
        Score("calibrated", "-ln(1 - mAP) as fitted to trained detectors: input, width and depth", _closed("calibrated", "calibrated"), additive=True, deployed=True),
        Score("deepmad", "entropy times log of channels and resolution, with its effectiveness (CVPR 2023)", _closed("deepmad"), weighted=True),
        Score("activations", "log of the numbers that convolutions write, a plain measure of size", _closed("activations", "volume"), deployed=True),
        Score("zen", "response to a perturbed input (Zen-NAS, ICCV 2021)", _forward("zen"), needs_torch=True),
        Score("nwot", "log-determinant of the activation kernel (NASWOT, ICML 2021)", _forward("nwot"), needs_torch=True),
        Score("nwot_pre", "the same before the activations (Mellor et al. 2021)", _forward("nwot_pre"), needs_torch=True),
        Score("synflow", "sum of weight times gradient on an all-ones image (NeurIPS 2020)", _forward("synflow"), needs_torch=True),
        Score("zico", "steadiness of gradients from batch to batch (ICLR 2023)", _forward("zico"), needs_torch=True),
        Score("swap", "different patterns of on and off over a batch (SWAP-Score, ICLR 2024)", _forward("swap"), needs_torch=True),
        Score("meco", "smallest eigenvalues of channel correlations (NeurIPS 2023)", _forward("meco"), needs_torch=True),
        Score("expressivity", "entropy of principal components by resolution (AZ-NAS, CVPR 2024)", _forward("expressivity"), needs_torch=True),
    )
}
"""Scores by name."""


def get_score(name: str) -> Score:
    """The score called ``name``; an unknown one is named with its nearest neighbours."""
    if name not in SCORES:
        raise unknown_name("score", name, SCORES)
    return SCORES[name]
