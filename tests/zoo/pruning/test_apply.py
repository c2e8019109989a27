"""A cut network computes what its parent computes with the removed channels at zero; in every family, at any cut."""

from __future__ import annotations

import copy
import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import nas
from search_spaces.ops import WEIGHT_KINDS
from tests.zoo.pruning.children import stir_norms
from workbench.errors import BadInput
from zoo.detector import Detector, Recipe
from zoo.factory import build, build_recipe
from zoo.layers import SkippableBlock
from zoo.pruning.apply import apply_cuts, zero_units
from zoo.pruning.cuts import Cuts
from zoo.pruning.groups import ChannelGroups, channel_groups
from zoo.weights.checkpoint import save

SMALLEST = ("yolox-nano", "yolo11n", "yolo26n", "yolov7", "damo-yolo-ns", "rtdetrv2-s")
LARGER = ("yolox-s", "yolo11m", "yolo26m", "yolov7x", "damo-yolo-m", "rtdetrv2-m")
SIZE = (64, 96)
TOLERANCE = 1e-5
"""Of the largest output."""
GRAPH_EVERY = 5
"""Every which cut is traced, which takes seconds."""


@functools.lru_cache(maxsize=2)
def parent_of(model: str) -> tuple[Detector, ChannelGroups]:
    """A detector with batch norms that do something, and its channel groups."""
    torch.manual_seed(0)
    detector = stir_norms(build(model, classes=3).eval())
    return detector, channel_groups(detector)


def maps_of(detector: Detector, image: Tensor) -> list[Tensor]:
    """Raw outputs; of a decoder the logits of all cells, because rounding may swap queries that tie."""
    with torch.no_grad():
        if detector.family != "rtdetrv2":
            return detector.raw_outputs(detector(image))
        levels = [p(x) for p, x in zip(detector.head.project, detector.features(image), strict=True)]
        memory = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1)
        sizes = [(level.shape[-2], level.shape[-1]) for level in levels]
        queries = torch.linspace(-1, 1, 7 * detector.head.cell_projection.out_features).reshape(1, 7, -1)
        raw = detector.head.refine(queries, queries[..., :4] / 2, memory, sizes)
        cells = detector.head.cell_norm(detector.head.cell_projection(memory))
        return [raw["logits"], raw["boxes"], detector.head.cell_scores(cells), detector.head.cell_boxes(cells)]


def random_cuts(groups: ChannelGroups, rng: np.random.Generator) -> Cuts:
    """Any number of units of most groups."""
    kept = {
        group.name: np.sort(rng.choice(len(group), rng.integers(1, len(group) + 1), replace=False))
        for group in groups.groups
        if rng.random() < 0.8
    }
    return groups.cuts_of(kept)


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    """All within the tolerance of the largest output."""
    largest = max(float(value.abs().max()) for value in expected)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert float((a - b).abs().max()) <= TOLERANCE * largest


def check_graph(child: Detector, image: Tensor) -> None:
    """Parameters, MACs and shapes of ``graph()`` against what the folded module has and does."""
    graph, folded = child.graph(SIZE), copy.deepcopy(child).fuse()
    table = graph.table(SIZE)
    macs, handles = [0], []

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        assert isinstance(layer, (nn.Conv2d, nn.Linear))
        macs[0] += out.numel() * layer.weight[0].numel()

    used: set[int] = set()
    for part in folded.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            handles.append(part.register_forward_hook(count))
        handles.append(part.register_forward_hook(lambda layer, *_: used.add(id(layer))))
    with torch.no_grad():
        raw = folded(image)
    weighted = np.array([kind in WEIGHT_KINDS for kind in table.kinds])
    assert int((table.macs * table.count)[weighted].sum()) == macs[0]
    parts = [part for part in folded.modules() if id(part) in used]
    assert int(table.total(table.params)) == sum(p.numel() for m in parts for p in m.parameters(recurse=False))
    shapes = graph.shapes(SIZE)
    assert [tuple(shapes[i]) for i in graph.outputs] == [tuple(value.shape[1:]) for value in folded.raw_outputs(raw)]


