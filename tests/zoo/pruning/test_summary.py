"""What is left of a cut network, counted against the modules."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from tests.distill.tiny import tiny_detector
from tests.zoo.pruning.children import child_of, groups_of, some_cuts
from zoo.detector import Recipe
from zoo.factory import build, build_recipe
from zoo.pruning.group_widths import group_widths
from zoo.pruning.groups import channel_groups
from zoo.pruning.summary import summarize_cuts


def test_a_summary_counts_what_the_modules_have() -> None:
    parent = tiny_detector()
    child = child_of(parent, "cd" * 32)
    summary = summarize_cuts(child.recipe)
    assert summary.parameters == sum(p.numel() for p in parent.parameters())
    assert summary.parameters_kept == sum(p.numel() for p in child.parameters())
    assert summary.skipped == child.recipe.cuts.skipped and len(summary.skipped) == 1
    for width in summary.widths:
        if width.removed:
            with pytest.raises(AttributeError):
                child.get_submodule(width.group.layer)
        elif [other.group.layer for other in summary.widths].count(width.group.layer) == 1:
            whole = parent.get_submodule(width.group.layer).weight.shape[0]  # type: ignore[union-attr]
            rows = child.get_submodule(width.group.layer).weight.shape[0]  # type: ignore[union-attr]
            assert whole - rows == width.channels - width.kept
    assert 0.4 < summary.channels_kept / summary.channels < 0.5  # a half, less the skipped block
    assert f"({summary.channels_kept:,} of {summary.channels:,} that can be cut)" in summary.text()
    assert "1 of " in summary.text() and summary.text().startswith("cut from tiny: ")


def test_an_uncut_network_keeps_everything() -> None:
    summary = summarize_cuts(tiny_detector().recipe)
    assert summary.channels_kept == summary.channels and summary.parameters_kept == summary.parameters
    assert not any(width.removed for width in summary.widths)


def test_layers_that_a_stack_loses_are_gone() -> None:
    groups = channel_groups(build("rtdetrv2-s", 3))
    cuts = groups.cuts_of({}, (), {"head": 2})
    gone = [width.group.layer for width in group_widths(groups, cuts) if width.removed == "layer"]
    with torch.device("meta"):
        left = {path for path, _ in build_recipe(Recipe("rtdetrv2-s", 3, None, cuts)).named_modules()}
    assert gone
    for width in group_widths(groups, cuts):
        assert (width.group.layer in gone) == (width.group.layer not in left)


def test_widths_follow_the_order_of_the_groups() -> None:
    groups = groups_of(tiny_detector().recipe)
    widths = group_widths(groups, some_cuts(groups, 0.5))
    assert [width.group.name for width in widths] == [group.name for group in groups.groups]
    assert {width.part for width in widths} <= {"backbone", "neck", "head"}
