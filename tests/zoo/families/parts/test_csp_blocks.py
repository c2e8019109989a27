"""Searched stages against the networks they come from: the backbones of YOLO11, YOLO26 and YOLOv7, op for op."""

from __future__ import annotations

from collections import Counter

import pytest

torch = pytest.importorskip("torch")

from nas.devices.measured.network_hash import network_hash
from nas.devices.profile import load_device
from search_spaces.architecture import Architecture, Stage, Stem
from search_spaces.blocks.attention import attention_heads
from search_spaces.graph import Graph
from search_spaces.lowering import lower
from tests.zoo.families.parts.test_blocks import signatures
from zoo.detector import Recipe
from zoo.factory import build_recipe
from zoo.families.parts.backbones import build_backbone
from zoo.families.parts.csp_blocks import AttentionBlock, Bottleneck
from zoo.families.parts.yolo import SIZES
from zoo.graphs.trace import trace
from zoo.layers import fold_all

PX = 128


def yolo(letter: str, pyramid: str) -> Architecture:
    """The backbone of YOLO11 (``sppf``) or YOLO26 (``sppf_res``) in one size."""
    size = SIZES[letter]
    stem, c2, c3, c4, c5 = (size.channels(base) for base in (64, 128, 256, 512, 1024))
    early, n = "c3k2_c3k" if size.nested else "c3k2", size.repeats
    assert c2 == c3 // 2  # a stride-2 stage begins with 2 * btn channels
    stages = (
        Stage(early, c3, c3 // 4, 3, 2, n), Stage(early, c4, c4 // 4, 3, 2, n), Stage("c3k2_c3k", c4, c4 // 2, 3, 2, n),
        Stage("c3k2_c3k", c5, c5 // 2, 3, 2, n), Stage(pyramid, c5, c5 // 2, 5, 1),
        Stage("c2psa", c5, c5 // 2, 3, 1, n),
    )  # fmt: skip
    return Architecture("mixed", Stem(stem, focus=False), stages, "silu", spp=False)


def yolov7(width: int, depth: int) -> Architecture:
    """The backbone of YOLOv7 (width 32, depth 2) or YOLOv7-X (40, 3)."""
    w = width
    stages = (
        Stage("conv", 2 * w, 2 * w, 3, 2), Stage("conv", 2 * w, 2 * w, 3, 1), Stage("conv", 4 * w, 4 * w, 3, 2),
        Stage("elan", 8 * w, 64, 3, 1, depth), Stage("elan", 16 * w, 128, 3, 2, depth),
        Stage("elan", 32 * w, 256, 3, 2, depth), Stage("elan", 32 * w, 256, 3, 2, depth),
    )  # fmt: skip
    return Architecture("mixed", Stem(w, focus=False, stride=1), stages, "silu", spp=False)


BACKBONES = {
    **{f"yolo11{letter}": yolo(letter, "sppf") for letter in "nsmlx"},
    **{f"yolo26{letter}": yolo(letter, "sppf_res") for letter in "nm"},
    "yolov7": yolov7(32, 2),
    "yolov7x": yolov7(40, 3),
}


def traced_backbone(model: str) -> Graph:
    with torch.device("meta"):
        backbone = build_recipe(Recipe(model)).backbone.eval()
    fold_all(backbone)
    return trace(backbone, PX)


@pytest.mark.parametrize("model", BACKBONES)
def test_backbones_equal_op_for_op_in_order(model: str) -> None:
    lowered, traced = lower(BACKBONES[model], "backbone"), traced_backbone(model)
    assert signatures(lowered) == signatures(traced)
    # the lowered reshapes from tokens to a map also read the map whose size they take
    wires = [op.inputs[:1] if op.kind == "reshape" else op.inputs for op in lowered]
    assert wires == [op.inputs for op in traced]
    ours, theirs = lowered.table(PX), traced.table(PX)
    for column in ("params", "macs", "in_elems", "out_elems", "weight_elems", "pixels", "fused"):
        assert getattr(ours, column).tolist() == getattr(theirs, column).tolist(), column
    device = load_device("t4")
    assert device.op_ticks(ours).tolist() == device.op_ticks(theirs).tolist()
    assert list(lowered.outputs) == list(traced.outputs)
    hashes = {network_hash(Graph(g.ops, [(3, PX, PX)], g.outputs)) for g in (lowered, traced)}
    assert len(hashes) == 1


@pytest.mark.parametrize("model", ["yolo11n", "yolo26n", "yolo11m"])
def test_what_a_cut_can_skip_is_what_the_family_has(model: str) -> None:
    ours = build_backbone(BACKBONES[model])
    theirs = build_recipe(Recipe(model)).backbone

    def skippable(module: torch.nn.Module) -> Counter[str]:
        return Counter(type(part).__name__ for part in module.modules() if getattr(part, "skippable", False))

    assert skippable(ours) == skippable(theirs) != Counter()
    image = torch.randn(1, 3, 64, 64)
    for part in ours.modules():
        if isinstance(part, (Bottleneck, AttentionBlock)):
            part.skip()
    assert [x.shape[-1] for x in ours.eval()(image)] == [8, 4, 2]
    assert sum(p.numel() for p in ours.parameters()) < sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize(("channels", "heads"), [(8, 1), (64, 1), (128, 2), (200, 2), (232, 2), (256, 4), (384, 6)])
def test_heads_divide_the_channels(channels: int, heads: int) -> None:
    assert attention_heads(channels) == heads and channels % heads == 0


def test_heads_of_a_population_are_those_of_each() -> None:
    import numpy as np

    widths = np.arange(1, 600)
    assert attention_heads(widths).tolist() == [attention_heads(int(width)) for width in widths]
