"""The picture of trained detectors: it is one, whatever the marks."""

from __future__ import annotations

import pytest

pytest.importorskip("matplotlib")

from nas.report.trained_plot import Mark, trained_png
from workbench.events import png_size


@pytest.mark.parametrize(
    "marks",
    [
        [Mark("found-1", 3.0, 0.41, False, True)],
        [Mark("found-$1", 3.0, 0.0, False, True), Mark("yolox-s", 3.0, 0.0, True, True)],
        [Mark(f"found-{i}", 1.0 + i / 100, 0.3 + i / 1000, i % 2 == 0, i % 3 == 0) for i in range(12)],
    ],
)
def test_a_picture_is_drawn(marks: list[Mark]) -> None:
    width, height = png_size(trained_png(marks, "latency, ms", "a $title"))
    assert width > 600 and height > 400
