"""The picture of the atlas."""

from __future__ import annotations

import numpy as np
import pytest

from nas.detectors.atlas import Atlas
from nas.detectors.listing import listed
from nas.detectors.plot import Point, _best, _name_points, _style, atlas_png, points_of
from nas.report.canvas import new_figure
from workbench.errors import BadInput


def crowd() -> list[Point]:
    rng = np.random.default_rng(0)
    return [
        Point(f"network-{i}", f"family-{i % 30}", float(np.exp(rng.uniform(0, 3))), float(rng.uniform(20, 55)))
        for i in range(400)
    ]


def test_names_cover_neither_points_nor_names() -> None:
    points = crowd()
    axes = new_figure(11, 7.4).add_subplot()
    axes.set_xscale("log")
    axes.plot([point.cost for point in points], [point.ap for point in points], "o")
    axes.figure.canvas.draw()
    _name_points(axes, points, {point.family: _style(0) for point in points})
    assert 100 < len(axes.texts) < 400, "those that have room"
    boxes = [text.get_window_extent() for text in axes.texts]
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])
    at = axes.transData.transform([(point.cost, point.ap) for point in points])
    covered = sum(bool(box.contains(x, y)) for box in boxes for x, y in at)
    assert covered == 0


def test_no_two_families_look_alike() -> None:
    styles = [_style(place) for place in range(40)]
    assert len({(style["color"], style["marker"], style["linestyle"]) for style in styles}) == 40


def test_a_line_joins_the_best_entry_of_each_network() -> None:
    points = [Point("a", "f", 2.0, 30), Point("a", "f", 2.0, 33), Point("b", "f", 1.0, 20)]
    assert _best(points) == [points[2], points[1]]


def test_png(atlas: Atlas) -> None:
    points = points_of(listed(atlas, "ap", ["board_fp32"]))
    assert {point.name for point in points} == {"alpha-s", "alpha-l"} and points[0].ap == 40.0
    assert atlas_png(points, "ms", "two networks").startswith(b"\x89PNG")
    with pytest.raises(BadInput, match="no entry that is listed has a value"):
        points_of(listed(atlas.part(lambda entry: entry.name == "beta-s"), "ap", ["board_fp32"]))
