"""Every block kind's torch form against its lowering; forward, backward, folding and export of each."""

from __future__ import annotations

import collections
import copy
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from search_spaces.architecture import Architecture, Head, Neck, Stage, Stem
from search_spaces.blocks import BLOCK_KINDS
from search_spaces.graph import Graph, same_graph
from search_spaces.lowering import lower
from zoo.detector import Recipe
from zoo.factory import build_recipe
from zoo.families.parts.backbones import build_backbone
from zoo.families.parts.blocks import BLOCK_MODULES, STAGE_MODULES, stage_modules
from zoo.graphs.to_torch import build_module
from zoo.graphs.trace import trace
from zoo.layers import fold_all

KINDS = [kind for kind, block in BLOCK_KINDS.items() if not block.spans_stages]
PX = 64


def backbone(kind: str, k: int = 3, act: str = "silu", spp: bool = False) -> Architecture:
    """A backbone with two stages of ``kind``, the first of them at stride 2 where it may be, among plain ones."""
    block = BLOCK_KINDS[kind]
    depth = min(2, block.max_depth or 2)
    down = [Stage(kind, 64, 24, k, 2, depth)] if 2 in block.strides else [Stage("conv", 64, 64)]
    stages = [Stage("conv", 40, 40), *down, Stage("conv", 64, 64), Stage(kind, 64, 128, k, 1, depth)]
    stages += [Stage("conv", 72, 72), Stage(kind, 80, 40, k, 1, block.max_depth or 3)]
    return Architecture("mixed", Stem(16, focus=False), tuple(stages), act, spp)


def module_of(arch: Architecture) -> nn.Module:
    torch.manual_seed(0)
    module = build_backbone(arch)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.2)
            nn.init.normal_(part.running_mean, std=0.2)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    return module


def signatures(graph: Graph) -> list[tuple[Any, ...]]:
    """Kind, channels, kernel, stride, padding, groups and activation of every op; what a slice takes."""
    fields = []
    for op in graph:
        attrs = tuple(op.attrs.get(name) for name in ("axis", "start", "end", "perm", "value"))
        ints = (int(op.cin), int(op.cout), op.k, op.s, op.p, int(op.g))
        fields.append((op.kind, *ints, op.act, op.bias, repr(attrs)))
    return fields


def test_every_kind_has_a_torch_form() -> None:
    assert sorted([*BLOCK_MODULES, *STAGE_MODULES]) == sorted(BLOCK_KINDS)
    assert all(BLOCK_KINDS[kind].linear_in_depth for kind in BLOCK_MODULES)


@pytest.mark.parametrize(("k", "act", "spp"), [(3, "silu", False), (5, "relu", True)])
@pytest.mark.parametrize("kind", KINDS)
def test_lowering_equals_the_trace(kind: str, k: int, act: str, spp: bool) -> None:
    arch = backbone(kind, k, act, spp)
    with torch.device("meta"):
        module = build_backbone(arch).eval()
    fold_all(module)
    lowered, traced = lower(arch, "backbone"), trace(module, (PX, 96))
    assert same_graph(lowered, traced, (PX, 96)) == ""
    assert collections.Counter(signatures(lowered)) == collections.Counter(signatures(traced))
    table = lowered.table(PX)
    assert table.total(table.params) == sum(p.numel() for p in module.parameters())


def test_whole_stages_in_a_csp_backbone() -> None:
    stages = (Stage("kxkx", 32, 16), Stage("c2f", 48, 16), Stage("kxkx", 64, 32, 3, 2, 2), Stage("c3k2", 80, 24))
    arch = Architecture("csp", Stem(16), stages, "silu", spp=True)
    with torch.device("meta"):
        module = build_backbone(arch).eval()
    fold_all(module)
    lowered, traced = lower(arch, "backbone"), trace(module, PX)
    assert same_graph(lowered, traced, PX) == ""
    assert sum(op.kind == "maxpool" for op in lowered) == sum(op.kind == "maxpool" for op in traced) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_forward_backward_and_folding(kind: str) -> None:
    module = module_of(backbone(kind))
    image = torch.randn(2, 3, PX, 96)
    outputs = module.train()(image)
    assert [tuple(x.shape[1:]) for x in outputs] == [(64, 8, 12), (64, 4, 6), (80, 2, 3)]
    sum(x.square().mean() for x in outputs).backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in module.parameters())
    module.eval()
    folded = copy.deepcopy(module)
    fold_all(folded)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
    with torch.no_grad():
        for before, after in zip(module(image), folded(image), strict=True):
            torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_lowered_graph_runs_and_gives_the_shapes_it_says(kind: str) -> None:
    graph = lower(backbone(kind), "backbone")
    for height, width in ((PX, PX), (PX, 96)):
        tensors = build_module(graph).run(torch.randn(1, 3, height, width))
        assert [tuple(x.shape[1:]) for x in tensors] == graph.shapes((height, width))
    again = Graph.from_json(graph.to_json())
    assert again.digest() == graph.digest() and again.shapes(PX) == graph.shapes(PX)


@pytest.mark.parametrize("kind", KINDS)
def test_a_detector_of_it_is_written_as_onnx(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from zoo.export.options import ExportOptions
    from zoo.export.write import export

    backbone_ = backbone(kind)
    parts = {"neck": Neck((24, 32, 40), depth=0.4), "head": Head(3, 4)}
    arch = Architecture("mixed", backbone_.stem, backbone_.stages, "silu", False, name="x", **parts)
    torch.manual_seed(1)
    detector = build_recipe(Recipe("x", 3, arch)).eval()
    assert export(detector, tmp_path / "x.onnx", "onnx", ExportOptions(height=PX, width=96)).within_tolerance


@pytest.mark.parametrize("kind", KINDS)
def test_a_stage_alone_stands_behind_any_input(kind: str) -> None:
    """As the node of a neck: stride 1, an odd number of channels in."""
    stage = Stage(kind, 48, 32, 3, 1, BLOCK_KINDS[kind].max_depth or 2)
    module = nn.Sequential(*stage_modules(51, stage, "relu"))
    assert module(torch.randn(2, 51, 8, 8)).shape == (2, 48, 8, 8)
