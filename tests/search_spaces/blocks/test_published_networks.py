"""Published networks lie inside the block kinds: our lowering has their operations, one by one or in sum.

Graphs come from ``shared/``; layer lists and totals that are written down here are the publishers' own.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from search_spaces.architecture import Architecture, Stage, Stem
from search_spaces.graph import Graph
from search_spaces.lowering import lower
from search_spaces.ops import Op
from tests.search_spaces.blocks.cspnext_sizes import CSPNEXT, cspnext


def published(shared_dir: Path, folder: str, name: str) -> Graph:
    """The graph of one published network."""
    with gzip.open(shared_dir / folder / "graphs.jsonl.gz", "rt") as lines:
        return Graph.from_json(next(data for data in map(json.loads, lines) if data["name"] == name))


def row(op: Op, act: bool = True) -> tuple[object, ...]:
    """What identifies one op: its kind, numbers and, if asked, activation."""
    return (op.kind, op.cin, op.cout, op.k, op.s, op.p, op.g, op.bias, *([op.act] if act else []))


def backbone(stem: Stem, stages: tuple[Stage, ...], act: str = "relu") -> Graph:
    """A bare backbone of style mixed, lowered."""
    return lower(Architecture("mixed", stem, stages, act, spp=False), "backbone")


def test_repvgg_a0(shared_dir: Path) -> None:
    """NanoDet's backbone: RepVGG-A0 without its wide last stage."""
    widths = ((48, 2), (96, 4), (192, 14), (512, 1))
    ours = backbone(Stem(48, 3, False, 2), tuple(Stage("repvgg", out, out, 3, 2, depth) for out, depth in widths))
    theirs = published(shared_dir, "atlas", "NanoDet-RepVGG-A0")
    assert list(map(row, ours)) == list(map(row, theirs.ops[: len(ours)]))
    assert theirs.ops[len(ours)].inputs[0] < len(ours) - 1  # the neck begins


def test_yolov6_backbone(shared_dir: Path) -> None:
    """EfficientRep at depth 0.33 and width 0.5, before its pooling."""
    widths = ((64, 3), (128, 5), (256, 7), (512, 3))
    ours = backbone(Stem(32, 3, False, 2), tuple(Stage("repvgg", out, out, 3, 2, depth) for out, depth in widths))
    theirs = published(shared_dir, "yolobench", "yolo6s-d33w5")
    assert list(map(row, ours)) == list(map(row, theirs.ops[: len(ours)]))
    assert theirs.ops[len(ours)].k == (1, 1)  # the pooling begins


LITE0 = (
    (24, 96, 3, 2), (24, 144, 3, 1), (40, 144, 5, 2), (40, 240, 5, 1), (80, 240, 3, 2), (80, 480, 3, 1),
    (80, 480, 3, 1), (112, 480, 5, 1), (112, 672, 5, 1), (112, 672, 5, 1), (192, 672, 5, 2), (192, 1152, 5, 1),
    (192, 1152, 5, 1), (192, 1152, 5, 1), (320, 1152, 3, 1),
)  # fmt: skip
"""Inverted residuals of EfficientNet-Lite0 after the first: out, inner width, kernel, stride."""


def test_efficientnet_lite0_in_style_mixed(shared_dir: Path) -> None:
    """A block's inner width follows its own input, so each is a stage; the activation there is ReLU6."""
    stages = tuple(Stage("k1dwk1", out, btn, k, s) for out, btn, k, s in LITE0)
    ours = backbone(Stem(16, 3, False, 2), stages)
    theirs = published(shared_dir, "atlas", "tf_efficientdet_lite0").ops[3:]
    expected = [row(op, act=False) for op in theirs[: len(ours) - 1]]
    assert [row(op, act=False) for op in ours.ops[1:]] == expected


def test_spatial_pyramid_of_yolox(shared_dir: Path) -> None:
    theirs = published(shared_dir, "atlas", "YOLOX-s")
    at = next(i for i, op in enumerate(theirs) if op.kind == "maxpool") - 1
    ours = backbone(Stem(512), (Stage("spp", 512, 256, 3, 1),), "silu")
    first = len(ours) - 6
    assert list(map(row, ours.ops[first:])) == list(map(row, theirs.ops[at : at + 6]))


CSPNEXT_TINY = (
    (3, 12, 3, 2, 1), (12, 12, 3, 1, 1), (12, 24, 3, 1, 1),
    (24, 48, 3, 2, 1), (48, 24, 1, 1, 1), (48, 24, 1, 1, 1), (24, 24, 3, 1, 1), (24, 24, 5, 1, 24), (24, 24, 1, 1, 1),
    (48, 48, 1, 1, 1), (48, 48, 1, 1, 1),
    (48, 96, 3, 2, 1), (96, 48, 1, 1, 1), (96, 48, 1, 1, 1), (48, 48, 3, 1, 1), (48, 48, 5, 1, 48), (48, 48, 1, 1, 1),
    (96, 96, 1, 1, 1), (96, 96, 1, 1, 1),
    (96, 192, 3, 2, 1), (192, 96, 1, 1, 1), (192, 96, 1, 1, 1), (96, 96, 3, 1, 1), (96, 96, 5, 1, 96),
    (96, 96, 1, 1, 1), (192, 192, 1, 1, 1), (192, 192, 1, 1, 1),
    (192, 384, 3, 2, 1), (384, 192, 1, 1, 1), (768, 384, 1, 1, 1), (384, 192, 1, 1, 1), (384, 192, 1, 1, 1),
    (192, 192, 3, 1, 1), (192, 192, 5, 1, 192), (192, 192, 1, 1, 1), (384, 384, 1, 1, 1), (384, 384, 1, 1, 1),
)  # fmt: skip
"""Convolutions of CSPNeXt-tiny in a published ncnn export of RTMPose-t: cin, cout, kernel, stride, groups."""

