"""``zen``: response to a perturbed input (Lin et al., Zen-NAS, ICCV 2021)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nas.scores.score import Score, ScoreResult
from search_spaces.graph import Graph

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nas.scores.forward_net import ScoreNet

BATCH, REPEATS, MIX = 8, 2, 1e-2


def zen(graph: Graph, input_px: int, seed: int = 0, most_px: int | None = None) -> ScoreResult:
    """Log of the output's change under a small Gaussian perturbation of the image.

    Half the log of every batch norm's variance is added, which the norm would otherwise hide.
    """
    from nas.scores.forward_net import GraphNet, gaussian, images, seeded, side

    px = side(graph, input_px, most_px)
    with seeded(seed):
        net = GraphNet(graph)
        gaussian(net)
        net.train()
        values = [zen_of(net, images(graph, BATCH, px), images(graph, BATCH, px)) for _ in range(REPEATS)]
    return ScoreResult(math.fsum(values) / len(values), notes={"input_px": px, "repeats": REPEATS, "batch": BATCH})


def zen_of(net: ScoreNet, image: Tensor, noise: Tensor) -> float:
    """Zen score of a net for one batch and one perturbation.

    The output is the last one: the coarsest feature map of a backbone, the last head map of a detector.
    """
    import torch

    from nas.scores.forward_net import log_of

    with torch.no_grad(), _log_variances(net) as logs:
        change = (net.walk(image)[-1] - net.walk(image + MIX * noise)[-1]).abs().mean()
    # Both passes cross every norm; half of the collected logs belong to the first.
    return log_of(float(change), net.graph) + 0.5 * 0.5 * math.fsum(logs)


@contextmanager
def _log_variances(net: ScoreNet) -> Iterator[list[float]]:
    """A list to which ln(mean variance) of every batch norm's input is appended inside the context."""
    from torch import nn

    collected: list[float] = []

    def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        variance = float(inputs[0].var(dim=(0, 2, 3), unbiased=False).mean())
        if variance > 0:
            collected.append(math.log(variance))

    handles = [m.register_forward_pre_hook(note) for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    try:
        yield collected
    finally:
        for handle in handles:
            handle.remove()


ZEN = Score("zen", "response to a perturbed input (Zen-NAS, ICCV 2021)", zen, needs_torch=True)
