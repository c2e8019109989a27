"""Random detectors of every shipped space: traced graph, gradients, folding and ONNX export."""

from __future__ import annotations

import collections
import functools
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from search_spaces.architecture import Architecture
from search_spaces.graph import same_graph
from search_spaces.lowering import lower
from search_spaces.space_file import load_space, space_names
from tests.zoo.families.checks import assert_folding_and_prediction, disturb
from tests.zoo.families.loss_checks import targets_of
from zoo.detector import Detector, Recipe
from zoo.factory import build_recipe
from zoo.learning.targets import Phase, total

FEW, MANY = 2, 20
"""Detectors a space in the fast suite, and in all."""
CASES = [
    pytest.param(space, index, id=f"{space}-{index}", marks=() if index < FEW else pytest.mark.slow)
    for space in space_names()
    for index in range(MANY)
]
ONE_A_SPACE = [pytest.param(*case.values, id=case.id, marks=case.marks) for case in CASES if case.values[1] != 1]
"""Fewer of the fast ones, for checks that take longer."""


@functools.cache
def architectures(space: str) -> list[Architecture]:
    """The first ``MANY`` random detectors of a space."""
    found = load_space(space)
    return [found.decode(row, f"{space}-{i}") for i, row in enumerate(found.sample(MANY, np.random.default_rng(22)))]


def built(arch: Architecture) -> Detector:
    """The detector with spread weights."""
    torch.manual_seed(0)
    assert arch.head is not None
    made = build_recipe(Recipe(arch.name, arch.head.classes, arch))
    disturb(made)
    return made


@pytest.mark.parametrize(("space", "index"), CASES)
def test_lowering_equals_the_trace(space: str, index: int) -> None:
    arch = architectures(space)[index]
    assert arch.head is not None
    with torch.device("meta"):
        made = build_recipe(Recipe(arch.name, arch.head.classes, arch)).eval()
    px = arch.input_px or 128
    lowered, traced = lower(arch), made.graph(px)
    assert same_graph(lowered, traced, px) == ""
    assert collections.Counter(op.kind for op in lowered) == collections.Counter(op.kind for op in traced)
    ours, theirs = lowered.table(px), traced.table(px)
    assert ours.total(ours.macs) == theirs.total(theirs.macs)
    assert ours.total(ours.params) == theirs.total(theirs.params) == sum(p.numel() for p in made.fuse().parameters())
    assert made.info.input_px == (arch.input_px or 640)


@pytest.mark.parametrize(("space", "index"), ONE_A_SPACE)
def test_every_parameter_gets_a_gradient(space: str, index: int) -> None:
    made = built(architectures(space)[index]).train()
    px = 128
    sides = (12, 40, 96)
    boxes = [[[x, x, x + side, x + side, side % 80] for x in range(0, px - side, 16)] for side in sides]
    targets = targets_of(*boxes)
    raw = made.training_raw(made.features(torch.rand(len(boxes), 3, px, px) * 255), targets)
    losses = made.loss(raw, targets, (px, px), Phase())
    assert all(value.isfinite() for value in losses.values())
    total(losses).backward()
    grads = {name: value.grad for name, value in made.named_parameters() if value.requires_grad}
    assert [name for name, grad in grads.items() if grad is None or not grad.isfinite().all()] == []


@pytest.mark.parametrize(("space", "index"), CASES)
def test_folding_changes_nothing(space: str, index: int) -> None:
    made = built(architectures(space)[index]).eval()
    assert_folding_and_prediction(made, torch.rand(1, 3, 64, 96) * 255)


@pytest.mark.slow
@pytest.mark.parametrize(("space", "index"), CASES)
def test_onnx_agrees_with_torch(space: str, index: int, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from zoo.export.options import ExportOptions
    from zoo.export.write import export

    made = built(architectures(space)[index]).eval()
    file = export(made, tmp_path / "x.onnx", "onnx", ExportOptions(height=128, width=128))
    assert file.within_tolerance, file.verdict()
