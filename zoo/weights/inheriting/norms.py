"""Importance of units by the norms of folded kernels: which channels a narrower detector takes over."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from zoo.layers import ConvBN, kernel_and_bias
from zoo.pruning.groups import ChannelGroups


@torch.no_grad()
def unit_norms(module: nn.Module, groups: ChannelGroups) -> np.ndarray:
    """Importance of every unit, float64 ``[groups.count]``.

    The squared norms of the kernels that write a unit's channels and of those that read them, batch norms folded in,
    each relative to the layer's mean.
    """
    norms = np.zeros(groups.count)
    for name, kernel in _kernels(module):
        for axis, units in groups.axes.get(name, {}).items():
            if axis > 1 or kernel.shape[axis] != len(units):
                continue
            squares = kernel.square().sum([a for a in range(kernel.ndim) if a != axis]).numpy()
            np.add.at(norms, units, squares / max(squares.mean(), np.finfo(np.float64).tiny))
    return norms


def _kernels(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Names of the weights of all convolutions and linear layers, and the kernels, float64 on the CPU."""
    norms = {f"{path}.conv": part.bn for path, part in module.named_modules() if isinstance(part, ConvBN)}
    for path, part in module.named_modules():
        if isinstance(part, nn.Conv2d):
            yield f"{path}.weight", kernel_and_bias(part, norms.get(path, nn.Identity()))[0].cpu()
        elif isinstance(part, nn.Linear):
            yield f"{path}.weight", part.weight.detach().double().cpu()
