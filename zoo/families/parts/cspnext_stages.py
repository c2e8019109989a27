"""Torch forms of RTMDet's stages, in training form: CSPNeXt and the spatial pyramid."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.blocks.spp_stage import POOLS
from search_spaces.stage import Stage
from zoo.families.parts.squeeze_excite import ChannelAttention
from zoo.layers import ConvBNAct, SkippableBlock


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
