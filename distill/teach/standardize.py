"""Standardize feature maps: mean 0 and variance 1 in every channel, over the whole batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.learning.batch_share import batch_shares, sum_over_batch
from zoo.learning.losses import to_float32

EPS = 1e-5
"""Added to the variance of a channel before the square root."""


def standardize(x: Tensor) -> Tensor:
    """``x`` ``[b, c, h, w]`` with mean 0 and variance 1 in every channel, over all images and positions."""
    standardized: Tensor = _Standardize.apply(to_float32(x))
    return standardized


class _Standardize(torch.autograd.Function):
    """Its gradient needs half the passes over the maps that autograd would take. Not twice differentiable."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        standardized, scale = standardize_with_scale(x)
        ctx.save_for_backward(standardized, scale)
        return standardized

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        standardized, scale = ctx.saved_tensors
        grad = grads[0]
        centered = grad - channel_means(grad)
        return centered.addcmul_(standardized, channel_means(grad * standardized), value=-1).mul_(scale)


def standardize_with_scale(x: Tensor) -> tuple[Tensor, Tensor]:
    """The standardized maps without autograd, and the factor of every channel ``[1, c, 1, 1]``."""
    centered = x - channel_means(x)
    squares = torch.linalg.vector_norm(centered, dim=(2, 3), keepdim=True).square()
    scale = (_mean_over_images(squares, x) + EPS).rsqrt()
    return centered.mul_(scale), scale


def channel_means(x: Tensor) -> Tensor:
    """The mean of every channel ``[1, c, 1, 1]``, over the images of all processes."""
    # positions first: torch reads them in one sweep, and is several times slower if both are summed at once
    return _mean_over_images(x.sum((2, 3), keepdim=True), x)


def _mean_over_images(sums: Tensor, x: Tensor) -> Tensor:
    """``sums`` over the positions of ``x``, ``[b, c, 1, 1]``, as means over all positions of all images."""
    return sum_over_batch(sums.sum(0, keepdim=True)) / (batch_shares() * len(x) * x.shape[2] * x.shape[3])
