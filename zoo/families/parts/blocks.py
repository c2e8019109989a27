"""Torch forms of the block kinds of ``search_spaces.blocks``, in training form.

Tests compare the lowering of every kind with a trace of its module.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from search_spaces.stage import Stage
from zoo.families.parts import csp_blocks
from zoo.families.parts.cspnext_stages import CSPNeXtStage, PoolPyramid
from zoo.families.parts.gelan_stages import ELAN1Stage, RepNCSPELANStage
from zoo.families.parts.mobile_blocks import RepViTBlock, fasternet_block
from zoo.families.parts.squeeze_excite import SqueezeExcite
from zoo.layers import ConvBN, ConvBNAct, RepConv, SkippableBlock, activation


class ResidualPair(SkippableBlock):
    """Two convolutions, the second a RepConv; at stride 1 with a residual, projected where the width changes."""

    branch_parts = ("first", "second")

    def __init__(self, cin: int, btn: int, cout: int, k1: int, k2: int, s: int, act: str) -> None:
        super().__init__()
        self.first = ConvBNAct(cin, btn, k1, act=act)
        self.second = RepConv(btn, cout, k2, s, act="none")
        self.projection = ConvBN(cin, cout) if s == 1 and cin != cout else None
        self.residual = s == 1
        self.act = activation(act)

    @property
    def skippable(self) -> bool:
        return self.residual and self.projection is None

    def forward(self, x: Tensor) -> Tensor:
        if self.skipped:
            return self.act(x)
        y = self.second(self.first(x))
        if self.residual:
            y = y + (x if self.projection is None else self.projection(x))
        return self.act(y)


class InvertedResidual(SkippableBlock):
    """1x1 to ``btn``, depthwise kxk, squeeze-excite if asked, 1x1 to ``cout``; residual where the shape is kept."""

    branch_parts = ("widen", "spatial", "excite", "narrow")

    def __init__(self, cin: int, btn: int, cout: int, k: int, s: int, act: str, squeeze: bool = False) -> None:
        super().__init__()
        self.widen = ConvBNAct(cin, btn, act=act)
        self.spatial = ConvBNAct(btn, btn, k, s, g=btn, act=act)
        self.excite = SqueezeExcite(btn, max(1, round(btn * 0.25) // 8) * 8) if squeeze else None
        self.narrow = ConvBN(btn, cout)
        self.residual = s == 1 and cin == cout

    @property
    def skippable(self) -> bool:
        return self.residual

    def forward(self, x: Tensor) -> Tensor:
        if self.skipped:
            return x
        y = self.spatial(self.widen(x))
        if self.excite is not None:
            y = self.excite(y)
        y = self.narrow(y)
        return y + x if self.residual else y


class Bottleneck(SkippableBlock):
    """1x1, kxk, 1x1 with a pooled and projected residual, as in MAE-DET's ResNet space."""

    branch_parts = ("narrow", "spatial", "widen")

    def __init__(self, cin: int, btn: int, cout: int, k: int, s: int, act: str, first: bool) -> None:
        super().__init__()
        self.narrow = ConvBNAct(cin, btn, act=act)
        self.spatial = ConvBNAct(btn, btn, k, s, act=act)
        self.widen = ConvBN(btn, cout)
        self.pool = nn.AvgPool2d(2, 2) if s == 2 else nn.Identity()
        self.projection = ConvBN(cin, cout) if first or cin != cout else None
        self.act = activation(act)

    @property
    def skippable(self) -> bool:
        return self.projection is None and isinstance(self.pool, nn.Identity)

    def forward(self, x: Tensor) -> Tensor:
        if self.skipped:
            return self.act(x)
        skip = self.pool(x)
        if self.projection is not None:
            skip = self.projection(skip)
        return self.act(self.widen(self.spatial(self.narrow(x))) + skip)


BlockMaker = Callable[[int, Stage, int, str, bool], nn.Module]
"""Makes one block from input channels, stage, stride, activation, and whether it is the stage's first."""

StageMaker = Callable[[int, Stage, str], nn.Module]
"""Makes a whole stage from input channels, stage and activation."""

BLOCK_MODULES: dict[str, BlockMaker] = {
    "k1kx": lambda cin, stage, s, act, first: ResidualPair(cin, stage.btn, stage.out, 1, stage.k, s, act),
    "kxkx": lambda cin, stage, s, act, first: ResidualPair(cin, stage.btn, stage.out // 2, stage.k, stage.k, s, act),
    "k1dwk1": lambda cin, stage, s, act, first: InvertedResidual(cin, stage.btn, stage.out, stage.k, s, act),
    "k1dwsek1": lambda cin, stage, s, act, first: InvertedResidual(
        cin, stage.btn, stage.out, stage.k, s, act, squeeze=True
    ),
    "k1kxk1": lambda cin, stage, s, act, first: Bottleneck(cin, stage.btn, stage.out, stage.k, s, act, first),
    "conv": lambda cin, stage, s, act, first: ConvBNAct(cin, stage.out, stage.k, s, act=act),
    "repvgg": lambda cin, stage, s, act, first: RepConv(cin, stage.out, stage.k, s, act=act, identity=True),
    "repvit": lambda cin, stage, s, act, first: RepViTBlock(cin, stage.btn, stage.out, stage.k, s, act),
    "repvitse": lambda cin, stage, s, act, first: RepViTBlock(cin, stage.btn, stage.out, stage.k, s, act, squeeze=True),
    "spp": lambda cin, stage, s, act, first: PoolPyramid(cin, stage.btn, stage.out, act),
    "fasternet": lambda cin, stage, s, act, first: fasternet_block(cin, stage.btn, stage.out, stage.k, s, act),
}
"""One block of each kind that is a chain of blocks. A kxkx block has half of the stage's width."""

STAGE_MODULES: dict[str, StageMaker] = {
    "c2f": csp_blocks.c2f_stage,
    "c3k2": csp_blocks.c3k2_stage,
    "c3k2_c3k": csp_blocks.c3k2_c3k_stage,
    "c3k2_attn": csp_blocks.c3k2_attn_stage,
    "sppf": csp_blocks.sppf_stage,
    "sppf_res": csp_blocks.sppf_res_stage,
    "c2psa": csp_blocks.c2psa_stage,
    "elan": csp_blocks.elan_stage,
    "elan1": ELAN1Stage,
    "repncspelan": RepNCSPELANStage,
    "cspnext": CSPNeXtStage,
    "cspnext_plain": lambda cin, stage, act: CSPNeXtStage(cin, stage, act, residual=False),
}
"""The whole stage of each other kind in ``search_spaces.blocks.BLOCK_KINDS``."""


def stage_modules(cin: int, stage: Stage, act: str) -> list[nn.Module]:
    """The modules of one stage, in order: its blocks, or the whole stage as one. Not for kxkx, which spans stages."""
    if stage.kind in STAGE_MODULES:
        return [STAGE_MODULES[stage.kind](cin, stage, act)]
    block = BLOCK_MODULES[stage.kind]
    later = [block(stage.out, stage, 1, act, False) for _ in range(stage.depth - 1)]
    return [block(cin, stage, stage.stride, act, True), *later]
