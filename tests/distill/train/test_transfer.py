"""Weights for new classes, of detectors that are cut."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from distill.data.classes import ClassMap
from distill.train.transfer import adapt_classes
from tests.distill.cut import cut_child
from zoo.factory import build


def classes(count: int) -> ClassMap:
    return ClassMap(tuple(f"name {i}" for i in range(count)), tuple(range(count)))


@pytest.mark.parametrize("count", [3, 200])
def test_a_cut_class_branch_keeps_its_width_where_the_number_of_classes_changes_the_uncut_one(count: int) -> None:
    child = cut_child(build("yolo11n", 80).eval(), 0.6)  # 48 of its 80 channels; there are 64 or 100 now
    adapted, fresh = adapt_classes(child, classes(count))
    assert fresh and all(name.startswith("head.classes.") and ".2." in name for name in fresh)
    old, new = child.state_dict(), adapted.state_dict()
    assert all(torch.equal(new[name], value) for name, value in old.items() if name not in fresh)
    assert adapted.head(adapted.features(torch.zeros(1, 3, 64, 64)))["classes"][0].shape == (1, count, 8, 8)


def test_a_class_branch_that_becomes_too_narrow_starts_anew() -> None:
    child = cut_child(build("yolo11n", 80).eval(), 0.9)  # 72 of 80
    adapted, fresh = adapt_classes(child, classes(3))
    assert adapted.state_dict()["head.classes.0.1.1.conv.weight"].shape[0] == 64
    assert "head.classes.0.1.1.conv.weight" in fresh and not any(name.startswith("backbone.") for name in fresh)
