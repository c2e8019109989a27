"""Drawings of architectures are PNGs of sensible size for every published detector and for unusual ones."""

from __future__ import annotations

import pytest

from nas.report.architecture_plot import architecture_png
from search_spaces.architecture import Architecture, Stage, Stem
from search_spaces.published import PUBLISHED
from tests.nas.report.images import pixels
from tests.search_spaces.necks.cases import HEADS, NECKS, detector
from workbench.events import PNG_SIGNATURE, png_size


@pytest.mark.parametrize("name", PUBLISHED)
def test_architecture(name: str) -> None:
    png = architecture_png(PUBLISHED[name], ["score 97.41   latency 3.37 ms"])
    width, height = png_size(png)
    assert png.startswith(PNG_SIGNATURE) and 1200 <= width <= 2400 and 450 <= height <= 1000
    image = pixels(png)[..., :3]
    edges = [image[0], image[-1], image[:, 0], image[:, -1]]
    assert all(bool((edge == 1.0).all()) for edge in edges), "something is cut off at the edge"


@pytest.mark.parametrize(
    ("neck", "strides", "head"),
    [
        ("repgfpn", (4, 8, 16, 32), "plain"),
        ("pan", (4, 8, 16, 32), "depthwise"),
        ("pan-inverted", (8, 16), "plain"),
        ("repgfpn-depthwise", (16, 32), "zero"),
    ],
)
def test_other_necks_and_heads_fit_the_picture(neck: str, strides: tuple[int, ...], head: str) -> None:
    image = pixels(architecture_png(detector(NECKS[neck], strides, HEADS[head])))[..., :3]
    edges = [image[0], image[-1], image[:, 0], image[:, -1]]
    assert all(bool((edge == 1.0).all()) for edge in edges), "something is cut off at the edge"


def test_bare_backbone_and_unusual_strides() -> None:
    assert png_size(architecture_png(PUBLISHED["damo-yolo-m"].backbone()))[0] > 500
    stages = (Stage("conv", 8, 8, 3, 1), Stage("k1kx", 16, 8, 3, 1, 2), Stage("k1kx", 24, 8))
    arch = Architecture("res", Stem(8, focus=False, stride=1), stages, name="odd_$name$")
    assert architecture_png(arch).startswith(PNG_SIGNATURE)


def test_more_facts_make_it_taller() -> None:
    arch = PUBLISHED["damo-yolo-s"]
    low, high = (png_size(architecture_png(arch, ["fact"] * n))[1] for n in (0, 4))
    assert high > low
