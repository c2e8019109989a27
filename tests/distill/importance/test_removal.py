"""Losses without blocks and layers are those of networks that are cut so."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from distill.importance.removal import losses_by_depth, losses_without_blocks, repeating, skipping
from distill.importance.training_loss import TrainingLoss
from tests.distill.importance.test_taylor import random_batch, settled
from zoo.pruning.apply import apply_cuts
from zoo.pruning.cuts import Cuts
from zoo.pruning.groups import channel_groups


def test_a_skipped_block_costs_what_the_cut_network_loses() -> None:
    detector = settled("yolo11n")
    groups = channel_groups(detector)
    loss, batch = TrainingLoss(detector), random_batch()
    whole = float(loss(batch).detach())
    found = losses_without_blocks(loss, groups.blocks, batch)
    assert len(found) == len(groups.blocks)
    for path, value in list(zip(groups.blocks, found, strict=True))[::4]:
        child = copy.deepcopy(detector)
        apply_cuts(child, Cuts(skipped=(path,)), groups)
        assert value == pytest.approx(float(TrainingLoss(child)(batch).detach()), rel=1e-5)
    assert len(set(found)) > 1
    assert float(loss(batch).detach()) == whole


def test_a_block_comes_back_after_an_error() -> None:
    detector = settled("yolo11n")
    path = channel_groups(detector).blocks[0]
    with pytest.raises(KeyboardInterrupt), skipping(detector, path):
        raise KeyboardInterrupt
    assert not detector.get_submodule(path).skipped


def test_layers_that_are_gone_repeat_the_last_one() -> None:
    detector = settled("rtdetrv2-s")
    groups = channel_groups(detector)
    loss, batch = TrainingLoss(detector), random_batch()
    raw, whole = loss.with_raw(batch)
    values = losses_by_depth(loss, groups.stacks, batch)["head"]
    assert len(values) == groups.stacks["head"] == 3
    assert values[-1] == pytest.approx(float(whole.detach()), rel=1e-5)
    short = repeating(raw, 1, 3)
    assert all(torch.equal(layer, raw["layer_boxes"][0]) for layer in short["layer_boxes"])
    assert torch.equal(short["selected_logits"], raw["selected_logits"])
    # the network cut to its first layer has the same outputs of that layer
    child = copy.deepcopy(detector)
    apply_cuts(child, Cuts(depths={"head": 1}), groups)
    cut, _ = TrainingLoss(child).with_raw(batch)
    np.testing.assert_allclose(
        cut["layer_boxes"][0].detach().numpy(), short["layer_boxes"][-1].detach().numpy(), atol=1e-5
    )
    assert len(set(values)) == 3
