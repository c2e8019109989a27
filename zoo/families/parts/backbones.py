"""TinyNAS backbones from an Architecture, in training form: C3, C4, C5 out.

Mirrors ``search_spaces.lowering`` block kind by block kind; tests hold ``lower(arch)`` against a trace of these modules.
A stage module holds its blocks in order, so that the official tensor names are a renaming away (``zoo.families.damo_yolo``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture, Stage, Stem
from search_spaces.lowering import stage_flags
from zoo.layers import SPP, ConvBN, ConvBNAct, Focus, RepConv, activation


class ResidualPair(nn.Module):
    """Two convolutions, the second a RepConv; at stride 1 with a residual link, projected where the width changes."""

    def __init__(self, cin: int, btn: int, cout: int, k1: int, k2: int, s: int, act: str) -> None:
        super().__init__()
        self.first = ConvBNAct(cin, btn, k1, act=act)
        self.second = RepConv(btn, cout, k2, s, act="none")
        self.projection = ConvBN(cin, cout) if s == 1 and cin != cout else None
        self.residual = s == 1
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.first(x))
        if self.residual:
            y = y + (x if self.projection is None else self.projection(x))
        return self.act(y)


class InvertedResidual(nn.Module):
    """1x1 to ``btn``, depth-wise kxk, squeeze-excite if asked, 1x1 to ``cout``; residual where the shape is kept."""

    def __init__(self, cin: int, btn: int, cout: int, k: int, s: int, act: str, squeeze: bool = False) -> None:
        super().__init__()
        self.widen = ConvBNAct(cin, btn, act=act)
        self.spatial = ConvBNAct(btn, btn, k, s, g=btn, act=act)
        self.excite = SqueezeExcite(btn) if squeeze else None
        self.narrow = ConvBN(btn, cout)
        self.residual = s == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        y = self.spatial(self.widen(x))
        if self.excite is not None:
            y = self.excite(y)
        y = self.narrow(y)
        return y + x if self.residual else y


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, round(channels * 0.25) // 8) * 8
        self.narrow = nn.Conv2d(channels, inner, 1)
        self.widen = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.silu(self.narrow(nn.functional.adaptive_avg_pool2d(x, 1)))
        return x * torch.sigmoid(self.widen(y))


class Bottleneck(nn.Module):
    """1x1, kxk, 1x1 with a pooled and projected residual link, as in MAE-DET's ResNet space."""

    def __init__(self, cin: int, btn: int, cout: int, k: int, s: int, act: str, first: bool) -> None:
        super().__init__()
        self.narrow = ConvBNAct(cin, btn, act=act)
        self.spatial = ConvBNAct(btn, btn, k, s, act=act)
        self.widen = ConvBN(btn, cout)
        self.pool = nn.AvgPool2d(2, 2) if s == 2 else nn.Identity()
        self.projection = ConvBN(cin, cout) if first or cin != cout else None
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        link = self.pool(x)
        if self.projection is not None:
            link = self.projection(link)
        return self.act(self.widen(self.spatial(self.narrow(x))) + link)


Maker = Callable[[int, Stage, int, str, bool], nn.Module]
"""(input channels, stage, stride of this block, activation, whether it is the stage's first) to one block."""

