"""Norms are those of the folded kernels that write a unit."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from distill.importance.measure import measure_importance
from distill.importance.norm import Norm
from tests.distill.tiny import tiny_detector
from zoo.detector import Recipe
from zoo.factory import build_recipe
from zoo.pruning.groups import channel_groups


def shaken(detector: torch.nn.Module) -> None:
    """Batch norms with statistics and weights of their own."""
    generator = torch.Generator().manual_seed(0)
    for part in detector.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            for value in (part.weight.data, part.running_var):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)


def test_they_are_norms_of_the_folded_layers() -> None:
    detector = tiny_detector()
    shaken(detector)
    groups = channel_groups(detector)
    norms = Norm("none").unit_scores(detector, groups)
    folded = copy.deepcopy(detector).eval().fuse()
    kernels = dict(folded.named_modules())
    checked = branches = 0
    for group in groups.groups:
        writers = [name for name, axes in groups.axes.items() if 0 in axes and len(axes) == 2
                   and np.isin(axes[0], group.units).any()]  # fmt: skip
        layers = {name.removesuffix(".weight") for name in writers}
        for path in list(layers):
            if path.endswith((".dense.conv", ".point.conv")) and path.rpartition(".")[0].rpartition(".")[0] + ".folded":
                layers -= {path}
                layers |= {path.rpartition(".")[0].rpartition(".")[0] + ".folded"}
                branches += 1
        expected = np.zeros(len(group))
        for path in layers:
            units = groups.axes[(path.replace(".folded", ".dense.conv")) + ".weight"][0]
            rows = kernels[path].weight.detach().double().flatten(1).square().sum(1).numpy()
            expected += [rows[units == unit].sum() for unit in group.units]
        np.testing.assert_allclose(norms[group.units], np.sqrt(expected), rtol=1e-5)
        checked += 1
    assert checked == len(groups.groups) and branches


def test_a_stream_counts_every_layer_that_writes_it() -> None:
    detector = build_recipe(Recipe("yolo11n", 3))
    groups = channel_groups(detector)
    shared = [g for g in groups.groups if sum(0 in a and len(a) == 2 and np.isin(g.units, a[0]).all()
                                              for a in groups.axes.values()) > 1]  # fmt: skip
    assert shared
    norms = Norm("none").unit_scores(detector, groups)
    group = shared[0]
    own = detector.get_submodule(group.layer).weight[torch.as_tensor(group.channels[:, 0])]
    assert (norms[group.units] > own.detach().flatten(1).norm(dim=1).numpy() * 1.01).all()


@pytest.mark.parametrize(("scale", "total"), [("mean", None), ("sum", 1.0)])
def test_groups_are_comparable(scale: str, total: float | None) -> None:
    detector = tiny_detector()
    groups = channel_groups(detector)
    scores = Norm(scale).unit_scores(detector, groups)
    for group in groups.groups:
        assert scores[group.units].sum() == pytest.approx(total or len(group))


def test_blocks_and_layers_have_the_importance_of_their_units() -> None:
    detector = build_recipe(Recipe("rtdetrv2-s", 3))
    groups = channel_groups(detector)
    scores = measure_importance(detector, groups, "norm")
    assert scores.loss is None and scores.images == 0
    for path in groups.blocks:
        inner = [scores.groups[group.name].sum() for group in groups.groups if group.block == path]
        assert inner and scores.blocks[path] == pytest.approx(sum(inner))
    (stack,) = scores.stacks.values()
    assert stack[0] > stack[1] > stack[2] == 0
