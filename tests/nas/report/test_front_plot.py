"""Plots of fronts are PNGs of sensible size, for awkward fronts too."""

from __future__ import annotations

import numpy as np
import pytest

from nas.report.front_plot import MAX_POINTS, _thinned, front_png
from tests.nas.report.images import pixels
from workbench.errors import BadInput
from workbench.events import PNG_SIGNATURE, png_size


@pytest.mark.parametrize("count", [1, 2, 500, 5000])
def test_front(count: int) -> None:
    xs = np.linspace(1.0, 3.0, count).tolist()
    scores = np.sqrt(xs).tolist()
    references = [("damo-yolo-s", 3.4, 1.7), ("damo-yolo-t", 2.2, 1.4), ("close by", 2.21, 1.401)]
    png = front_png(
        xs, scores, "latency on t4 (ms)", (xs[-1], scores[-1]), 3.0, references, "a_title with $1 and {braces}"
    )
    assert png.startswith(PNG_SIGNATURE)
    width, height = png_size(png)
    assert 600 <= width <= 1200 and 400 <= height <= 900


def test_front_leaves_a_white_margin() -> None:
    png = front_png([1.0, 2.0], [3.0, 4.0], "ms", (2.0, 4.0), 2.0, [("a rather long name of a reference", 1.0, 3.0)])
    image = pixels(png)[..., :3]
    edges = [image[0], image[-1], image[:, 0], image[:, -1]]
    assert all(bool((edge == 1.0).all()) for edge in edges), "something is cut off at the edge"


def test_front_needs_pairs() -> None:
    with pytest.raises(BadInput, match="2 costs and 1 scores"):
        front_png([1.0, 2.0], [3.0], "ms", (1.0, 3.0))


def test_thinning_keeps_both_ends() -> None:
    indices = _thinned(10 * MAX_POINTS)
    assert len(indices) == MAX_POINTS and (indices[0], indices[-1]) == (0, 10 * MAX_POINTS - 1)
    assert _thinned(7) == list(range(7))
