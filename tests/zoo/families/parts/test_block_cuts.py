"""Blocks for small devices and of YOLO, GELAN and RTMDet at odd widths, with channels cut and with blocks skipped."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from search_spaces.architecture import Architecture, Head, Neck, Stage, Stem
from search_spaces.blocks import BLOCK_KINDS
from search_spaces.graph import same_graph
from search_spaces.lowering import lower
from tests.zoo.pruning.children import stir_norms
from zoo.detector import Detector, Recipe
from zoo.factory import build_recipe
from zoo.families.parts.backbones import build_backbone
from zoo.graphs.trace import trace
from zoo.layers import SkippableBlock, fold_all
from zoo.pruning.apply import apply_cuts, zero_units
from zoo.pruning.cuts import Cuts
from zoo.pruning.groups import channel_groups

KINDS = (
    "repvgg", "elan1", "repncspelan", "cspnext", "cspnext_plain", "spp", "repvit", "repvitse", "fasternet", "k1dwk1",
    "k1dwsek1", "c2f", "c3k2", "c3k2_c3k", "c3k2_attn", "sppf", "sppf_res", "c2psa", "elan",
)  # fmt: skip
WITH_RESIDUALS = (
    "repncspelan", "cspnext", "repvit", "repvitse", "fasternet", "k1dwk1", "c2f", "c3k2", "c3k2_c3k", "c3k2_attn",
)  # fmt: skip
PX = 64


def mostly_slow(kinds: tuple[str, ...]) -> list[object]:
    """All kinds; those but three, which have every kind of layer between them, only in slow runs."""
    fast = ("fasternet", "cspnext", "c3k2_attn")
    return [kind if kind in fast else pytest.param(kind, marks=pytest.mark.slow) for kind in kinds]


def detector_of(kind: str) -> Architecture:
    """A detector of one kind: strides 2 and 1, odd widths, growing and shrinking, several depths and kernels."""
    if 2 not in BLOCK_KINDS[kind].strides:
        convs = [Stage("conv", c, c, 3, 2) for c in (24, 40, 48, 64)]
        stages = (*convs, Stage(kind, 56, 17, 3, 1), Stage(kind, 56, 32, 3, 1))
    else:
        stages = (
            Stage(kind, 24, 12, 3, 2, 1), Stage(kind, 40, 18, 5, 2, 2), Stage(kind, 64, 37, 3, 2, 3),
            Stage(kind, 64, 32, 3, 1, 2), Stage(kind, 56, 32, 7, 1, 1), Stage(kind, 72, 64, 5, 2, 2),
        )  # fmt: skip
    return Architecture("mixed", Stem(16), stages, "relu", True, Neck((16, 24, 32), depth=0.3), Head(3, 4), name=kind)


def lively(arch: Architecture) -> Detector:
    """The detector with batch norms that do something."""
    torch.manual_seed(0)
    return stir_norms(build_recipe(Recipe(arch.name, 3, arch)).eval())


def maps_of(detector: Detector, image: Tensor) -> list[Tensor]:
    """Raw outputs."""
    with torch.no_grad():
        return [value.clone() for value in detector.raw_outputs(detector(image))]


def assert_close(found: list[Tensor], expected: list[Tensor], tolerance: float = 1e-5) -> None:
    """All within the tolerance of the largest output."""
    largest = max(float(value.abs().max()) for value in expected)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape and float((a - b).abs().max()) <= tolerance * largest


@pytest.mark.parametrize("kind", KINDS)
def test_lowering_equals_trace(kind: str) -> None:
    arch = detector_of(kind)
    with torch.device("meta"):
        detector, backbone = build_recipe(Recipe(kind, 3, arch)).eval(), build_backbone(arch).eval()
    assert same_graph(lower(arch), detector.graph(PX), PX) == ""
    fold_all(backbone)
    lowered = lower(arch, "backbone")
    assert same_graph(lowered, trace(backbone, PX), PX) == ""
    table = lowered.table(PX)
    assert float(table.total(table.params)) == sum(p.numel() for p in backbone.parameters())


@pytest.mark.parametrize("kind", mostly_slow(KINDS))
def test_cut_channels_equal_zeros(kind: str) -> None:
    detector, image = lively(detector_of(kind)), torch.rand(1, 3, PX, PX)
    groups = channel_groups(detector)
    rng = np.random.default_rng(0)
    cuts = groups.cuts_of(
        {
            group.name: np.sort(rng.choice(len(group), rng.integers(1, len(group) + 1), replace=False))
            for group in groups.groups
        }
    )
    zeroed, child = copy.deepcopy(detector), copy.deepcopy(detector)
    zero_units(zeroed, groups, cuts)
    apply_cuts(child, cuts, groups)
    assert_close(maps_of(child, image), maps_of(zeroed, image))
    child.recipe = dataclasses.replace(detector.recipe, cuts=cuts)
    table, folded = child.graph(PX).table(PX), copy.deepcopy(child).fuse()
    assert float(table.total(table.params)) == sum(p.numel() for p in folded.parameters())


@pytest.mark.parametrize("kind", mostly_slow(WITH_RESIDUALS))
def test_a_skipped_block_leaves_its_shortcut(kind: str) -> None:
    """The branch may end in an activation: ReLU of zero is zero."""
    detector, image = lively(detector_of(kind)), torch.rand(1, 3, PX, PX)
    groups = channel_groups(detector)
    path = next(path for path in groups.blocks if path.startswith("backbone"))
    zeroed, child = copy.deepcopy(detector), copy.deepcopy(detector)
    block = zeroed.get_submodule(path)
    assert isinstance(block, SkippableBlock)
    for parameter in getattr(block, block.branch_parts[-1]).bn.parameters():
        nn.init.zeros_(parameter)
    apply_cuts(child, Cuts(skipped=(path,)), groups)
    assert_close(maps_of(child, image), maps_of(zeroed, image))
