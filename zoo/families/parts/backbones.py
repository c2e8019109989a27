"""TinyNAS backbones from an Architecture, in training form: one map a level out, finest first.

The stages of ``search_spaces.lowering`` as modules; tests compare ``lower(arch)`` with a trace of them. A stage module
holds its blocks in order, so that official tensor names map to its own by renaming (``zoo.families.damo_yolo``).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture, Stage, Stem
from search_spaces.blocks import BLOCK_KINDS
from search_spaces.blocks.base import ANY_STYLE
from search_spaces.lowering import stage_flags
from zoo.families.parts.blocks import BLOCK_MODULES, stage_modules
from zoo.layers import SPP, ConvBNAct, Focus


class ChainBackbone(nn.Module):
    """Stem and stages in sequence (every style but csp). ``layers.0`` is the stem, ``layers.i`` the i-th stage."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.taps = tuple(tap + 1 for tap in arch.taps)
        self.layers = nn.ModuleList([_stem(arch.stem, arch.act)])
        cin = arch.stem.out
        for index, stage in enumerate(arch.stages):
            blocks = stage_modules(cin, stage, arch.act)
            if stage_flags(arch.style, arch.stages, index, arch.spp)["spp"]:
                blocks.insert(1, SPP(stage.out, stage.out))
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
                blocks.append(BLOCK_MODULES[stage.kind](width, stage, 1, act, not blocks))
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
            if BLOCK_KINDS[stage.kind].style == ANY_STYLE:
                blocks = stage_modules(cin, stage, arch.act)
                if spp:
                    blocks.insert(1, SPP(stage.out, stage.out))
                self.wrappings.append(blocks[0] if len(blocks) == 1 else nn.Sequential(*blocks))
            else:
                self.wrappings.append(CspWrapping(cin, group, arch.act, spp))
            if index in arch.taps:
                taps.append(len(self.wrappings) - 1)
            cin, group, spp = stage.out, [], False
        self.taps = tuple(taps)

    def forward(self, image: Tensor) -> list[Tensor]:
        return _tapped(self.wrappings, image, self.taps)


def build_backbone(arch: Architecture) -> nn.Module:
    """The backbone of ``arch``: ``[b, 3, h, w]`` to one map a level with ``arch.tap_channels`` channels."""
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
