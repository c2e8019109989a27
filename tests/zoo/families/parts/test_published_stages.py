"""Parameters of the stages in training form against the publishers' layer tables."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from search_spaces.architecture import Architecture, Stage, Stem
from tests.search_spaces.blocks.cspnext_sizes import CSPNEXT, cspnext
from zoo.families.parts.backbones import build_backbone
from zoo.families.parts.gelan_stages import RepNCSPELANStage

YOLOV9 = (
    (128, 128, 64, 3, 258_432), (192, 192, 96, 3, 579_648), (256, 256, 128, 3, 1_028_864),
    (448, 192, 96, 3, 628_800), (320, 128, 64, 3, 283_008), (288, 192, 96, 3, 598_080),
    (128, 256, 64, 1, 212_864), (256, 512, 128, 1, 847_616), (512, 512, 256, 1, 2_857_472),
)  # fmt: skip
"""RepNCSPELAN4 in the printed layer tables of YOLOv9-s (backbone, then neck) and -c: cin, out, width of the chains,
depth, parameters."""

YOLOV9S_DOWN = ((64, 64, 73_984), (128, 96, 221_568), (192, 128, 442_880))
"""AConv of YOLOv9-s: cin, half of its output channels, parameters."""


def parameters(module: nn.Module) -> int:
    """Number of learned parameters."""
    return sum(value.numel() for value in module.parameters())


@pytest.mark.parametrize(("cin", "out", "btn", "depth", "expected"), YOLOV9)
def test_gelan_stages_of_yolov9(cin: int, out: int, btn: int, depth: int, expected: int) -> None:
    with torch.device("meta"):
        stage = RepNCSPELANStage(cin, Stage("repncspelan", out, btn, 3, 1, depth), "silu")
    assert parameters(stage) == expected


@pytest.mark.parametrize(("cin", "btn", "expected"), YOLOV9S_DOWN)
def test_down_convolutions_of_yolov9(cin: int, btn: int, expected: int) -> None:
    with torch.device("meta"):
        stage = RepNCSPELANStage(cin, Stage("repncspelan", 2 * btn, btn, 3, 2, 3), "silu")
    assert parameters(stage.down) == expected


@pytest.mark.parametrize("size", CSPNEXT)
def test_cspnext_parameters(size: str) -> None:
    width, depth, mparams, _ = CSPNEXT[size]
    arch = cspnext(width, depth)
    with torch.device("meta"):
        backbone = build_backbone(arch)
    classifier = 1000 * arch.stages[-1].out + 1000
    assert round((parameters(backbone) + classifier) / 1e6, 2) == pytest.approx(mparams)


YOLOV9S_LAYERS = (928, 18_560, 31_104, 73_984, 258_432, 221_568, 579_648, 442_880, 1_028_864, 164_608)
"""Parameters of the layers of YOLOv9-s's backbone, pooling included, as its table prints them."""


def test_backbone_of_yolov9_s() -> None:
    gelan = (Stage("repncspelan", 2 * btn, btn, 3, 2, 3) for btn in (64, 96, 128))
    stages = (Stage("conv", 64, 1, 3, 2), Stage("elan1", 64, 32, 3, 1, 2), *gelan, Stage("sppf", 256, 128, 5, 1))
    with torch.device("meta"):
        backbone = build_backbone(Architecture("mixed", Stem(32, 3, False, 2), stages, "silu", spp=False))
    assert parameters(backbone) == sum(YOLOV9S_LAYERS)
