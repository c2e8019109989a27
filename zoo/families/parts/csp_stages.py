"""Torch forms of RTMDet's stages (CSPNeXt, spatial pyramid) and of YOLOv9's GELAN stage.

In training form. The layers stand in the order of ``search_spaces.blocks.cspnext``, ``spp_stage`` and ``repncspelan``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.blocks.spp_stage import POOLS
from search_spaces.stage import Stage
from zoo.families.parts.squeeze_excite import ChannelAttention
from zoo.layers import ConvBNAct, RepConv, SkippableBlock, Split


class CSPNeXtBlock(SkippableBlock):
    """3x3, depthwise kxk and 1x1, with a residual if asked. Keeps ``[b, c, h, w]``."""

    branch_parts = ("conv", "spatial", "point")

    def __init__(self, c: int, k: int, act: str, residual: bool) -> None:
        super().__init__()
        self.conv = ConvBNAct(c, c, 3, act=act)
        self.spatial = ConvBNAct(c, c, k, g=c, act=act)
        self.point = ConvBNAct(c, c, act=act)
        self.residual = residual

    @property
    def skippable(self) -> bool:
        return self.residual

    def forward(self, x: Tensor) -> Tensor:
        if self.skipped:
            return x
        y = self.point(self.spatial(self.conv(x)))
        return y + x if self.residual else y


class CSPNeXtStage(nn.Module):
    """Down conv at stride 2, ``depth`` blocks beside a shortcut, channel attention, 1x1."""

    def __init__(self, cin: int, stage: Stage, act: str, residual: bool = True) -> None:
        super().__init__()
        btn, wide = stage.btn, cin if stage.stride == 1 else 2 * stage.btn
        self.down = nn.Identity() if stage.stride == 1 else ConvBNAct(cin, wide, 3, 2, act=act)
        self.short = ConvBNAct(wide, btn, act=act)
        self.main = ConvBNAct(wide, btn, act=act)
        self.blocks = nn.Sequential(*(CSPNeXtBlock(btn, stage.k, act, residual) for _ in range(stage.depth)))
        self.attention = ChannelAttention(2 * btn)
        self.fuse = ConvBNAct(2 * btn, stage.out, act=act)

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        short = self.short(x)
        return self.fuse(self.attention(torch.cat([self.blocks(self.main(x)), short], 1)))


class PoolPyramid(nn.Module):
    """1x1 to ``btn``, max pools side by side, all joined by a 1x1 to ``cout``. Keeps the size of ``[b, cin, h, w]``."""

    def __init__(self, cin: int, btn: int, cout: int, act: str) -> None:
        super().__init__()
        self.conv1 = ConvBNAct(cin, btn, act=act)
        self.conv2 = ConvBNAct(btn * (len(POOLS) + 1), cout, act=act)
        self.pools = nn.ModuleList(nn.MaxPool2d(k, 1, k // 2) for k in POOLS)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(x)
        return self.conv2(torch.cat([y, *(pool(y) for pool in self.pools)], 1))


class RepBottleneck(SkippableBlock):
    """Two kxk convolutions, the first a RepConv, with a residual. Keeps ``[b, c, h, w]``."""

    branch_parts = ("conv1", "conv2")

    def __init__(self, c: int, k: int, act: str) -> None:
        super().__init__()
        self.conv1 = RepConv(c, c, k, act=act)
        self.conv2 = ConvBNAct(c, c, k, act=act)

    def forward(self, x: Tensor) -> Tensor:
        return x if self.skipped else self.conv2(self.conv1(x)) + x


class RepNCSP(nn.Module):
    """``depth`` bottlenecks at half the width beside a 1x1 shortcut. Keeps ``[b, c, h, w]``."""

    def __init__(self, c: int, k: int, depth: int, act: str) -> None:
        super().__init__()
        half = c // 2
        self.main = ConvBNAct(c, half, act=act)
        self.blocks = nn.Sequential(*(RepBottleneck(half, k, act) for _ in range(depth)))
        self.short = ConvBNAct(c, half, act=act)
        self.join = ConvBNAct(2 * half, c, act=act)

    def forward(self, x: Tensor) -> Tensor:
        return self.join(torch.cat([self.blocks(self.main(x)), self.short(x)], 1))


class BlurDown(nn.Sequential):
    """YOLOv9's AConv: a 2x2 average pool of stride 1, then a 3x3 convolution of stride 2."""

    def __init__(self, cin: int, cout: int, act: str) -> None:
        super().__init__(nn.AvgPool2d(2, 1, 0), ConvBNAct(cin, cout, 3, 2, act=act))


class RepNCSPELANStage(nn.Module):
    """Down conv at stride 2, two chains of RepNCSP and kxk, all joined by a 1x1."""

    def __init__(self, cin: int, stage: Stage, act: str) -> None:
        super().__init__()
        btn, k, wide = stage.btn, stage.k, cin if stage.stride == 1 else 2 * stage.btn
        self.down = nn.Identity() if stage.stride == 1 else BlurDown(cin, wide, act)
        self.widen = ConvBNAct(wide, 2 * btn, act=act)
        self.split = Split(btn, btn)
        self.chains = nn.ModuleList(
            nn.Sequential(RepNCSP(btn, k, stage.depth, act), ConvBNAct(btn, btn, k, act=act)) for _ in range(2)
        )
        self.fuse = ConvBNAct(4 * btn, stage.out, act=act)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.split(self.widen(self.down(x))))
        for chain in self.chains:
            parts.append(chain(parts[-1]))
        return self.fuse(torch.cat(parts, 1))
