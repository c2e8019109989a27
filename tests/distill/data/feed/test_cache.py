"""The picture cache: same pixels with and without it, no more bytes than allowed, errors that name the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("PIL")

from distill.data.classes import ClassMap
from distill.data.dataset import DataSet, Picture
from distill.data.feed.cache import Pictures
from tests.distill.data.painted import painted, synthetic_set, write_set
from workbench.errors import BadInput
from zoo.images import Preprocess, prepare

HOW = Preprocess(resize="letterbox-center")
SIDE_PX = 128


@pytest.mark.parametrize("how", [HOW, Preprocess(resize="stretch", antialias=True)], ids=["letterbox", "stretch"])
def test_cached_pixels_are_the_decoded_ones(tmp_path: Path, how: Preprocess) -> None:
    data = synthetic_set(tmp_path, 6)
    cached, plain = Pictures(data, SIDE_PX, how, 10**8), Pictures(data, SIDE_PX, how, 0)
    assert (cached.cached_pictures, plain.cached_pictures, plain.cached_bytes) == (6, 0, 0)
    for _ in range(2):
        for index in range(6):
            one, other = cached.scene(index), plain.scene(index)
            assert (one.image == other.image).all() and (one.boxes == other.boxes).all()


def test_what_is_cached_is_not_decoded_again_and_the_rest_is(tmp_path: Path) -> None:
    data = synthetic_set(tmp_path, 6)
    room = Pictures(data, SIDE_PX, HOW, 10**8)
    sizes = [room.scene(index).image.nbytes for index in range(6)]
    budget = sum(sizes[:4]) + sizes[4] // 2
    pictures = Pictures(data, SIDE_PX, HOW, budget)
    assert pictures.cached_pictures == 4 and pictures.cached_bytes == sum(sizes[:4]) <= budget
    before = [pictures.scene(index).image.copy() for index in range(6)]
    for picture in data.pictures:
        picture.file.unlink()
    assert all((pictures.scene(index).image == before[index]).all() for index in range(4))
    for index in (4, 5):
        with pytest.raises(BadInput, match=data.pictures[index].file.name):
            pictures.scene(index)


def test_a_cached_picture_cannot_be_changed(tmp_path: Path) -> None:
    pictures = Pictures(synthetic_set(tmp_path, 1), SIDE_PX, HOW, 10**8)
    pictures.scene(0)
    with pytest.raises(ValueError, match="read-only"):
        pictures.scene(0).image[0] = 1


def test_boxes_are_placed_as_the_picture_is(tmp_path: Path) -> None:
    data = write_set(tmp_path, [painted([(30, 20, 90, 80)], 200, 100)])
    for how in (HOW, Preprocess(resize="letterbox-corner"), Preprocess(resize="stretch")):
        pictures = Pictures(data, SIDE_PX, how, 0)
        _, (place,) = prepare([pictures.original(0)], SIDE_PX, how)
        assert pictures.corner(0) == (place.left, place.top)
        scales = [place.scale_x, place.scale_y] * 2
        assert np.allclose(pictures.scene(0).boxes, np.array([[30, 20, 90, 80]]) * scales, atol=1e-4)
        assert pictures.squeeze(0) == pytest.approx(place.scale_x / place.scale_y)


def test_a_lying_size_is_named(tmp_path: Path) -> None:
    good = write_set(tmp_path, [painted([], 60, 40)])
    (one,) = good.pictures
    lying = Picture(one.id, one.file, 40, 60, one.boxes, one.labels, one.crowd, one.areas)
    with pytest.raises(BadInput, match=r"000\.png: 60 x 40 pixels, but the data say 40 x 60"):
        Pictures(DataSet(tmp_path, "train", good.classes, (lying,)), SIDE_PX, HOW, 0).scene(0)


def test_skipped_pictures_are_grey_empty_and_recorded(tmp_path: Path) -> None:
    data = write_set(tmp_path, [painted([(5, 5, 30, 30)], 60, 40)] * 2)
    data.pictures[1].file.write_bytes(b"not a picture")
    pictures = Pictures(data, SIDE_PX, HOW, 10**8, skip_broken=True)
    assert len(pictures.scene(0).labels) == 1 and pictures.broken == {}
    grey = pictures.scene(1)
    assert len(grey.labels) == 0 and (grey.image == 114).all() and "001.png" in pictures.broken[1]


def test_refusals(tmp_path: Path) -> None:
    data = write_set(tmp_path, [painted([], 60, 40)])
    with pytest.raises(BadInput, match=r"no room for a picture cache.*gone"):
        Pictures(data, SIDE_PX, HOW, 10**8, tmp_path / "gone")
    with pytest.raises(BadInput, match=r"no picture cache.*gone"):
        Pictures(data, SIDE_PX, HOW, None, tmp_path / "gone")
    with pytest.raises(BadInput, match="-1 bytes"):
        Pictures(data, SIDE_PX, HOW, -1)
    with pytest.raises(BadInput, match="no pictures"):
        Pictures(DataSet(tmp_path, "val", ClassMap.of([(1, "thing")]), ()), SIDE_PX, HOW)


def test_a_budget_of_its_own_holds_a_small_set(tmp_path: Path) -> None:
    assert Pictures(write_set(tmp_path, [painted([], 60, 40)] * 3), SIDE_PX, HOW).cached_pictures == 3


def test_nothing_is_left_on_disk(tmp_path: Path) -> None:
    data = write_set(tmp_path / "data", [painted([], 60, 40)])
    (tmp_path / "cache").mkdir()
    pictures = Pictures(data, SIDE_PX, HOW, 10**8, tmp_path / "cache")
    pictures.scene(0)
    assert list((tmp_path / "cache").iterdir()) == [], "the file has no name"
