"""Scores computed by observing one forward pass; several of them can share the pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from nas.scores.score import Observation, Observer, Score, ScoreResult
from search_spaces.graph import Graph

if TYPE_CHECKING:
    from torch import Tensor

    from nas.scores.forward_net import ScoreNet


def observing_score(name: str, doc: str, batch: int, make: Callable[[Graph, int, int], Observer]) -> Score:
    """A score that an observer ``make(graph, px, seed)`` computes from one forward pass of ``batch`` images."""
    observation = Observation(batch, make)

    def compute(graph: Graph, input_px: int, seed: int = 0, most_px: int | None = None) -> ScoreResult:
        return observe({name: observation}, graph, input_px, seed, most_px)[name]

    return Score(name, doc, compute, needs_torch=True, observation=observation)


def observe(
    observations: Mapping[str, Observation], graph: Graph, input_px: int, seed: int, most_px: int | None = None
) -> dict[str, ScoreResult]:
    """Several scores with one forward pass per batch size; the same values as one by one."""
    from nas.scores.forward_net import GraphNet, images, seeded, side

    px = side(graph, input_px, most_px)
    results = {}
    for batch in sorted({observation.batch for observation in observations.values()}):
        observers = {
            name: observation.make(graph, px, seed)
            for name, observation in observations.items()
            if observation.batch == batch
        }
        with seeded(seed):
            net = GraphNet(graph).train()
            watch(net, images(graph, batch, px), list(observers.values()))
        for name, observer in observers.items():
            notes = {"input_px": px, "batch": batch, **observer.notes()}
            results[name] = ScoreResult(observer.value(), notes=notes)
    return results


def watch(net: ScoreNet, batch: Tensor, observers: Sequence[Observer]) -> None:
    """One forward pass of ``batch`` that all observers see."""
    import torch

    def visit(index: int, op: object, before: Tensor, after: Tensor) -> None:
        for observer in observers:
            observer(index, op, before, after)  # type: ignore[arg-type]

    with torch.no_grad():
        net.walk(batch, visit)
