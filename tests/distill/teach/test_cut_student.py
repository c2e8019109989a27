"""A parent that teaches its own cut child: channels correspond, nothing of the aligner trains, caches go on working."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from distill.teach.align import Aligner
from distill.teach.methods import FEATURE_METHODS
from distill.teach.request import TeacherRequest, make_task
from distill.teach.same_network import same_network, selected_channels
from distill.teach.settings import DistillationSettings
from distill.teach.task import DistillationTask
from distill.teach.teacher import Teacher
from distill.train.loop import Loop
from distill.train.recipe import load_recipe
from tests.distill.cut import cut_child
from tests.distill.tiny import PX, batches, tiny_detector
from workbench.errors import BadInput
from zoo.pruning.apply import zero_units
from zoo.pruning.cuts import Cuts
from zoo.pruning.groups import channel_groups
from zoo.weights.checkpoint import save


def test_a_parent_teaches_the_channels_that_its_child_has_kept() -> None:
    parent = tiny_detector().eval()
    child = cut_child(parent)
    teacher = Teacher(parent, child, PX, PX)
    image = batches(1)[0].image
    given, whole = teacher(image).features, Teacher(parent, parent, PX, PX)(image).features
    selected = selected_channels(child, parent)
    assert selected is not None and teacher.kept is not None
    assert teacher.channels == [len(channels) for channels in selected] == [x.shape[1] for x in child.features(image)]
    for channels, x, y in zip(selected, given, whole, strict=True):
        assert len(channels) < y.shape[1] and torch.equal(x, y[:, torch.from_numpy(channels)])


@pytest.mark.parametrize("method", FEATURE_METHODS)
def test_a_child_whose_parent_lost_the_same_channels_has_nothing_to_learn(method: str) -> None:
    parent = tiny_detector().eval()
    child = cut_child(parent)
    zeroed = copy.deepcopy(parent)
    zero_units(zeroed, channel_groups(parent), child.recipe.cuts)
    settings = DistillationSettings(features={method: {}}, responses={})
    part = DistillationTask(child, [Teacher(zeroed, child, PX, PX)], settings).parts[0]
    batch = batches(1)[0]
    with torch.no_grad():
        features = child.features(batch.image)
        apart = part.features[method](
            [x + torch.randn_like(x) for x in features], part.compute(batch.image).features, batch.targets, (PX, PX)
        )
        same = part.features[method](features, part.compute(batch.image).features, batch.targets, (PX, PX))
    aligner = part.features[method].align
    assert isinstance(aligner, Aligner) and not list(aligner.parameters())
    if method != "mgd":  # its generators are never the identity
        assert float(same) < 1e-3 * float(apart)


def test_only_cuts_of_one_network_correspond() -> None:
    parent = tiny_detector().eval()
    child = cut_child(parent)
    assert same_network(child, parent)
    assert selected_channels(parent, parent) is None and selected_channels(child, child) is None
    assert selected_channels(parent, child) is None  # the teacher lacks channels
    task = DistillationTask(parent, [Teacher(child, parent, PX, PX)], DistillationSettings(responses={}))
    assert len(list(task.parts[0].parameters())) == 3  # learned aligners, as between any two networks
    with pytest.raises(BadInput, match="do not correspond one by one"):
        Aligner([4], [6]).drop_convolutions()


def test_a_child_with_fewer_blocks_only_has_all_channels() -> None:
    parent = tiny_detector().eval()
    blocks = channel_groups(parent).blocks
    assert blocks
    child = copy.deepcopy(parent)
    child.recipe = dataclasses.replace(parent.recipe, cuts=Cuts(skipped=blocks[:1]))
    selected = selected_channels(child, parent)
    assert selected is not None
    assert [channels.tolist() for channels in selected] == [list(range(16))] * 3


@pytest.mark.parametrize("half", [False, True])
def test_a_child_trains_with_its_parent(half: bool, tmp_path: Path) -> None:
    parent = tiny_detector().eval()
    save(parent, tmp_path / "parent.safetensors")
    child = cut_child(parent)
    request = TeacherRequest((str(tmp_path / "parent.safetensors"),), half=half)
    task, record = make_task(child, request, 0, PX)
    assert len(record["teacher_channels_sha256"]) == 64
    _, other = make_task(cut_child(parent, seed=1), request, 0, PX)
    assert other["teacher_channels_sha256"] != record["teacher_channels_sha256"]  # so do the keys of the caches
    assert "teacher_channels_sha256" not in make_task(tiny_detector(), request, 0, PX)[1]
    loop = Loop(task, load_recipe("small", {"nominal_batch": 4, "epochs": 4, "closing_epochs": 1}), 8, 2)
    before = child.head.state_dict()
    before = {name: value.clone() for name, value in before.items()}
    for batch in batches(2):
        report = loop.advance([batch])
        assert not report.rolled_back and all(np.isfinite(value) for value in report.losses.values())
        assert report.losses["teacher_cwd"] > 0
    assert any(not torch.equal(value, before[name]) for name, value in child.head.state_dict().items())
