"""The picture of channels kept by layer: a bar a group, filled as far as it is kept, hatched where it is skipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from nas.report.cut_plot import MAX_ROWS, TAG, cuts_png, plot_cuts, show_cuts
from tests.distill.tiny import tiny_detector
from tests.zoo.pruning.children import groups_of, some_cuts
from workbench.events import EventWriter, png_size
from zoo.detector import Recipe
from zoo.pruning.cuts import Cuts
from zoo.pruning.group_widths import group_widths


def test_every_group_has_a_bar_of_its_width_and_of_what_stays() -> None:
    groups = groups_of(tiny_detector().recipe)
    cuts = some_cuts(groups, 0.5)
    figure = plot_cuts(groups, cuts, "tiny, $half$")
    bars = [bar for panel in figure.axes for bar in panel.patches]
    widths = group_widths(groups, cuts)
    assert [bar.get_width() for bar in bars[::2]] == [width.channels for width in widths]
    assert [bar.get_width() for bar in bars[1::2]] == [width.kept for width in widths]
    assert [bool(bar.get_hatch()) for bar in bars[::2]] == [bool(width.removed) for width in widths]
    assert any(width.removed for width in widths)
    texts = [text.get_text() for panel in figure.axes for text in panel.texts]
    assert texts.count("block skipped") == sum(width.removed == "block" for width in widths)
    assert "tiny, $half$" in figure.get_suptitle() and f"1 of {len(groups.blocks)} blocks" in figure.get_suptitle()


def test_many_groups_go_into_columns_and_names_are_those_of_the_layers() -> None:
    groups = groups_of(Recipe("yolox-nano"))
    figure = plot_cuts(groups, Cuts(), "uncut")
    assert len(figure.axes) == -(-len(groups.groups) // MAX_ROWS) > 1
    names = [label.get_text() for panel in figure.axes for label in panel.get_yticklabels()]
    assert len(names) == len(groups.groups) == len(set(names))
    width, height = png_size(cuts_png(groups, Cuts(), "uncut"))
    assert width > 1000 and height > 600


def test_it_goes_to_tensorboard(tmp_path: Path) -> None:
    groups = groups_of(tiny_detector().recipe)
    with EventWriter(tmp_path) as events:
        show_cuts(events, groups, some_cuts(groups, 0.5), "round 1", 1)
    written = b"".join(np.fromfile(file, np.uint8).tobytes() for file in tmp_path.iterdir())
    assert TAG.encode() in written and b"\x89PNG" in written
