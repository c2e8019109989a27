"""Forward-pass scores that only watch one batch go by: nwot (two ways), swap, meco, expressivity.

Each is a class that sees every op's tensors and ends in a number, so several can share one pass.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from nas.scores.forward_net import is_active
from search_spaces.graph import Graph, level_strides
from search_spaces.ops import CONV_KINDS, WEIGHT_KINDS, Op
from workbench.errors import BadInput

EXACT = 1 << 23
"""Units counted at a time: float32 counts whole numbers exactly up to twice this."""
MECO_CHANNELS = 8
MOST_POSITIONS = 4096
"""Positions of a feature map, over all images, from which its principal components are taken."""


class Observer(Protocol):
    """Sees every op of one pass; ``value`` ends it."""

    def __call__(self, index: int, op: Op, before: Tensor, after: Tensor) -> None:
        """One op's tensors ``[batch, channels, h, w]`` before and after its activation."""
        ...

    def value(self) -> float:
        """The score."""
        ...


class Agreement:
    """NASWOT: log-determinant of the kernel that counts, for every two images, the units that agree in being on.

    ``before`` False: a unit is an activation's output, on where it is above 0. True: a unit is an output of any
    convolution or linear layer, normalised but not yet activated; those without an activation count as well.
    """

    def __init__(self, graph: Graph, batch: int, before: bool = False) -> None:
        self.name, self.before, self.units = graph.name, before, 0
        self.kernel = torch.zeros(batch, batch, dtype=torch.float64)

    def __call__(self, index: int, op: Op, before: Tensor, after: Tensor) -> None:
        """See ``Observer``."""
        if self.before:
            if op.kind in WEIGHT_KINDS:
                self._count(before)
        elif is_active(op) and (op.kind != "act" or after.dim() == 4):
            self._count(after)

    def _count(self, tensor: Tensor) -> None:
        on = (tensor > 0).flatten(1)
        self.units += on.shape[1]
        for part in on.split(EXACT, dim=1):
            ones = part.float()
            both, each = (ones @ ones.T).double(), ones.sum(1).double()
            self.kernel += both + (part.shape[1] - each[:, None] - each[None, :] + both)

    def value(self) -> float:
        """See ``Observer``."""
        if not self.units:
            raise BadInput(f"graph {self.name!r} has no activation: nwot counts which units are on")
        return float(torch.linalg.slogdet(self.kernel)[1])


class Patterns:
    """SWAP-Score: how many different patterns of on and off, over the images, the activations' outputs show."""

    def __init__(self, graph: Graph) -> None:
        self.name = graph.name
        # Whole numbers up to 2^16 are exact in float32, so a pattern is put together from halves of that size.
        self.bits = 2.0 ** torch.arange(16)
        self.seen: list[Tensor] = []
        self.waiting = 0

    def __call__(self, index: int, op: Op, before: Tensor, after: Tensor) -> None:
        """See ``Observer``."""
        if not is_active(op):
            return
        on = (after.flatten(1) > 0).float()
        codes = torch.zeros(on.shape[1], dtype=torch.int64)
        for half in on.split(16):
            codes = (codes << 16) | (self.bits[: len(half)] @ half).long()
        self.seen.append(torch.unique(codes))
        self.waiting += len(self.seen[-1])
        if self.waiting > EXACT:
            self._merge()

    def _merge(self) -> None:
        self.seen, self.waiting = [torch.unique(torch.cat(self.seen))], 0

    def value(self) -> float:
        """See ``Observer``."""
        if not self.seen:
            raise BadInput(f"graph {self.name!r} has no activation: swap counts patterns of units that are on")
        self._merge()
        return float(len(self.seen[0]))


class Correlation:
    """MeCo: how little the channels of a feature map repeat one another.

    Sum over activated convolutions of channels / 8 x the smallest eigenvalue of the Pearson correlations of 8 channels
    drawn from the seed (all where there are fewer), for the first image.
    """

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.terms: list[float] = []

    def __call__(self, index: int, op: Op, before: Tensor, after: Tensor) -> None:
        """See ``Observer``."""
        if op.kind not in CONV_KINDS or op.act == "none" or after.shape[2] * after.shape[3] < 2:
            return
        channels = after.shape[1]
        some = torch.randperm(channels, generator=self.generator)[:MECO_CHANNELS]
        rows = after[0, some].flatten(1).double()
        rows = rows - rows.mean(1, keepdim=True)
        norm = rows.norm(dim=1, keepdim=True)
        # A silent channel correlates with nothing: its row stays zero, and with it the eigenvalue.
        rows = torch.where(norm > 0, rows / norm, torch.zeros_like(rows))
        self.terms.append(channels / len(some) * float(torch.linalg.eigvalsh(rows @ rows.T)[0]))

    def value(self) -> float:
        """See ``Observer``."""
        return math.fsum(self.terms)


class Expressivity:
    """AZ-NAS's expressivity over a Graph: sum over resolutions of the largest entropy (nats) of the principal
    components' shares of variance that any convolution's output at that resolution reaches."""

    def __init__(self, graph: Graph, px: int) -> None:
        self.strides = level_strides(graph, px)
        self.best: dict[int, float] = {}

    def __call__(self, index: int, op: Op, before: Tensor, after: Tensor) -> None:
        """See ``Observer``."""
        stride = self.strides[index]
        if op.kind not in CONV_KINDS or not stride:
            return
        bound = math.log(after.shape[1])
        if bound <= self.best.get(stride, -1.0):
            return
        points = after.permute(0, 2, 3, 1).flatten(0, 2)
        points = points[:: -(-len(points) // MOST_POSITIONS)].double()
        points = points - points.mean(0)
        share = torch.linalg.eigvalsh(points.T @ points).clamp_min(0)
        share = share / share.sum().clamp_min(1e-300)
        entropy = float(torch.special.entr(share).sum())
        self.best[stride] = max(entropy, self.best.get(stride, 0.0))

    def value(self) -> float:
        """See ``Observer``."""
        return math.fsum(self.best.values())
