"""``lower(architecture)`` against a trace of the built modules, with thop as the referee; traces of other modules."""

from __future__ import annotations

import collections
import dataclasses
import warnings
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from search_spaces.architecture import Architecture, Head, Neck, Stage, Stem
from search_spaces.graph import Graph, same_graph
from search_spaces.lowering import lower
from search_spaces.published import PUBLISHED
from search_spaces.space_file import load_space, space_names
from workbench.errors import BadInput
from zoo.detector import Recipe
from zoo.factory import build_recipe
from zoo.families.parts.backbones import build_backbone
from zoo.graphs.trace import trace
from zoo.layers import fold_all

PX = 64


def referee(module: nn.Module) -> tuple[float, float]:
    """Multiply-accumulates and parameters as thop counts them; pooling is no multiplication of ours."""
    thop = pytest.importorskip("thop")
    from thop.vision.basic_hooks import zero_ops

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        macs, _ = thop.profile(
            module, (torch.empty(1, 3, PX, PX, device="meta"),), verbose=False, custom_ops={nn.AvgPool2d: zero_ops}
        )
    params = sum(p.numel() for p in module.parameters())
    return float(macs), float(params)


def totals(graph: Graph) -> tuple[float, float]:
    """MACs and parameters as thop counts them: without the products of attention, which are no modules."""
    table = graph.table(PX)
    products = np.array([kind == "matmul" for kind in table.kinds])
    return float(table.total(np.where(products, 0.0, table.macs))), float(table.total(table.params))


def check(arch: Architecture) -> None:
    """The three doors agree on the detector and on the bare backbone."""
    with torch.device("meta"):
        detector = build_recipe(Recipe(arch.name, arch.head.classes if arch.head else 80, arch)).eval()
        backbone = build_backbone(arch).eval()
    lowered = lower(arch)
    traced = detector.graph(PX)
    assert same_graph(lowered, traced, PX) == ""
    assert collections.Counter(op.kind for op in lowered) == collections.Counter(op.kind for op in traced)
    assert convolutions(lowered) == convolutions(traced)
    assert [(int(traced.ops[i].cout), traced.ops[i].part) for i in traced.outputs] == [
        (int(lowered.ops[i].cout), lowered.ops[i].part) for i in lowered.outputs
    ]
    assert referee(detector.fuse()) == totals(lowered)
    fold_all(backbone)
    lowered = lower(arch, "backbone")
    assert same_graph(lowered, trace(backbone, PX), PX) == ""
    assert referee(backbone) == totals(lowered)


def convolutions(graph: Graph) -> list[tuple[Any, ...]]:
    """Every convolution's shape, activation and part, in no order."""
    convs = (op for op in graph if op.kind == "conv")
    return sorted((int(o.cin), int(o.cout), o.k, o.s, o.p, int(o.g), o.act, o.bias, o.part) for o in convs)


def sampled(space: str, count: int, seed: int) -> list[Architecture]:
    found = load_space(space)
    return [found.decode(row, f"{space}-{i}") for i, row in enumerate(found.sample(count, np.random.default_rng(seed)))]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_architectures(name: str) -> None:
    check(PUBLISHED[name])


@pytest.mark.parametrize("space", space_names())
def test_lower_equals_trace_equals_thop(space: str) -> None:
    for arch in sampled(space, 3, seed=3):
        check(arch)


def test_kinds_that_no_shipped_space_samples_alone() -> None:
    """Squeeze-excite blocks, plain convolutions, a stem without focus, larger kernels."""
    stages = (
        Stage("conv", 24, 24, 3, 2), Stage("k1dwsek1", 40, 96, 5, 2, 2), Stage("k1dwsek1", 80, 200, 3, 2, 2),
        Stage("k1dwk1", 96, 240, 7, 2, 2), Stage("conv", 128, 128, 1, 1),
    )  # fmt: skip
    stem, neck = Stem(16, 3, focus=False, stride=2), Neck((32, 48, 64), depthwise=True)
    check(Architecture("mob", stem, stages, "silu", True, neck, Head(7, 8, 1)))
    wide = tuple(dataclasses.replace(s, k=5) for s in PUBLISHED["damo-yolo-t"].stages)
    check(dataclasses.replace(PUBLISHED["damo-yolo-t"], stages=wide, spp=False))


@pytest.mark.slow
@pytest.mark.parametrize("space", space_names())
def test_lower_equals_trace_equals_thop_for_200_of_every_space(space: str) -> None:
    for arch in sampled(space, 200, seed=2026):
        check(arch)


class Odd(nn.Module):
    """Indexing, attention and constants: what the tracer must follow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.mix = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        a, b = y.chunk(2, 1)
        y = torch.cat([a * 2, 1 - b], 1)
        tokens = self.mix(y.flatten(2).transpose(1, 2))
        weights = (tokens @ tokens.transpose(1, 2)).softmax(-1)
        tokens = self.mix(weights @ tokens) + torch.ones(8)
        return tokens[:, ::2, 0].unsqueeze(1)


def test_a_module_with_attention_and_constants() -> None:
    with torch.device("meta"):
        module = Odd()
    graph = trace(module, 64)
    kinds = collections.Counter(op.kind for op in graph)
    assert kinds["slice"] == 3 and kinds["matmul"] == 2 and kinds["linear"] == 2 and kinds["rsub_const"] == 1
    table = graph.table(64)
    assert table.total(table.params) == sum(p.numel() for p in module.parameters())
    n = 32 * 32
    assert table.total(table.macs) == n * 8 * 27 + 2 * n * 64 + 2 * n * n * 8
    assert graph.shapes()[graph.outputs[0]] == (1, n // 2)
    again = Graph.from_json(graph.to_json())
    assert again.digest() == graph.digest()


def test_an_unknown_function_is_named() -> None:
    class Strange(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.rfft(x).real

    with pytest.raises(BadInput, match="fft_rfft"):
        trace(Strange(), 64)


def test_an_input_that_is_no_multiple_of_32_is_refused() -> None:
    with torch.device("meta"):
        detector = build_recipe(Recipe("damo-yolo-t"))
    with pytest.raises(BadInput, match="multiples of 32"):
        detector.graph(100)
