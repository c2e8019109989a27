"""Modules that split, transform and concatenate: the stages of YOLOv8, YOLO11, YOLO26 and YOLOv7.

The YOLO families are built from them, and ``zoo.families.parts.blocks`` makes the searched stages of the kinds of
``search_spaces.blocks`` from them. Written from the published descriptions and operation graphs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.blocks.attention import KEY_CHANNELS, attention_heads
from search_spaces.stage import Stage
from zoo.layers import ConvBN, ConvBNAct, SkippableBlock, Split


class Bottleneck(SkippableBlock):
    """Two kxk convolutions with ``ratio`` times the channels between them, and a shortcut. Keeps ``[b, c, h, w]``."""

    branch_parts = ("conv1", "conv2")

    def __init__(self, c: int, ratio: float = 0.5, k: int = 3, act: str = "silu") -> None:
        super().__init__()
        mid = max(int(c * ratio), 1)
        self.conv1 = ConvBNAct(c, mid, k, act=act)
        self.conv2 = ConvBNAct(mid, c, k, act=act)

    def forward(self, x: Tensor) -> Tensor:
        return x if self.skipped else x + self.conv2(self.conv1(x))


class C3k(nn.Module):
    """Two bottlenecks on one half of the channels beside a bare half. Keeps ``[b, c, h, w]``."""

    def __init__(self, c: int, k: int = 3, act: str = "silu") -> None:
        super().__init__()
        mid = max(c // 2, 1)
        self.conv1 = ConvBNAct(c, mid, act=act)
        self.conv2 = ConvBNAct(c, mid, act=act)
        self.conv3 = ConvBNAct(2 * mid, c, act=act)
        self.blocks = nn.Sequential(*(Bottleneck(mid, 1.0, k, act) for _ in range(2)))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(torch.cat([self.blocks(self.conv1(x)), self.conv2(x)], 1))


class Attention(nn.Module):
    """Self-attention over the cells of ``[b, c, h, w]``; a depth-wise kxk convolution of values encodes position."""

    def __init__(self, c: int, k: int = 3) -> None:
        super().__init__()
        heads = int(attention_heads(c))
        self.parts = [KEY_CHANNELS, KEY_CHANNELS, c // heads]
        self.qkv = ConvBN(c, heads * sum(self.parts))
        self.project = ConvBN(c, c)
        self.position = ConvBN(c, c, k, g=c)

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        heads = self.qkv.conv.out_channels // sum(self.parts)
        query, key, value = self.qkv(x).reshape(b, heads, sum(self.parts), h * w).split(self.parts, 2)
        weights = ((query * KEY_CHANNELS**-0.5).transpose(2, 3) @ key).softmax(3)
        width = heads * self.parts[2]
        mixed = (value @ weights.transpose(2, 3)).reshape(b, width, h, w)
        return self.project(mixed + self.position(value.reshape(b, width, h, w)))


class AttentionBlock(SkippableBlock):
    """Attention, then a two-layer network at every position, each with a shortcut. Keeps ``[b, c, h, w]``."""

    branch_parts = ("attention", "ffn")

    def __init__(self, c: int, k: int = 3, act: str = "silu") -> None:
        super().__init__()
        self.attention = Attention(c, k)
        self.ffn = nn.Sequential(ConvBNAct(c, 2 * c, act=act), ConvBN(2 * c, c))

    def forward(self, x: Tensor) -> Tensor:
        if self.skipped:
            return x
        x = x + self.attention(x)
        return x + self.ffn(x)


def bottleneck_with_attention(c: int, k: int = 3, act: str = "silu") -> nn.Module:
    """A bottleneck and an attention block one after the other. Keeps ``[b, c, h, w]``."""
    return nn.Sequential(Bottleneck(c, k=k, act=act), AttentionBlock(c, k, act))


class C2f(nn.Module):
    """Splits in two, runs ``repeats`` blocks on the second part and joins everything, each block's output too.

    ``[b, cin, h, w]`` to ``[b, cout, h, w]``; both parts have ``part`` channels, and ``block`` makes a block that keeps
    so many. YOLO11's C3k2 is this with other blocks.
    """

    def __init__(
        self, cin: int, part: int, cout: int, repeats: int, block: Callable[[int], nn.Module], act: str = "silu"
    ) -> None:
        super().__init__()
        self.conv1 = ConvBNAct(cin, 2 * part, act=act)
        self.split = Split(part, part)
        self.conv2 = ConvBNAct((2 + repeats) * part, cout, act=act)
        self.blocks = nn.ModuleList(block(part) for _ in range(repeats))

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.split(self.conv1(x)))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.conv2(torch.cat(parts, 1))


class C2PSA(nn.Module):
    """Splits in two, runs ``repeats`` attention blocks on the second part and joins.

    ``[b, cin, h, w]`` to ``[b, cout, h, w]``; both parts have ``part`` channels.
    """

    def __init__(self, cin: int, part: int, cout: int, repeats: int, k: int = 3, act: str = "silu") -> None:
        super().__init__()
        self.conv1 = ConvBNAct(cin, 2 * part, act=act)
        self.split = Split(part, part)
        self.conv2 = ConvBNAct(2 * part, cout, act=act)
        self.blocks = nn.Sequential(*(AttentionBlock(part, k, act) for _ in range(repeats)))

    def forward(self, x: Tensor) -> Tensor:
        bare, mixed = self.split(self.conv1(x))
        return self.conv2(torch.cat([bare, self.blocks(mixed)], 1))


class SPPF(nn.Module):
    """Spatial pyramid: 1x1 to ``mid`` channels, three kxk max pools one after the other, all joined, 1x1.

    ``[b, cin, h, w]`` to ``[b, cout, h, w]``. ``residual`` leaves out the first activation and adds the input at the
    end where the width is kept.
    """

    def __init__(
        self, cin: int, mid: int, cout: int, k: int = 5, act: str = "silu", residual: bool = False
    ) -> None:
        super().__init__()
        self.conv1 = ConvBNAct(cin, mid, act="none" if residual else act)
        self.conv2 = ConvBNAct(4 * mid, cout, act=act)
        self.pool = nn.MaxPool2d(k, 1, k // 2)
        self.residual = residual and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.conv1(x)]
        for _ in range(3):
            maps.append(self.pool(maps[-1]))
        y = self.conv2(torch.cat(maps, 1))
        return y + x if self.residual else y


class PooledDown(nn.Module):
    """YOLOv7's transition: half the side by max pool and 1x1, and by 1x1 and strided 3x3, concatenated.

    ``[b, c, h, w]`` to ``[b, c // 2 * 2, h / 2, w / 2]``.
    """

    def __init__(self, c: int, act: str = "silu") -> None:
        super().__init__()
        branch = max(c // 2, 1)
        self.narrow = ConvBNAct(c, branch, act=act)
        self.strided = ConvBNAct(branch, branch, 3, 2, act=act)
        self.pooled = ConvBNAct(c, branch, act=act)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.strided(self.narrow(x)), self.pooled(F.max_pool2d(x, 2, 2))], 1)


class ELAN(nn.Module):
    """YOLOv7's E-ELAN: two 1x1 branches, ``repeats`` pairs of kxk convolutions on the second, concatenation, 1x1.

    ``[b, cin, h, w]`` to ``[b, cout, h, w]``; branches and pairs have ``branch`` channels.
    """

    def __init__(self, cin: int, branch: int, cout: int, repeats: int, k: int = 3, act: str = "silu") -> None:
        super().__init__()
        self.conv1 = ConvBNAct(cin, branch, act=act)
        self.shortcut = ConvBNAct(cin, branch, act=act)
        self.conv2 = ConvBNAct((2 + repeats) * branch, cout, act=act)
        pairs = ([ConvBNAct(branch, branch, k, act=act) for _ in range(2)] for _ in range(repeats))
        self.blocks = nn.ModuleList(nn.Sequential(*pair) for pair in pairs)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.conv1(x)]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        return self.conv2(torch.cat([*maps[::-1], self.shortcut(x)], 1))


def c2f_stage(cin: int, stage: Stage, act: str) -> nn.Module:
    """A stage of kind ``c2f``."""
    return _split_stage(cin, stage, act, lambda c: Bottleneck(c, 1.0, stage.k, act))


def c3k2_stage(cin: int, stage: Stage, act: str) -> nn.Module:
    """A stage of kind ``c3k2``."""
    return _split_stage(cin, stage, act, lambda c: Bottleneck(c, 0.5, stage.k, act))


def c3k2_c3k_stage(cin: int, stage: Stage, act: str) -> nn.Module:
    """A stage of kind ``c3k2_c3k``."""
    return _split_stage(cin, stage, act, lambda c: C3k(c, stage.k, act))


def c3k2_attn_stage(cin: int, stage: Stage, act: str) -> nn.Module:
    """A stage of kind ``c3k2_attn``."""
    return _split_stage(cin, stage, act, lambda c: bottleneck_with_attention(c, stage.k, act))


def _split_stage(cin: int, stage: Stage, act: str, block: Callable[[int], nn.Module]) -> nn.Module:
    """A ``C2f``, behind a 3x3 convolution to twice its parts' width where the stage has stride 2."""
    if stage.stride == 1:
        return C2f(cin, stage.btn, stage.out, stage.depth, block, act)
    width = 2 * stage.btn
    return nn.Sequential(
        ConvBNAct(cin, width, 3, 2, act=act), C2f(width, stage.btn, stage.out, stage.depth, block, act)
    )


def c2psa_stage(cin: int, stage: Stage, act: str) -> nn.Module:
    """A stage of kind ``c2psa``."""
    return C2PSA(cin, stage.btn, stage.out, stage.depth, stage.k, act)


def sppf_stage(cin: int, stage: Stage, act: str) -> nn.Module:
    """A stage of kind ``sppf``."""
    return SPPF(cin, stage.btn, stage.out, stage.k, act)


def sppf_res_stage(cin: int, stage: Stage, act: str) -> nn.Module:
    """A stage of kind ``sppf_res``."""
    return SPPF(cin, stage.btn, stage.out, stage.k, act, residual=True)


def elan_stage(cin: int, stage: Stage, act: str) -> nn.Module:
    """A stage of kind ``elan``."""
    if stage.stride == 1:
        return ELAN(cin, stage.btn, stage.out, stage.depth, stage.k, act)
    width = 2 * max(cin // 2, 1)
    return nn.Sequential(PooledDown(cin, act), ELAN(width, stage.btn, stage.out, stage.depth, stage.k, act))
