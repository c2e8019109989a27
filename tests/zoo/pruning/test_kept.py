"""The channels of a parent's maps that a child has kept."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from workbench.errors import BadInput
from zoo.detector import Detector
from zoo.factory import build, build_recipe
from zoo.pruning.apply import apply_cuts, zero_units
from zoo.pruning.cuts import Cuts
from zoo.pruning.groups import channel_groups
from zoo.pruning.kept import kept_channels

FAST = ["yolox-nano", "yolo11n"]
SLOW = ["yolo26n", "damo-yolo-ns", "yolov7", "rtdetrv2-s"]


def random_cuts(detector: Detector, share: float, seed: int = 0) -> Cuts:
    """A random part of every channel group."""
    random = np.random.default_rng(seed)
    groups = channel_groups(detector)
    return groups.cuts_of({
        g.name: np.sort(random.choice(len(g), max(1, int(share * len(g))), replace=False)) for g in groups.groups
    })  # fmt: skip


def cut(detector: Detector, cuts: Cuts) -> Detector:
    child = copy.deepcopy(detector)
    apply_cuts(child, cuts)
    child.recipe = dataclasses.replace(detector.recipe, cuts=detector.recipe.cuts.then(cuts))
    return child


@pytest.mark.parametrize("model", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_the_childs_maps_are_a_selection_of_the_parents(model: str) -> None:
    torch.manual_seed(0)
    parent = build(model, 3).eval()
    cuts = random_cuts(parent, 0.6)
    child, zeroed = cut(parent, cuts), copy.deepcopy(parent)
    zero_units(zeroed, channel_groups(parent), cuts)
    kept = kept_channels(parent, child)
    assert kept is not None
    with torch.no_grad():
        image = torch.rand(1, 3, 64, 64)
        maps, wide = child.features(image), zeroed.features(image)
    for channels, ours, theirs in zip(kept, maps, wide, strict=True):
        assert channels.dtype == np.int64 and 0 < len(channels) < theirs.shape[1]
        torch.testing.assert_close(ours, theirs[:, torch.from_numpy(channels)], rtol=1e-4, atol=1e-5)


def test_the_parent_may_be_cut_itself_and_know_other_classes() -> None:
    parent = build("yolox-nano", 3).eval()
    less = cut(parent, random_cuts(parent, 0.8))
    least = cut(less, random_cuts(less, 0.5, seed=1))
    direct, second, first = (
        kept_channels(a, b) for a, b in ((parent, least), (less, least), (parent, less))
    )  # fmt: skip
    assert direct is not None and first is not None and second is not None
    assert all((a[b] == c).all() for a, b, c in zip(first, second, direct, strict=True))
    assert kept_channels(least, less) is None  # it has channels that the other lacks
    other = build_recipe(dataclasses.replace(less.recipe, classes=200))
    again = kept_channels(build("yolox-nano", 80), other)
    assert again is not None and all((a == b).all() for a, b in zip(again, first, strict=True))


def test_another_network_is_refused() -> None:
    with pytest.raises(BadInput, match="cut from its parent's network"):
        kept_channels(build("yolox-nano", 3), build("yolox-tiny", 3))
