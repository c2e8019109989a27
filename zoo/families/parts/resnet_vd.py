"""ResNet-D ("vd") backbones: a stem of three 3x3 convolutions, and pooled shortcuts where the stride is 2."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from zoo.layers import ConvBN, ConvBNAct, SkippableBlock, activation

DEPTHS: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
}
"""Blocks a stage, by the network's depth."""
BOTTLENECK_FROM = 50
"""From this depth on blocks are bottlenecks that widen by four."""
WIDTHS = (64, 128, 256, 512)


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """A batch norm that never learns: four buffers ``[c]``, no parameter, always the stored statistics.

    It is a ``BatchNorm2d`` so that it folds like one.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=False, track_running_stats=False)
        del self.weight, self.bias
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        # spelled out as in the official code: F.batch_norm rounds differently, which can swap queries that nearly tie
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale[:, None, None] + shift[:, None, None]


class ResidualBlock(SkippableBlock):
    """``[b, cin, h, w]`` to ``[b, cout, h / s, w / s]``: two 3x3 convolutions, or 1x1, 3x3, 1x1, beside a shortcut.

    ``project`` puts a 1x1 convolution into the shortcut, after a 2x2 mean where the stride is 2.
    """

    branch_parts = ("conv1", "conv2", "conv3")

    def __init__(self, cin: int, width: int, cout: int, s: int, project: bool) -> None:
        super().__init__()
        self.conv3: nn.Module
        if cout == width:
            self.conv1 = ConvBNAct(cin, width, 3, s, act="relu")
            self.conv2 = ConvBN(width, cout, 3)
            self.conv3 = nn.Identity()
        else:
            self.conv1 = ConvBNAct(cin, width, act="relu")
            self.conv2 = ConvBNAct(width, width, 3, s, act="relu")
            self.conv3 = ConvBN(width, cout)
        self.short: nn.Module = nn.Identity()
        if project:
            conv = ConvBN(cin, cout)
            pool = nn.AvgPool2d(2, 2, ceil_mode=True)
            self.short = conv if s == 1 else nn.Sequential(OrderedDict(pool=pool, conv=conv))
        self.act = activation("relu")

    @property
    def skippable(self) -> bool:
        return isinstance(self.short, nn.Identity)

    def forward(self, x: Tensor) -> Tensor:
        if self.skipped:
            return self.act(x)
        return self.act(self.conv3(self.conv2(self.conv1(x))) + self.short(x))


class ResNetVD(nn.Module):
    """``[b, 3, h, w]`` to C3, C4, C5 with ``channels``.

    ``frozen_norms`` builds it with ``FrozenBatchNorm2d`` and without gradients for the stem, as the official
    configurations have it (``freeze_norm`` and ``freeze_at: 0``).
    """

    def __init__(self, depth: int, frozen_norms: bool) -> None:
        super().__init__()
        widen = 4 if depth >= BOTTLENECK_FROM else 1
        self.channels = [width * widen for width in WIDTHS[1:]]
        self.stem = nn.Sequential(
            OrderedDict(
                conv1=ConvBNAct(3, 32, 3, 2, act="relu"),
                conv2=ConvBNAct(32, 32, 3, act="relu"),
                conv3=ConvBNAct(32, 64, 3, act="relu"),
            )
        )
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.stages = nn.ModuleList()
        cin = 64
        for stage, (width, blocks) in enumerate(zip(WIDTHS, DEPTHS[depth], strict=True)):
            row = nn.Sequential()
            for block in range(blocks):
                first = block == 0
                row.append(ResidualBlock(cin, width, width * widen, 2 if first and stage else 1, project=first))
                cin = width * widen
            self.stages.append(row)
        if frozen_norms:
            self.stem.requires_grad_(False)
            for part in self.modules():
                if isinstance(part, ConvBN):
                    part.bn = FrozenBatchNorm2d(part.conv.out_channels)

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.pool(self.stem(image))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[1:]
