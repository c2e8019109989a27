"""``zico``: steadiness of gradients from batch to batch (Li et al., ZiCo, ICLR 2023)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nas.scores.score import Score, ScoreResult
from search_spaces.graph import Graph
from workbench.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

    from nas.scores.forward_net import ScoreNet

BATCH, BATCHES = 4, 2


def zico(graph: Graph, input_px: int, seed: int = 0, most_px: int | None = None) -> ScoreResult:
    """How steady the gradients are from batch to batch."""
    from nas.scores.forward_net import GraphNet, images, seeded, side

    px = side(graph, input_px, most_px)
    with seeded(seed):
        net = GraphNet(graph).train()
        batches = [images(graph, BATCH, px) for _ in range(BATCHES)]
        value = zico_of(net, batches)
    return ScoreResult(value, notes={"input_px": px, "batches": BATCHES, "batch": BATCH})


def zico_of(net: ScoreNet, batches: Sequence[Tensor]) -> float:
    """Sum over layers of ln of the sum over weights of mean |gradient| / its deviation over ``batches``.

    There are no labels: the loss is the mean squared distance of every output from standard Gaussian targets.
    """
    import torch
    from torch import nn

    layers = [m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))]
    gradients: list[list[Tensor]] = [[] for _ in layers]
    for batch in batches:
        for layer in layers:
            layer.weight.grad = None
        torch.stack([(out - torch.randn_like(out)).square().mean() for out in net.walk(batch)]).sum().backward()
        for collected, layer in zip(gradients, layers, strict=True):
            if layer.weight.grad is not None:
                collected.append(layer.weight.grad.abs())
    terms = []
    for collected in gradients:
        if len(collected) == len(batches):
            size = torch.stack(collected)
            mean, deviation = size.mean(0), size.std(0, unbiased=False)
            ratio = float((mean / deviation)[deviation > 0].double().sum())
            if ratio > 0:
                terms.append(math.log(ratio))
    if not terms:
        raise BadInput(f"graph {net.graph.name!r}: no gradient reaches any weight, so zico has nothing to compare")
    return math.fsum(terms)


ZICO = Score("zico", "steadiness of gradients from batch to batch (ICLR 2023)", zico, needs_torch=True)
