"""Torch forms of the block kinds for small devices: RepViT's and FasterNet's blocks, in training form."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.blocks.fasternet import PARTS
from search_spaces.blocks.repvit import squeezed_channels
from zoo.families.parts.squeeze_excite import SqueezeExcite
from zoo.layers import ConvBN, ConvBNAct, RepConv, SkippableBlock, Split


class ChannelMixer(SkippableBlock):
    """1x1 to ``btn`` and back, with a residual. Keeps ``[b, c, h, w]``."""

    branch_parts = ("widen", "narrow")

    def __init__(self, c: int, btn: int, act: str) -> None:
        super().__init__()
        self.widen = ConvBNAct(c, btn, act=act)
        self.narrow = ConvBN(btn, c)

    def forward(self, x: Tensor) -> Tensor:
        return x if self.skipped else self.narrow(self.widen(x)) + x


class RepViTBlock(nn.Module):
    """Depthwise kxk, squeeze-excite if asked, a 1x1 where stride or width change, then a ``ChannelMixer``.

    The depthwise convolution has a 1x1 and an identity branch at stride 1, as published.
    """

    def __init__(self, cin: int, btn: int, cout: int, k: int, s: int, act: str, squeeze: bool = False) -> None:
        super().__init__()
        self.spatial = ConvBN(cin, cin, k, s, cin) if s == 2 else RepConv(cin, cin, k, 1, cin, "none", identity=True)
        self.excite = SqueezeExcite(cin, squeezed_channels(cin), "relu") if squeeze else nn.Identity()
        self.project = ConvBN(cin, cout) if s == 2 or cin != cout else nn.Identity()
        self.mixer = ChannelMixer(cout, btn, act)

    def forward(self, x: Tensor) -> Tensor:
        return self.mixer(self.project(self.excite(self.spatial(x))))


class PartialResidual(SkippableBlock):
    """A partial kxk convolution, 1x1 to ``btn`` and back, with a residual. Keeps ``[b, c, h, w]``."""

    branch_parts = ("split", "partial", "widen", "narrow")

    def __init__(self, c: int, btn: int, k: int, act: str) -> None:
        super().__init__()
        part = c // PARTS
        self.split = Split(part, c - part)
        self.partial = nn.Conv2d(part, part, k, 1, k // 2, bias=False)
        self.widen = ConvBNAct(c, btn, act=act)
        self.narrow = ConvBN(btn, c)

    def forward(self, x: Tensor) -> Tensor:
        if self.skipped:
            return x
        first, rest = self.split(x)
        return self.narrow(self.widen(torch.cat([self.partial(first), rest], 1))) + x


def fasternet_block(cin: int, btn: int, cout: int, k: int, s: int, act: str) -> nn.Module:
    """FasterNet's block, behind a 2x2 merge at stride 2 and behind a 1x1 where the width changes."""
    block = PartialResidual(cout, btn, k, act)
    if s == 2:
        return nn.Sequential(ConvBN(cin, cout, 2, 2, p=0), block)
    return block if cin == cout else nn.Sequential(ConvBN(cin, cout), block)