def check_cuts(model: str, count: int, first: int = 0) -> None:
    """``count`` random cuts against the parent with channels at zero, some against ``graph()``, one rebuilt."""
    parent, groups = parent_of(model)
    image = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    for seed in range(first, first + count):
        cuts = random_cuts(groups, np.random.default_rng(seed))
        zeroed, child = copy.deepcopy(parent), copy.deepcopy(parent)
        zero_units(zeroed, groups, cuts)
        apply_cuts(child, cuts, groups)
        assert_same(maps_of(child, image), maps_of(zeroed, image))
        child.recipe = dataclasses.replace(parent.recipe, cuts=cuts)
        if seed % GRAPH_EVERY == 0:
            check_graph(child, image)
    child.fuse()
    with torch.device("meta"):
        rebuilt = build_recipe(Recipe(parent.recipe.model, parent.classes, cuts=cuts))
    rebuilt.choose_branch(child.branch)
    shapes = {name: value.shape for name, value in rebuilt.fuse().state_dict().items()}
    assert shapes == {name: value.shape for name, value in child.state_dict().items()}


@pytest.mark.parametrize("model", ["yolox-nano", "yolo11n", "damo-yolo-ns"])
def test_a_cut_equals_zeros(model: str) -> None:
    check_cuts(model, 2)


@pytest.mark.slow
@pytest.mark.parametrize("model", [*SMALLEST, *LARGER])
def test_thirty_cuts_equal_zeros(model: str) -> None:
    check_cuts(model, 30)


@pytest.mark.parametrize("model", ["yolox-nano", "damo-yolo-ns"])
def test_a_skipped_block_equals_a_branch_of_zeros(model: str) -> None:
    parent, groups = parent_of(model)
    image = torch.rand(1, 3, *SIZE)
    path = groups.blocks[0]
    zeroed, child = copy.deepcopy(parent), copy.deepcopy(parent)
    block = zeroed.get_submodule(path)
    assert isinstance(block, SkippableBlock)
    for name, part in block.named_modules():  # the whole branch, whatever its layers are
        if name.partition(".")[0] in block.branch_parts and isinstance(part, nn.BatchNorm2d):
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)
    apply_cuts(child, Cuts(skipped=(path,)), groups)
    assert_same(maps_of(child, image), maps_of(zeroed, image))


def test_a_decoder_keeps_its_first_layers() -> None:
    parent, groups = parent_of("rtdetrv2-s")
    image = torch.rand(1, 3, *SIZE)
    shallow, child = copy.deepcopy(parent), copy.deepcopy(parent)
    shallow.head.depth = 2
    apply_cuts(child, Cuts(depths={"head": 2}), groups)
    assert_same(maps_of(child, image), maps_of(shallow, image))
    assert len(child.head.layers) == 2


def test_heads_go_as_a_whole_and_outputs_stay() -> None:
    _, groups = parent_of("rtdetrv2-s")
    heads = [group for group in groups.groups if group.layer.endswith("self_attn.qkv")]
    assert heads and all(group.channels.shape == (8, 96) for group in heads)
    fixed = {"head.scores.2", "head.boxes.2.layers.2", "head.cell_scores"}
    assert not fixed & {group.layer for group in groups.groups}


@pytest.mark.parametrize("model", ["yolox-nano", *(pytest.param(m, marks=pytest.mark.slow) for m in SMALLEST[1:])])
def test_the_exported_child_agrees(model: str, tmp_path: Path) -> None:
    parent, groups = parent_of(model)
    child = copy.deepcopy(parent)
    cuts = random_cuts(groups, np.random.default_rng(3))
    apply_cuts(child, cuts, groups)
    child.recipe = dataclasses.replace(parent.recipe, cuts=cuts)
    save(child, tmp_path / "child.safetensors")
    exported = nas.export(tmp_path / "child.safetensors", "onnx", input_px=64, out=tmp_path / "child.onnx", quiet=True)
    assert exported.passed


@pytest.mark.parametrize(
    ("cuts", "text"),
    [
        (Cuts({"backbone.nothing": (0,)}), "no layer"),
        (Cuts({"head.class_preds.0": (0,)}), "no layer"),
        (Cuts({"backbone.stem.conv.conv": (0, 999)}), "no channel 999"),
        (Cuts(skipped=("backbone",)), "no residual block"),
        (Cuts(depths={"head": 1}), "no stack"),
    ],
)
def test_impossible_cuts_are_refused(cuts: Cuts, text: str) -> None:
    parent, groups = parent_of("yolox-nano")
    with pytest.raises(BadInput, match=text):
        apply_cuts(copy.deepcopy(parent), cuts, groups)
