"""RepGFPN: DAMO-YOLO's queen-fusion neck over three levels, in training form.

Same wiring as ``search_spaces.lowering.lower_neck``; merge nodes keep DAMO-YOLO's numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from search_spaces.architecture import Neck
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


class DepthwiseDown(nn.Module):
    """Depth-wise 3x3 at stride 2, then 1x1; same width."""

    def __init__(self, channels: int, act: str) -> None:
        super().__init__()
        self.depthwise = ConvBNAct(channels, channels, 3, 2, g=channels, act=act)
        self.pointwise = ConvBNAct(channels, channels, act=act)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))


class Merge(nn.Module):
    """Fusion node: two 1x1 branches, a chain of blocks on one of them whose every output is kept, 1x1 over all."""

    def __init__(self, cin: int, cout: int, neck: Neck) -> None:
        super().__init__()
        first = cout // 2
        mid = cout - first
        blocks = round(3 * neck.depth)
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


class RepGFPN(nn.Module):
    """C3, C4, C5 with ``cin`` channels to P3, P4, P5 with ``neck.out`` channels."""

    def __init__(self, cin: Sequence[int], neck: Neck) -> None:
        super().__init__()
        c3, c4, c5 = cin
        n3, n4, n5 = neck.out

        def down(channels: int) -> nn.Module:
            if neck.depthwise:
                return DepthwiseDown(channels, neck.act)
            return ConvBNAct(channels, channels, 3, 2, act=neck.act)

        self.bu_conv13, self.merge_3 = down(c4), Merge(c4 + c5, c5, neck)
        self.bu_conv24, self.merge_4 = down(c3), Merge(c3 + c4 + c5, c4, neck)
        self.merge_5 = Merge(c3 + c4, n3, neck)
        self.bu_conv57, self.merge_7 = down(n3), Merge(n3 + c4, n4, neck)
        self.bu_conv46, self.bu_conv76 = down(c4), down(n4)
        self.merge_6 = Merge(c4 + n4 + c5, n5, neck)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        x2, x1, x0 = features
        x3 = self.merge_3(torch.cat([x0, self.bu_conv13(x1)], 1))
        x4 = self.merge_4(torch.cat([x1, self.bu_conv24(x2), _up(x3)], 1))
        x5 = self.merge_5(torch.cat([x2, _up(x4)], 1))
        x7 = self.merge_7(torch.cat([x4, self.bu_conv57(x5)], 1))
        x6 = self.merge_6(torch.cat([x3, self.bu_conv46(x4), self.bu_conv76(x7)], 1))
        return [x5, x7, x6]


def _up(x: Tensor) -> Tensor:
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
