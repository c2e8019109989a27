"""Weight norms, without data: how strongly the layers that write a unit can drive it.

The norm of a unit is that of all kernel rows that write it, with their batch norms and parallel branches folded in: the
rows of every layer into a residual stream count together. Norms depend on the width and depth of a layer, so those of a
group are divided by their mean: a unit of importance 2 is twice as strong as the average one of its group.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from distill.importance.method import WeightImportance
from zoo.detector import Detector
from zoo.layers import ConvBN, RepConv, kernel_and_bias
from zoo.pruning.groups import ChannelGroups

SCALES = ("mean", "sum", "none")
"""What the norms of a group are divided by."""


@dataclass(frozen=True)
class Norm(WeightImportance):
    """Norm of the folded kernel rows, relative to the group."""

    about: ClassVar[str] = "norm of the folded kernels that write a unit, relative to its group; no data"
    scale: str = "mean"
    """One of ``SCALES``."""

    def unit_scores(self, detector: Detector, groups: ChannelGroups) -> np.ndarray:
        """Importance of every unit, float64 ``[groups.count]``."""
        squares = np.zeros(groups.count)
        with torch.no_grad():
            for units, kernel in folded_kernels(detector, groups):
                np.add.at(squares, units, kernel.double().flatten(1).square().sum(1).cpu().numpy())
        norms: np.ndarray = np.sqrt(squares)
        if self.scale == "none":
            return norms
        for group in groups.groups:
            own = norms[group.units]
            by = own.mean() if self.scale == "mean" else own.sum()
            norms[group.units] = own / by if by > 0 else 0.0
        return norms


def folded_kernels(detector: Detector, groups: ChannelGroups) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Units ``[rows]`` and kernel ``[rows, ...]`` of every convolution and linear layer, norms and branches folded."""
    inside: tuple[str, ...] = ()
    for path, part in detector.named_modules():
        if inside and f"{path}.".startswith(inside):
            continue
        conv, kernel = path, None
        if isinstance(part, RepConv) and part.folded is None:
            twin = copy.deepcopy(part)
            twin.fold()
            assert twin.folded is not None
            conv, kernel = f"{path}.dense.conv", twin.folded.weight
        elif isinstance(part, ConvBN):
            conv, kernel = f"{path}.conv", kernel_and_bias(part.conv, part.bn)[0]
        elif isinstance(part, (nn.Conv2d, nn.Linear)):
            kernel = part.weight
        if kernel is not None:
            inside = (*inside, f"{path}.")
            axes = groups.axes.get(f"{conv}.weight", {})
            if 0 in axes:
                yield axes[0], kernel
