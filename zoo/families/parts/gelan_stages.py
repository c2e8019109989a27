"""Torch forms of YOLOv9's GELAN stages, in training form: of plain convolutions and of RepNCSP chains."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.blocks.wiring import half
from search_spaces.stage import Stage
from zoo.layers import ConvBNAct, RepConv, SkippableBlock, Split


class ELAN1Stage(nn.Module):
    """Down conv at stride 2, ``depth`` kxk convolutions after one half of the channels, all joined by a 1x1."""

    def __init__(self, cin: int, stage: Stage, act: str) -> None:
        super().__init__()
        btn, wide = stage.btn, cin if stage.stride == 1 else 2 * stage.btn
        self.down = nn.Identity() if stage.stride == 1 else ConvBNAct(cin, wide, 3, 2, act=act)
        self.widen = ConvBNAct(wide, 2 * btn, act=act)
        self.split = Split(btn, btn)
        self.convs = nn.ModuleList(ConvBNAct(btn, btn, stage.k, act=act) for _ in range(stage.depth))
        self.fuse = ConvBNAct((2 + stage.depth) * btn, stage.out, act=act)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.split(self.widen(self.down(x))))
        for conv in self.convs:
            parts.append(conv(parts[-1]))
        return self.fuse(torch.cat(parts, 1))


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
        mid = half(c)
        self.main = ConvBNAct(c, mid, act=act)
        self.blocks = nn.Sequential(*(RepBottleneck(mid, k, act) for _ in range(depth)))
        self.short = ConvBNAct(c, mid, act=act)
        self.join = ConvBNAct(2 * mid, c, act=act)

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
