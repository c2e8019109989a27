"""Backbones and necks of YOLOv7: layers that stand at the numbers of the official files.

The official files number all layers in order of execution, those without weights too. Modules take their numbers one
after another while building.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.layers import ConvBNAct, RepConv

Anchors: TypeAlias = tuple[tuple[tuple[int, int], ...], ...]
"""Width and height in pixels of the three anchors of every level."""

ANCHORS_PX: Anchors = (
    ((12, 16), (19, 36), (40, 28)),
    ((36, 75), (76, 55), (72, 146)),
    ((142, 110), (192, 243), (459, 401)),
)
"""Anchors of YOLOv7 and YOLOv7-X, for COCO at 640."""
TINY_ANCHORS_PX: Anchors = (
    ((9, 6), (13, 16), (29, 11)),
    ((29, 28), (66, 26), (51, 62)),
    ((115, 54), (134, 119), (308, 147)),
)
"""Anchors of YOLOv7-tiny, for COCO at 640."""
POOLS = (5, 9, 13)
"""Sides of the spatial pyramid's max pools."""


@dataclass(frozen=True, slots=True)
class Elan:
    """How a stage aggregates: ``layers`` 3x3 convolutions in a row, every ``every``-th of which is concatenated, of
    ``ratio`` times the width of the two 1x1 branches; ``act`` follows every convolution.
    """

    layers: int
    every: int
    ratio: float = 1.0
    act: str = "silu"


@dataclass(frozen=True, slots=True)
class Size:
    """One size. ``width`` is the stem's; all widths follow from it but those inside the stages, which do not grow."""

    width: int
    backbone: Elan
    neck: Elan
    rep_convs: bool
    """Whether the last 3x3 convolutions have a 1x1 branch in training."""
    tiny: bool = False
    """Whether it is built of ``TinyBackbone`` and ``TinyNeck``."""
    anchors_px: Anchors = ANCHORS_PX
    box_weight: float = 0.05
    objectness_weight: float = 0.7
    class_weight: float = 0.3


BACKBONE_BRANCHES = (64, 128, 256, 256)
"""Width of the branches of stages 2 to 5."""

Numbers = Iterator[int]
"""The next official layer numbers."""


def numbered(numbers: Numbers, *layers: nn.Module) -> dict[str, nn.Module]:
    """The layers by their numbers, which they take in order."""
    return {str(next(numbers)): layer for layer in layers}


class Aggregation(nn.ModuleDict):
    """E-ELAN: two 1x1 branches, 3x3 convolutions on the second, concatenation, 1x1; ``cin`` to ``cout``."""

    def __init__(self, numbers: Numbers, elan: Elan, cin: int, branch: int, cout: int) -> None:
        inner, act = int(branch * elan.ratio), elan.act
        row = [ConvBNAct(inner if i else branch, inner, 3, act=act) for i in range(elan.layers)]
        super().__init__(numbered(numbers, ConvBNAct(cin, branch, act=act), ConvBNAct(cin, branch, act=act), *row))
        next(numbers)  # the concatenation
        taken = [branch, *[inner] * elan.layers][:: -elan.every]
        self.update(numbered(numbers, ConvBNAct(branch + sum(taken), cout, act=act)))
        self.every = elan.every

    def forward(self, x: Tensor) -> Tensor:
        shortcut, *row, mix = self.values()
        grown = [x]
        for layer in row:
            grown.append(layer(grown[-1]))
        return mix(torch.cat([*grown[: 0 : -self.every], shortcut(x)], 1))


class Downsampling(nn.ModuleDict):
    """Half the side by two branches of ``branch`` channels each: max pool and 1x1, and 1x1 and strided 3x3.

    Gives both concatenated, with ``beside`` behind them.
    """

    def __init__(self, numbers: Numbers, cin: int, branch: int) -> None:
        next(numbers)  # the max pool
        super().__init__(
            numbered(numbers, ConvBNAct(cin, branch), ConvBNAct(cin, branch), ConvBNAct(branch, branch, 3, 2))
        )
        next(numbers)  # the concatenation

    def forward(self, x: Tensor, *beside: Tensor) -> Tensor:
        pooled, narrow, strided = self.values()
        return torch.cat([strided(narrow(x)), pooled(F.max_pool2d(x, 2, 2)), *beside], 1)


class Upsampling(nn.ModuleDict):
    """1x1 to ``c`` channels and twice the side, concatenated behind a 1x1 of the finer map."""

    def __init__(self, numbers: Numbers, cin: int, c: int, cin_finer: int, act: str = "silu") -> None:
        super().__init__(numbered(numbers, ConvBNAct(cin, c, act=act)))
        next(numbers)  # the upsampling
        self.update(numbered(numbers, ConvBNAct(cin_finer, c, act=act)))
        next(numbers)  # the concatenation

    def forward(self, x: Tensor, finer: Tensor) -> Tensor:
        narrow, lateral = self.values()
        return torch.cat([lateral(finer), F.interpolate(narrow(x), scale_factor=2, mode="nearest")], 1)


