"""The plot of box sizes: bars hold all boxes, bands end at the cells, curves are the counted shares, no label is hidden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PIL")
pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from distill.data.check.box_levels import box_levels
from nas.report.box_levels_plot import box_levels_png, plot_box_levels
from tests.distill.data.check.test_box_levels import data_set
from tests.nas.report.images import pixels
from workbench.errors import BadInput


def drawn(axes: Any) -> list[Any]:
    """Labels below the axes; ticks beyond the limits are not drawn."""
    low, high = axes.get_xlim()
    return [label for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]


@pytest.mark.parametrize("px", [64, 640, 4096])
def test_everything_is_drawn_and_no_label_is_over_another(px: int, tmp_path: Path) -> None:
    found = box_levels(data_set(tmp_path / "a-name-of-$some$-length", [(0, 0, 3, 9)], [(0, 0, 600, 20)] * 3), px)
    figure = plot_box_levels(found)
    left, right = figure.axes[:2]
    assert sum(bar.get_height() for bar in left.containers[0]) == pytest.approx(100), "no box is beyond the axis"
    lines = [line for line in left.lines if len(set(line.get_xdata())) == 1]
    assert [line.get_xdata()[0] for line in lines] == [4, 8, 16, 32]
    for stride, marks in zip((4, 8), right.lines[1::2], strict=False):
        assert list(marks.get_ydata()) == [100 * side.level(stride).shorter_below / 4 for side in found.sides]
        assert list(marks.get_xdata()) == [side.input_px for side in found.sides]
    figure.draw_without_rendering()
    texts = [*drawn(left), *drawn(right), left.xaxis.label, right.xaxis.label, right.title]
    texts += [*left.child_axes[0].get_xticklabels(), left.child_axes[0].xaxis.label, figure._suptitle]
    texts += [text for legend in figure.legends for text in legend.get_texts()]
    places = [text.get_window_extent() for text in texts if text.get_text()]
    assert len(places) > 20
    for number, place in enumerate(places):
        assert place.x0 >= 0 and place.x1 <= figure.bbox.width, "inside the picture"
        assert not any(place.overlaps(other) for other in places[number + 1 :])
    assert pixels(box_levels_png(found)).shape[:2] == (588, 1320)


def test_data_without_a_box_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="split 'train' has no box to draw"):
        box_levels_png(box_levels(data_set(tmp_path, [])))
