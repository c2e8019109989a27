"""The nodes of RepGFPN, DAMO-YOLO's queen-fusion neck, in training form."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.neck import Neck
from search_spaces.necks.repgfpn import RepGFPN
from search_spaces.rounding import divisible
from zoo.layers import ConvBN, ConvBNAct, RepConv, SkippableBlock


class ReversedBlock(SkippableBlock):
    """RepConv 3x3, then plain 3x3, with a residual link."""

    branch_parts = ("conv2", "conv1")

    def __init__(self, channels: int, hidden_ratio: float, act: str) -> None:
        super().__init__()
        hidden = int(channels * hidden_ratio)
        self.conv2 = RepConv(channels, hidden, act=act)
        self.conv1 = ConvBNAct(hidden, channels, 3, act=act)

    def forward(self, x: Tensor) -> Tensor:
        return x if self.skipped else x + self.conv1(self.conv2(x))


class DepthwiseBlock(SkippableBlock):
    """1x1 to three times the width, depth-wise 5x5, 1x1 back, with a residual link."""

    branch_parts = ("widen", "spatial", "narrow")

    def __init__(self, channels: int, act: str) -> None:
        super().__init__()
        wide = divisible(3.0 * channels)
        self.widen = ConvBNAct(channels, wide, act=act)
        self.spatial = ConvBNAct(wide, wide, 5, g=wide, act=act)
        self.narrow = ConvBN(wide, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x if self.skipped else x + self.narrow(self.spatial(self.widen(x)))


class Merge(nn.Module):
    """Fusion node: two 1x1 branches, a chain of blocks on one of them whose every output is kept, 1x1 over all."""

    def __init__(self, cin: int, cout: int, neck: Neck) -> None:
        super().__init__()
        first = cout // 2
        mid = cout - first
        blocks = RepGFPN().blocks(neck)
        self.conv1 = ConvBNAct(cin, first, act=neck.act)
        self.conv2 = ConvBNAct(cin, mid, act=neck.act)
        self.convs = nn.ModuleList(
            DepthwiseBlock(mid, neck.act) if neck.depthwise else ReversedBlock(mid, neck.hidden_ratio, neck.act)
            for _ in range(blocks)
        )
        self.conv3 = ConvBNAct(first + mid * blocks, cout, act=neck.act)

    def forward(self, x: Tensor) -> Tensor:
        kept, y = [self.conv1(x)], self.conv2(x)
        for block in self.convs:
            y = block(y)
            kept.append(y)
        return self.conv3(torch.cat(kept, 1))