BLOCK_MODULES: dict[str, Maker] = {
    "k1kx": lambda cin, stage, s, act, first: ResidualPair(cin, stage.btn, stage.out, 1, stage.k, s, act),
    "kxkx": lambda cin, stage, s, act, first: ResidualPair(cin, stage.btn, stage.out // 2, stage.k, stage.k, s, act),
    "k1dwk1": lambda cin, stage, s, act, first: InvertedResidual(cin, stage.btn, stage.out, stage.k, s, act),
    "k1dwsek1": lambda cin, stage, s, act, first: InvertedResidual(cin, stage.btn, stage.out, stage.k, s, act, squeeze=True),
    "k1kxk1": lambda cin, stage, s, act, first: Bottleneck(cin, stage.btn, stage.out, stage.k, s, act, first),
    "conv": lambda cin, stage, s, act, first: ConvBNAct(cin, stage.out, stage.k, s, act=act),
}
"""One block of each kind of ``search_spaces.blocks``. A kxkx block works at half of the stage's width."""


class ChainBackbone(nn.Module):
    """Stem and stages in a row (res, mob, bottleneck). ``layers.0`` is the stem, ``layers.i`` the i-th stage."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.taps = tuple(tap + 1 for tap in arch.taps)
        self.layers = nn.ModuleList([_stem(arch.stem, arch.act)])
        cin = arch.stem.out
        for index, stage in enumerate(arch.stages):
            blocks = [BLOCK_MODULES[stage.kind](cin, stage, stage.stride, arch.act, True)]
            if stage_flags(arch.style, arch.stages, index, arch.spp)["spp"]:
                blocks.append(SPP(stage.out, stage.out))
            blocks += [BLOCK_MODULES[stage.kind](stage.out, stage, 1, arch.act, False) for _ in range(stage.depth - 1)]
            self.layers.append(nn.Sequential(*blocks))
            cin = stage.out

    def forward(self, image: Tensor) -> list[Tensor]:
        return _tapped(self.layers, image, self.taps)


class CspWrapping(nn.Module):
    """One stride-2 stage, and the stride-1 stage that may continue it, between a start, a shortcut and a fuse conv."""

    def __init__(self, cin: int, stages: Sequence[Stage], act: str, spp: bool) -> None:
        super().__init__()
        first, last = stages[0], stages[-1]
        half = first.out // 2
        self.down = ConvBNAct(cin, first.out, 3, 2, act="relu")
        self.spp = SPP(first.out, first.out) if spp else nn.Identity()
        blocks: list[nn.Module] = []
        width = half
        for stage in stages:
            for _ in range(stage.depth - (stage.stride == 2)):
                blocks.append(BLOCK_MODULES["kxkx"](width, stage, 1, act, not blocks))
                width = stage.out // 2
        self.blocks = nn.Sequential(*blocks)
        self.wrapped = bool(blocks)
        if self.wrapped:
            self.start = ConvBNAct(first.out, half, act="relu")
            self.shortcut = ConvBNAct(first.out, last.out // 2, act="relu")
            self.fuse = ConvBNAct(last.out, last.out, act="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.spp(self.down(x))
        if not self.wrapped:
            return x
        return self.fuse(torch.cat([self.blocks(self.start(x)), self.shortcut(x)], 1))


class CspBackbone(nn.Module):
    """Stem and CSP wrappings: ``wrappings.0`` is the stem, each later one a stride-2 stage with its continuation."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.wrappings = nn.ModuleList([_stem(arch.stem, arch.act)])
        cin, taps = arch.stem.out, []
        group: list[Stage] = []
        spp = False
        for index, stage in enumerate(arch.stages):
            group.append(stage)
            flags = stage_flags(arch.style, arch.stages, index, arch.spp)
            spp = spp or flags["spp"]
            if not flags["closes"]:
                continue
            if stage.kind == "conv":
                self.wrappings.append(BLOCK_MODULES["conv"](cin, stage, stage.stride, arch.act, True))
            else:
                self.wrappings.append(CspWrapping(cin, group, arch.act, spp))
            if index in arch.taps:
                taps.append(len(self.wrappings) - 1)
            cin, group, spp = stage.out, [], False
        self.taps = tuple(taps)

    def forward(self, image: Tensor) -> list[Tensor]:
        return _tapped(self.wrappings, image, self.taps)


def build_backbone(arch: Architecture) -> nn.Module:
    """The backbone of ``arch``: ``[b, 3, h, w]`` to C3, C4, C5 with ``arch.tap_channels`` channels."""
    return CspBackbone(arch) if arch.style == "csp" else ChainBackbone(arch)


def _stem(stem: Stem, act: str) -> nn.Module:
    return Focus(3, stem.out, stem.k, act) if stem.focus else ConvBNAct(3, stem.out, stem.k, stem.stride, act=act)


def _tapped(layers: nn.ModuleList, x: Tensor, taps: Sequence[int]) -> list[Tensor]:
    out = []
    for index, layer in enumerate(layers):
        x = layer(x)
        if index in taps:
            out.append(x)
    return out
