"""``meco``: smallest eigenvalues of channel correlations (Jiang et al., MeCo, NeurIPS 2023), its sampled form."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nas.scores.forward import observing_score
from nas.scores.score import Observer
from search_spaces.ops import CONV_KINDS, Op

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 16
CHANNELS = 8


class Correlation(Observer):
    """How independent the channels of a feature map are.

    Sum over activated convolutions of channels / 8 x the smallest eigenvalue of the Pearson correlations of 8 channels
    sampled with the seed (all where there are fewer), for the first image.
    """

    def __init__(self, seed: int) -> None:
        import torch

        self.generator = torch.Generator().manual_seed(seed)
        self.terms: list[float] = []

    def __call__(self, index: int, op: Op, before: Tensor, after: Tensor) -> None:
        import torch

        if op.kind not in CONV_KINDS or op.act == "none" or after.shape[2] * after.shape[3] < 2:
            return
        channels = after.shape[1]
        sampled = torch.randperm(channels, generator=self.generator)[:CHANNELS]
        rows = after[0, sampled].flatten(1).double()
        rows = rows - rows.mean(1, keepdim=True)
        norm = rows.norm(dim=1, keepdim=True)
        # A constant channel correlates with nothing: its row stays zero, and with it the eigenvalue.
        rows = torch.where(norm > 0, rows / norm, torch.zeros_like(rows))
        self.terms.append(channels / len(sampled) * float(torch.linalg.eigvalsh(rows @ rows.T)[0]))

    def value(self) -> float:
        return math.fsum(self.terms)


MECO = observing_score(
    "meco", "smallest eigenvalues of channel correlations (NeurIPS 2023)", BATCH,
    lambda graph, px, seed: Correlation(seed),
)  # fmt: skip
