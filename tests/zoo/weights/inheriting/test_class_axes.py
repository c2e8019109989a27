"""Which axes have classes, and which class takes which."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from zoo.factory import build
from zoo.weights.inheriting.classes import ClassAxis, class_axes


def test_classes_are_matched_by_name_beside_the_other_entries() -> None:
    names, there = ("c", "new", "a"), ("a", "b", "c")
    assert ClassAxis(0, 1, 0, True).sources(names, there).tolist() == [2, -1, 0]
    assert ClassAxis(0, 1, 1, False).sources(names, there).tolist() == [2, -1, 0, 3]
    assert ClassAxis(0, 2, 2, True).sources(names, there).tolist() == [0, 1, 4, -1, 2, 5, 6, 9, -1, 7]


def test_widths_that_follow_the_classes_are_no_class_axes() -> None:
    found = class_axes(build("yolo11n", 100))
    assert set(found) == {f"head.classes.{level}.2.{own}" for level in range(3) for own in ("weight", "bias")}
    assert all((a.axis, a.repeats, a.others) == (0, 1, 0) for a in found.values())


def test_anchors_repeat_the_classes_and_an_embedding_has_one_more_behind() -> None:
    anchors = class_axes(build("yolov7", 4))
    assert anchors and {(a.repeats, a.others, a.in_front) for a in anchors.values()} == {(3, 5, True)}
    assert {a.axis for name, a in anchors.items() if name.endswith("scale")} == {1}
    queries = class_axes(build("rtdetrv2-s", 4))
    assert queries["head.denoising_classes.weight"] == ClassAxis(0, 1, 1, False)
    assert queries["head.cell_scores.weight"] == ClassAxis(0, 1, 0, True)
