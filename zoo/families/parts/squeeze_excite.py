"""Gates on channels that are computed from the means of all channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.layers import activation


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from all channels' means, through ``inner`` channels."""

    def __init__(self, channels: int, inner: int, act: str = "silu") -> None:
        super().__init__()
        self.narrow = nn.Conv2d(channels, inner, 1)
        self.act = activation(act)
        self.widen = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.narrow(nn.functional.adaptive_avg_pool2d(x, 1)))
        return x * torch.sigmoid(self.widen(y))


class ChannelAttention(nn.Module):
    """Scales each channel by a hard sigmoid of one 1x1 convolution of all channels' means, as in CSPNeXt."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * nn.functional.hardsigmoid(self.mix(nn.functional.adaptive_avg_pool2d(x, 1)))
