"""``swap``: number of different activation patterns over a batch (Peng et al., SWAP-Score, ICLR 2024).

Without the regularization of the paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.scores.forward import observing_score
from nas.scores.score import Observer
from search_spaces.graph import Graph
from search_spaces.ops import Op
from workbench.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 32
MERGE_AT = 1 << 23
"""Patterns that may wait before duplicates are removed."""


class Patterns(Observer):
    """Counts the different on/off patterns that the units of the activations show over the images."""

    def __init__(self, graph: Graph) -> None:
        import torch

        self.name = graph.name
        # Integers up to 2^16 are exact in float32, so a pattern is composed of halves of that size.
        self.bits = 2.0 ** torch.arange(16)
        self.seen: list[Tensor] = []
        self.waiting = 0

    def __call__(self, index: int, op: Op, before: Tensor, after: Tensor) -> None:
        import torch

        from nas.scores.forward_net import is_active

        if not is_active(op):
            return
        on = (after.flatten(1) > 0).float()
        codes = torch.zeros(on.shape[1], dtype=torch.int64)
        for half in on.split(16):
            codes = (codes << 16) | (self.bits[: len(half)] @ half).long()
        self.seen.append(torch.unique(codes))
        self.waiting += len(self.seen[-1])
        if self.waiting > MERGE_AT:
            self._merge()

    def _merge(self) -> None:
        import torch

        self.seen, self.waiting = [torch.unique(torch.cat(self.seen))], 0

    def value(self) -> float:
        if not self.seen:
            raise BadInput(f"graph {self.name!r} has no activation: swap counts patterns of units that are on")
        self._merge()
        return float(len(self.seen[0]))


SWAP = observing_score(
    "swap", "different patterns of on and off over a batch (SWAP-Score, ICLR 2024)", BATCH,
    lambda graph, px, seed: Patterns(graph),
)  # fmt: skip