def test_cspnext_tiny_op_by_op() -> None:
    graph = lower(cspnext(0.375, 0.167), "backbone")
    convs = [op for op in graph if op.kind == "conv"]
    assert [(op.cin, op.cout, op.k[0], op.s[0], op.g) for op in convs] == list(CSPNEXT_TINY)
    assert [op.act for op in convs].count("hardsigmoid") == 4 and {op.act for op in convs} == {"silu", "hardsigmoid"}
    kinds = [op.kind for op in graph]
    assert [kinds.count(kind) for kind in ("add", "mul", "concat", "global_avgpool", "maxpool")] == [3, 4, 5, 4, 3]


@pytest.mark.parametrize("size", CSPNEXT)
def test_cspnext_macs(size: str) -> None:
    """We count convolutions alone, 0.4 to 1.3 percent less."""
    width, depth, _, gmacs = CSPNEXT[size]
    table = lower(cspnext(width, depth), "backbone").table(224)
    assert 0.985 * gmacs < table.total(table.macs) / 1e9 < gmacs


REPVIT = {
    "m0.9": ((48, 96, 192, 384), (2, 2, 14, 2), 5.1, 0.8),
    "m1.0": ((56, 112, 224, 448), (2, 2, 14, 2), 6.8, 1.1),
    "m1.1": ((64, 128, 256, 512), (2, 2, 12, 2), 8.2, 1.3),
    "m1.5": ((64, 128, 256, 512), (4, 4, 24, 4), 14.0, 2.3),
    "m2.3": ((80, 160, 320, 640), (6, 6, 34, 2), 22.9, 4.5),
}
"""Widths and depths of RepViT's stages; parameters (1e6) and multiply-accumulates (1e9, 224 px) as published."""


@pytest.mark.parametrize("size", REPVIT)
def test_repvit_sizes(size: str) -> None:
    """Every other block has squeeze-excite; a block without one ends each stage before the next begins."""
    widths, depths, mparams, gmacs = REPVIT[size]
    stages = [Stage("conv", widths[0], 1, 3, 2)]
    for number, (c, depth) in enumerate(zip(widths, depths, strict=True)):
        stages += [Stage("repvit", c, 2 * c, 3, 2)] if number else []
        kinds = ["repvit" if block % 2 else "repvitse" for block in range(depth)]
        stages += [Stage(kind, c, 2 * c, 3, 1) for kind in [*kinds, *(["repvit"] if number < 3 else [])]]
    table = backbone(Stem(widths[0] // 2, 3, False, 2), tuple(stages)).table(224)
    classifier = 1000 * widths[-1] + 1000
    assert round((float(table.total(table.params)) + classifier) / 1e6, 1) == pytest.approx(mparams)
    assert round(float(table.total(table.macs)) / 1e9, 1) == pytest.approx(gmacs)


FASTERNET = {
    "t0": (40, (1, 2, 8, 2), 3.9, 0.34),
    "t1": (64, (1, 2, 8, 2), 7.6, 0.85),
    "t2": (96, (1, 2, 8, 2), 15.0, 1.90),
    "s": (128, (1, 2, 13, 2), 31.1, 4.55),
    "m": (144, (3, 4, 18, 3), 53.5, 8.72),
    "l": (192, (3, 4, 18, 3), 93.4, 15.49),
}
"""First width and depths of FasterNet's stages; published parameters (1e6) and multiply-accumulates (1e9, 224 px)."""


@pytest.mark.parametrize("size", FASTERNET)
def test_fasternet_sizes(size: str) -> None:
    """The 4x4 embedding of stride 4 stands for our stem and first merge; the classifier is added here."""
    c, depths, mparams, gmacs = FASTERNET[size]
    widths = [c * 2**i for i in range(4)]
    stages = tuple(Stage("fasternet", out, 2 * out, 3, 2, n) for out, n in zip(widths, depths, strict=True))
    table = backbone(Stem(c, 3, False, 2), stages).table(224)
    kept = [not (name.startswith("stem") or name == "stage1.block0.merge") for name in table.names]
    classifier = widths[-1] * 1280 + 1280 * 1000
    params = float(table.params[kept].sum()) + 49 * c + classifier + 1000
    macs = float(table.macs[kept].sum()) + 48 * c * 56 * 56 + classifier
    assert params / 1e6 == pytest.approx(mparams, abs=0.1)
    assert round(macs / 1e9, 2) == pytest.approx(gmacs)
