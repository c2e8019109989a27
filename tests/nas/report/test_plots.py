"""Pictures are PNGs of sensible size for every architecture and for awkward fronts."""

from __future__ import annotations

import io

import numpy as np
import pytest

from nas.report.plots import MOST_POINTS, _thinned, architecture_png, front_png
from search_spaces.architecture import Architecture, Stage, Stem
from search_spaces.published import PUBLISHED
from workbench.errors import BadInput
from workbench.events import PNG_SIGNATURE, png_size


def pixels(png: bytes) -> np.ndarray:
    from matplotlib.image import imread

    return np.asarray(imread(io.BytesIO(png)))


@pytest.mark.parametrize("count", [1, 2, 500, 5000])
def test_front(count: int) -> None:
    xs = np.linspace(1.0, 3.0, count).tolist()
    scores = np.sqrt(xs).tolist()
    references = [("damo-yolo-s", 3.4, 1.7), ("damo-yolo-t", 2.2, 1.4), ("close by", 2.21, 1.401)]
    png = front_png(xs, scores, "latency on t4 (ms)", (xs[-1], scores[-1]), 3.0, references, "a_title with $1 and {braces}")
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
    kept = _thinned(10 * MOST_POINTS)
    assert len(kept) == MOST_POINTS and (kept[0], kept[-1]) == (0, 10 * MOST_POINTS - 1)
    assert _thinned(7) == list(range(7))


@pytest.mark.parametrize("name", PUBLISHED)
def test_architecture(name: str) -> None:
    png = architecture_png(PUBLISHED[name], ["score 97.41   latency 3.37 ms"])
    width, height = png_size(png)
    assert png.startswith(PNG_SIGNATURE) and 1200 <= width <= 2400 and 450 <= height <= 1000
    image = pixels(png)[..., :3]
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
