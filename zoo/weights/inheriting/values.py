"""The value of one tensor of the target, from the tensor of the source that it takes over."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Taken:
    """A new value, and how many of its numbers come from the source, and of how many there."""

    value: Tensor
    numbers: int
    used: int


def take_over(
    fresh: Tensor, source: Tensor, maps: Mapping[int, np.ndarray], reads: bool, generator: torch.Generator
) -> Taken | None:
    """Fill ``fresh`` from ``source``; None where their shapes cannot be brought together.

    Rows without a channel in the source stay as they are. Where axis 1 are a layer's input channels (``reads``),
    columns of channels that the source does not have become zero, so that they add nothing, and columns of a channel
    that is read several times are shares of the source's: random ones that add up to 1, so that the doubles learn
    different things. Kernels are centered: padded with zeros, or cropped.
    """
    fixed = [axis for axis in range(fresh.ndim) if axis not in maps and not (reads and axis > 1)]
    if any(fresh.shape[axis] != source.shape[axis] for axis in fixed):
        return None
    if not maps:
        return Taken(source.detach().to(fresh.dtype).clone(), source.numel(), source.numel())
    value = source.detach().double()
    numbers, used = [1], [1]
    for axis in range(fresh.ndim):
        if axis in maps:
            known = maps[axis] >= 0
            value = value.index_select(axis, torch.from_numpy(np.maximum(maps[axis], 0)))
            numbers.append(int(known.sum()))
            used.append(len(np.unique(maps[axis][known])))
        else:
            numbers.append(min(fresh.shape[axis], source.shape[axis]))
            used.append(numbers[-1])
            value = _centered(value, axis, fresh.shape[axis])
    if reads and 1 in maps:
        value = value * _shares(maps[1], len(value), generator).view(*value.shape[:2], *[1] * (value.ndim - 2))
    taken = torch.ones(fresh.shape, dtype=torch.bool)
    for axis, channels in maps.items():
        if not (reads and axis == 1):
            taken &= torch.from_numpy(channels >= 0).view([-1 if a == axis else 1 for a in range(fresh.ndim)])
    return Taken(torch.where(taken, value.to(fresh.dtype), fresh.detach()), math.prod(numbers), math.prod(used))


def _centered(value: Tensor, axis: int, extent: int) -> Tensor:
    """``value`` with ``extent`` entries along ``axis``: zeros around it, or its middle."""
    there = value.shape[axis]
    if there >= extent:
        return value.narrow(axis, (there - extent) // 2, extent)
    padded = value.new_zeros([extent if a == axis else n for a, n in enumerate(value.shape)])
    padded.narrow(axis, (extent - there) // 2, there).copy_(value)
    return padded


def _shares(columns: np.ndarray, rows: int, generator: torch.Generator) -> Tensor:
    """Factor of every row's columns, float64 ``[rows, columns]``: 1 for the only double of a channel, 0 for none."""
    shares = torch.from_numpy(np.where(columns >= 0, 1.0, 0.0)).repeat(rows, 1)
    channels, counts = np.unique(columns[columns >= 0], return_counts=True)
    for channel in channels[counts > 1]:
        doubles = torch.from_numpy(np.flatnonzero(columns == channel))
        drawn = torch.rand(rows, len(doubles), generator=generator, dtype=torch.float64) + 0.5
        shares[:, doubles] = drawn / drawn.sum(1, keepdim=True)
    return shares
