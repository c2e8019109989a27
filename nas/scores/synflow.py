"""``synflow``: sum of weight times gradient on an all-ones image (Tanaka et al., SynFlow, NeurIPS 2020)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nas.scores.score import Score, ScoreResult
from search_spaces.graph import Graph

if TYPE_CHECKING:
    from nas.scores.forward_net import ScoreNet


def synflow(graph: Graph, input_px: int, seed: int = 0, most_px: int | None = None) -> ScoreResult:
    """Natural log of the sum of |weight x gradient| of the summed output, in float64.

    All weights are made positive, the image is ones, activations stay and there is no batch norm.
    """
    from nas.scores.forward_net import GraphNet, log_of, seeded, side

    px = side(graph, input_px, most_px)
    with seeded(seed):
        net = GraphNet(graph, with_bn=False).double()
    return ScoreResult(log_of(synflow_of(net, px), graph), notes={"input_px": px})


def synflow_of(net: ScoreNet, px: int) -> float:
    """Sum of |weight x gradient| of a float64 net, whose weights are made positive in place."""
    import torch

    weights = [p for module in net.modules() for p in module.parameters(recurse=False)]
    with torch.no_grad():
        for weight in weights:
            weight.abs_()
    image = torch.ones(1, int(net.graph.inputs[0][0]), px, px, dtype=torch.float64)
    torch.stack([out.sum() for out in net.walk(image)]).sum().backward()
    return math.fsum(float((p.detach() * p.grad).abs().sum()) for p in weights if p.grad is not None)


SYNFLOW = Score(
    "synflow", "sum of weight times gradient on an all-ones image (NeurIPS 2020)", synflow, needs_torch=True
)