class CSPPyramid(nn.Module):
    """SPPCSPC: a spatial pyramid between convolutions on one branch, a 1x1 on the other; ``cin`` to ``c``."""

    def __init__(self, cin: int, c: int) -> None:
        super().__init__()
        self.cv1 = ConvBNAct(cin, c)
        self.cv2 = ConvBNAct(cin, c)
        self.cv3 = ConvBNAct(c, c, 3)
        self.cv4 = ConvBNAct(c, c)
        self.cv5 = ConvBNAct((1 + len(POOLS)) * c, c)
        self.cv6 = ConvBNAct(c, c, 3)
        self.cv7 = ConvBNAct(2 * c, c)

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv4(self.cv3(self.cv1(x)))
        y = torch.cat([y, *(F.max_pool2d(y, k, 1, k // 2) for k in POOLS)], 1)
        return self.cv7(torch.cat([self.cv6(self.cv5(y)), self.cv2(x)], 1))


class Stage(nn.Module):
    """Half the side, then an aggregation; the first stage is entered at stride 4 and has no ``down``."""

    def __init__(self, numbers: Numbers, elan: Elan, cin: int, branch: int, cout: int, down: bool = True) -> None:
        super().__init__()
        self.down = Downsampling(numbers, cin, cin // 2) if down else nn.Identity()
        self.mix = Aggregation(numbers, elan, cin, branch, cout)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.down(x))


class StagedBackbone(nn.Module):
    """A stem and four stages; subclasses build them."""

    stem: nn.ModuleDict
    stage2: nn.Module
    stage3: nn.Module
    stage4: nn.Module
    stage5: nn.Module

    def forward(self, image: Tensor) -> list[Tensor]:
        x = image
        for layer in self.stem.values():
            x = layer(x)
        c3 = self.stage3(self.stage2(x))
        c4 = self.stage4(c3)
        return [c3, c4, self.stage5(c4)]


class PathAggregation(nn.Module, abc.ABC):
    """Two steps up from the coarsest level, two down again, a last convolution a level; subclasses build them."""

    up3: nn.Module
    up4: nn.Module
    top_down3: nn.Module
    top_down4: nn.Module
    down4: nn.Module
    down5: nn.Module
    bottom_up4: nn.Module
    bottom_up5: nn.Module
    last: nn.ModuleDict

    @abc.abstractmethod
    def coarsest(self, c5: Tensor) -> Tensor:
        """C5 with its pools mixed in."""

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        c3, c4, c5 = features
        top = self.coarsest(c5)
        middle = self.top_down4(self.up4(top, c4))
        p3 = self.top_down3(self.up3(middle, c3))
        p4 = self.bottom_up4(self.down4(p3, middle))
        p5 = self.bottom_up5(self.down5(p4, top))
        return [layer(x) for layer, x in zip(self.last.values(), (p3, p4, p5), strict=True)]


class Backbone(StagedBackbone):
    """``[b, 3, h, w]`` to C3, C4, C5 of 16, 32, 32 times the stem's width."""

    def __init__(self, numbers: Numbers, size: Size) -> None:
        super().__init__()
        c = size.width
        convs = ConvBNAct(3, c, 3), ConvBNAct(c, 2 * c, 3, 2), ConvBNAct(2 * c, 2 * c, 3), ConvBNAct(2 * c, 4 * c, 3, 2)
        self.stem = nn.ModuleDict(numbered(numbers, *convs))
        b2, b3, b4, b5 = BACKBONE_BRANCHES
        self.stage2 = Stage(numbers, size.backbone, 4 * c, b2, 8 * c, down=False)
        self.stage3 = Stage(numbers, size.backbone, 8 * c, b3, 16 * c)
        self.stage4 = Stage(numbers, size.backbone, 16 * c, b4, 32 * c)
        self.stage5 = Stage(numbers, size.backbone, 32 * c, b5, 32 * c)


class Neck(PathAggregation):
    """C3, C4, C5 to P3, P4, P5 of 8, 16, 32 times the stem's width."""

    def __init__(self, numbers: Numbers, size: Size) -> None:
        super().__init__()
        c, elan = size.width, size.neck
        self.pyramid = nn.ModuleDict(numbered(numbers, CSPPyramid(32 * c, 16 * c)))
        self.up4 = Upsampling(numbers, 16 * c, 8 * c, 32 * c)
        self.top_down4 = Aggregation(numbers, elan, 16 * c, 256, 8 * c)
        self.up3 = Upsampling(numbers, 8 * c, 4 * c, 16 * c)
        self.top_down3 = Aggregation(numbers, elan, 8 * c, 128, 4 * c)
        self.down4 = Downsampling(numbers, 4 * c, 4 * c)
        self.bottom_up4 = Aggregation(numbers, elan, 16 * c, 256, 8 * c)
        self.down5 = Downsampling(numbers, 8 * c, 8 * c)
        self.bottom_up5 = Aggregation(numbers, elan, 32 * c, 512, 16 * c)
        last = [_last_conv(size, cin) for cin in (4 * c, 8 * c, 16 * c)]
        self.last = nn.ModuleDict(numbered(numbers, *last))

    def coarsest(self, c5: Tensor) -> Tensor:
        (pyramid,) = self.pyramid.values()
        return cast(Tensor, pyramid(c5))


def _last_conv(size: Size, cin: int) -> nn.Module:
    """3x3 to twice the width, the last layer of a level before the head."""
    return RepConv(cin, 2 * cin, act="silu") if size.rep_convs else ConvBNAct(cin, 2 * cin, 3)


class TinyPyramid(nn.ModuleDict):
    """The spatial pyramid with one convolution before the pools and one after them; ``cin`` to ``c``."""

    def __init__(self, numbers: Numbers, cin: int, c: int, act: str) -> None:
        super().__init__(numbered(numbers, ConvBNAct(cin, c, act=act), ConvBNAct(cin, c, act=act)))
        for _ in POOLS:
            next(numbers)
        next(numbers)  # the concatenation
        self.update(numbered(numbers, ConvBNAct((1 + len(POOLS)) * c, c, act=act)))
        next(numbers)  # the concatenation
        self.update(numbered(numbers, ConvBNAct(2 * c, c, act=act)))

    def forward(self, x: Tensor) -> Tensor:
        shortcut, narrow, mix, last = self.values()
        y = narrow(x)
        # the largest pool first, as in the official graph
        pooled = [F.max_pool2d(y, k, 1, k // 2) for k in reversed(POOLS)]
        return last(torch.cat([mix(torch.cat([*pooled, y], 1)), shortcut(x)], 1))


class TinyDownsampling(nn.ModuleDict):
    """A strided 3x3 convolution to ``cout`` channels, ``beside`` concatenated behind it."""

    def __init__(self, numbers: Numbers, cin: int, cout: int, act: str) -> None:
        super().__init__(numbered(numbers, ConvBNAct(cin, cout, 3, 2, act=act)))
        next(numbers)  # the concatenation

    def forward(self, x: Tensor, beside: Tensor) -> Tensor:
        (strided,) = self.values()
        return torch.cat([strided(x), beside], 1)


class TinyStage(nn.Module):
    """Half the side by a max pool, then an aggregation that doubles the channels ``c``; the first one has no pool."""

    def __init__(self, numbers: Numbers, elan: Elan, c: int, down: bool = True) -> None:
        super().__init__()
        self.down = nn.MaxPool2d(2, 2) if down else nn.Identity()
        if down:
            next(numbers)
        self.mix = Aggregation(numbers, elan, c, c if down else c // 2, 2 * c if down else c)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.down(x))


class TinyBackbone(StagedBackbone):
    """``[b, 3, h, w]`` to C3, C4, C5 of 8, 16, 32 times ``width``."""

    def __init__(self, numbers: Numbers, size: Size) -> None:
        super().__init__()
        c, elan = size.width, size.backbone
        convs = ConvBNAct(3, 2 * c, 3, 2, act=elan.act), ConvBNAct(2 * c, 4 * c, 3, 2, act=elan.act)
        self.stem = nn.ModuleDict(numbered(numbers, *convs))
        self.stage2 = TinyStage(numbers, elan, 4 * c, down=False)
        self.stage3 = TinyStage(numbers, elan, 4 * c)
        self.stage4 = TinyStage(numbers, elan, 8 * c)
        self.stage5 = TinyStage(numbers, elan, 16 * c)


class TinyNeck(PathAggregation):
    """C3, C4, C5 to P3, P4, P5 of 8, 16, 32 times ``width``."""

    def __init__(self, numbers: Numbers, size: Size) -> None:
        super().__init__()
        c, elan = size.width, size.neck
        act = elan.act
        self.pyramid = TinyPyramid(numbers, 32 * c, 16 * c, act)
        self.up4 = Upsampling(numbers, 16 * c, 8 * c, 16 * c, act)
        self.top_down4 = Aggregation(numbers, elan, 16 * c, 4 * c, 8 * c)
        self.up3 = Upsampling(numbers, 8 * c, 4 * c, 8 * c, act)
        self.top_down3 = Aggregation(numbers, elan, 8 * c, 2 * c, 4 * c)
        self.down4 = TinyDownsampling(numbers, 4 * c, 8 * c, act)
        self.bottom_up4 = Aggregation(numbers, elan, 16 * c, 4 * c, 8 * c)
        self.down5 = TinyDownsampling(numbers, 8 * c, 16 * c, act)
        self.bottom_up5 = Aggregation(numbers, elan, 32 * c, 8 * c, 16 * c)
        last = [ConvBNAct(cin, 2 * cin, 3, act=act) for cin in (4 * c, 8 * c, 16 * c)]
        self.last = nn.ModuleDict(numbered(numbers, *last))

    def coarsest(self, c5: Tensor) -> Tensor:
        return cast(Tensor, self.pyramid(c5))
