"""Boxes against the cells of levels: exact counts on made data, remarks with what could be changed, trivial data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL")
pytest.importorskip("torch")

from distill.data.check.box_levels import BoxLevels, box_levels
from distill.data.check.box_sizes import BoxSizes
from distill.data.check.level_advice import percent
from distill.data.check.level_counts import STRIDES, check_strides, count_levels, side_ladder
from distill.data.formats.readers import open_data
from tests.distill.data import made
from workbench.errors import BadInput
from zoo.images import Resize

Box = tuple[float, float, float, float]


def data_set(root: Path, *images: Sequence[Box], size: tuple[int, int] = (640, 640)) -> Path:
    """A training split of these boxes (x, y, width, height) a picture; sizes are stated, the files are tiny."""
    folder = root / "images" / "train"
    folder.mkdir(parents=True)
    for number in range(1, len(images) + 1):
        made.picture(number, 1, 1).save(folder / f"{number}.png")
    entries = [made.image(number, f"{number}.png", *size) for number in range(1, len(images) + 1)]
    boxes = [(number, box) for number, of_image in enumerate(images, start=1) for box in of_image]
    annotations = [made.annotation(at, number, 1, *box) for at, (number, box) in enumerate(boxes, start=1)]
    made.write_split(root, "train", made.coco(entries, annotations))
    return root


def repeated(root: Path, box: Box, count: int, *more: Box) -> Path:
    """``count`` pictures of one box each, and one picture of ``more``."""
    return data_set(root, *([box] for _ in range(count)), more)


def counts(found: BoxLevels, name: str) -> list[int]:
    """One number a level at the chosen input side."""
    return [getattr(level, name) for level in found.chosen.levels]


def test_counts_are_exact(tmp_path: Path) -> None:
    first = [
        (0, 0, 3, 9),  # shorter below 4, longer below 16
        (100, 100, 4, 4),  # just one cell of stride 4
        (102, 101, 6, 6),  # center 105, 104: with the one before in a cell of stride 16 (96..112), not of 8
        (300, 300, 32, 32),  # the least that is sized for stride 8
        (332, 300, 31, 32),  # area 992: for stride 4
    ]
    second = [(100, 100, 64, 64), (200, 200, 128, 256), (0, 0, 600, 600)]  # for 16; 181 px: for 32; larger
    found = box_levels(data_set(tmp_path, first, second, []))
    assert (found.images, found.empty, found.boxes, found.most_boxes) == (3, 1, 8, 5)
    assert counts(found, "cells") == [160**2, 80**2, 40**2, 20**2]
    assert counts(found, "shorter_below") == [1, 3, 3, 4]
    assert counts(found, "longer_below") == [0, 2, 3, 3]
    assert counts(found, "sized") == [4, 1, 1, 1] and found.chosen.larger == 1
    assert counts(found, "shared") == [0, 0, 2, 2]
    half = next(side for side in found.sides if side.input_px == 320)
    assert [level.shorter_below for level in half.levels] == [3, 3, 4, 5]
    assert [level.sized for level in half.levels] == [5, 1, 1, 0] and half.larger == 1
    assert sum(half.level(stride).sized for stride in STRIDES) + half.larger == found.boxes
    assert half.sized_from(16) == 2


@pytest.mark.parametrize(
    ("resize", "sides", "center"),
    [
        ("stretch", (50, 50), (25, 50)),
        ("letterbox-center", (50, 25), (25, 50)),
        ("letterbox-corner", (50, 25), (25, 25)),
    ],
)
def test_boxes_are_placed_as_the_network_places_images(
    resize: Resize, sides: Box, center: Box, tmp_path: Path
) -> None:
    data = open_data(data_set(tmp_path, [(0, 25, 100, 50)], size=(200, 100)), "train")
    placed = BoxSizes.of(data).at(100, resize)
    assert placed.sides.tolist() == [list(sides)] and placed.centers.tolist() == [list(center)]


@pytest.mark.parametrize("resize", ["stretch", "letterbox-center"])
def test_counts_equal_those_of_a_loop_over_boxes(resize: Resize, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    images = [[(*rng.uniform(0, 30, 2), *rng.uniform(1, 30, 2)) for _ in range(12)] for _ in range(4)]
    sizes = BoxSizes.of(open_data(data_set(tmp_path, *images, size=(64, 48)), "train"))
    found = count_levels(sizes, 96, resize)
    scale, top = ((1.5, 2.0), 0) if resize == "stretch" else ((1.5, 1.5), 12)
    for level in found.levels:
        cells, short = [], 0
        for (x1, y1, x2, y2), image in zip(sizes.boxes.tolist(), sizes.image.tolist(), strict=True):
            short += min((x2 - x1) * scale[0], (y2 - y1) * scale[1]) < level.stride
            x, y = (x1 + x2) / 2 * scale[0], (y1 + y2) / 2 * scale[1] + top
            cells.append((image, x // level.stride, y // level.stride))
        assert level.shorter_below == short and level.shared == sum(cells.count(cell) > 1 for cell in cells)


def test_crowds_are_left_out_and_every_format_gives_the_same(tmp_path: Path) -> None:
    found = box_levels(made.clean(tmp_path / "coco"))
    assert (found.images, found.boxes, found.empty) == (3, 3, 1)
    yolo = tmp_path / "yolo"
    for kind in ("images", "labels"):
        (yolo / kind / "train").mkdir(parents=True)
    for name, lines in {"a": [(0, 4, 5, 20, 10), (1, 30, 5, 10.5, 30)], "b": [(1, 10, 10, 12, 12)], "c": []}.items():
        made.picture(ord(name)).save(yolo / "images/train" / f"{name}.png")
        rows = [f"{c} {(x + w / 2) / 64} {(y + h / 2) / 48} {w / 64} {h / 48}\n" for c, x, y, w, h in lines]
        (yolo / "labels/train" / f"{name}.txt").write_text("".join(rows))
    (yolo / "data.yaml").write_text("train: images/train\nval: images/train\nnames: [nut, bolt]\n")
    assert box_levels(yolo).sides == found.sides


def test_small_boxes_are_warned_of_with_what_would_help(tmp_path: Path) -> None:
    found = box_levels(repeated(tmp_path, (10, 10, 200, 200), 190, *[(20.0 * i, 200, 6, 50) for i in range(10)]))
    (remark,) = found.remarks
    assert (remark.code, remark.severity) == ("below-a-cell", "warning") and remark.text.startswith("5.0 % of the boxes")
    assert [(offer.option, offer.value, offer.share) for offer in remark.offers] == [
        ("levels", (4, 8, 16, 32), 0.0), ("input_px", 960, 0.0),
    ]  # fmt: skip
    assert "possible: an input of 960 px: 0 %" in str(found)
    finest = box_levels(tmp_path, strides=(4, 8, 16, 32))
    assert finest.remarks == () and "levels of stride 4, 8, 16, 32 at 640 px fit" in str(finest)


def test_what_does_not_help_is_not_offered(tmp_path: Path) -> None:
    found = box_levels(repeated(tmp_path, (10, 10, 1, 1), 200, (10, 10, 200, 200), (100, 100, 200, 200)))
    remarks = {remark.code: remark for remark in found.remarks}
    assert remarks["below-a-cell"].offers == () and remarks["below-a-cell"].text.endswith("cut the images into tiles")
    assert "unused-level" in remarks


def test_shared_cells_are_warned_of(tmp_path: Path) -> None:
    near = [(100, 100, 200, 200), (104, 104, 200, 200)]  # centers 200 and 204: cells 25 of stride 8, 50 and 51 of 4
    apart = [(100, 100, 200, 200), (400, 400, 200, 200)]
    found = box_levels(data_set(tmp_path, *([near] * 2), *([apart] * 98)))
    (remark,) = found.remarks
    assert remark.code == "shared-cell" and remark.text.startswith("2.0 % of the boxes")
    assert [level.shared for level in found.chosen.levels] == [0, 4, 4, 4]
    # at 768 px the centers are 240 and 244.8: still in cell 30; at 960 px 300 and 306, in 37 and 38
    assert [(offer.value, offer.share) for offer in remark.offers] == [((4, 8, 16, 32), 0.0), (960, 0.0)]


def test_a_coarsest_level_without_boxes_and_one_that_is_too_fine(tmp_path: Path) -> None:
    found = box_levels(repeated(tmp_path, (10, 10, 100, 100), 200))
    (remark,) = found.remarks
    assert (remark.code, remark.severity) == ("unused-level", "note") and remark.text.startswith("0 % of the boxes")
    assert [offer.value for offer in remark.offers] == [(8, 16)] and "possible: levels of stride 8, 16" in str(remark)
    assert box_levels(tmp_path, strides=(8, 16)).remarks == ()
    large = box_levels(tmp_path, 1280, strides=(8, 16))
    (remark,) = large.remarks
    assert remark.code == "too-large" and remark.offers[0].value == (8, 16, 32) and remark.offers[0].share == 0.0


def test_data_that_say_little_say_so(tmp_path: Path) -> None:
    empty = box_levels(data_set(tmp_path / "empty", [], []))
    assert str(empty) == f"{tmp_path / 'empty'}, split train: no box in 2 images, so the data say nothing about levels " \
        "and input side"  # fmt: skip
    assert empty.remarks == () and json.loads(json.dumps(empty.to_dict()))["boxes"] == 0 and len(empty.to_records()) == 28
    one = box_levels(data_set(tmp_path / "one", [(0, 0, 320, 320)]))
    assert [remark.code for remark in one.remarks] == ["few-boxes"]
    text = str(one)
    assert "1 box in 1 image (0 empty)" in text and "1 box is few: one more or less changes every share by 100 %" in text


def test_the_result_is_a_table_records_and_plain_data(tmp_path: Path) -> None:
    found = box_levels(data_set(tmp_path, [(0, 0, 3, 9), (50, 50, 40, 40), (150, 50, 40, 40)]), 64)
    header, rows = found.to_table()
    assert [name.strip() for name in header] == [
        "input", "<4 px", "<8 px", "<16 px", "<32 px", "for 4", "for 8", "for 16", "for 32", "larger", "shared 4",
        "shared 8",
    ]  # fmt: skip
    assert [row[0].strip() for row in rows] == ["32", "64 *", "96", "128"]
    data = json.loads(json.dumps(found.to_dict()))
    assert data["format"] == "nas-box-levels-1" and data["strides"] == [8, 16, 32] and data["resize"] == "stretch"
    assert data["sides"][1]["levels"][0] == {
        "stride": 4, "cells": 256, "shorter_below": 1, "longer_below": 1, "sized": 3, "shared": 0,
    }  # fmt: skip
    records = found.to_records()
    assert len(records) == 16 and records[4]["input_px"] == 64 and records[4]["shorter_below"] == 1
    assert "100 (" in str(found) and "33.3 (33.3)" in str(found) and "<table" in found._repr_html_()


def test_sides_levels_and_ways_to_resize_are_checked(tmp_path: Path) -> None:
    assert side_ladder(640) == (320, 416, 512, 640, 768, 960, 1280)
    assert side_ladder(300) == (160, 192, 256, 300, 352, 448, 608) and side_ladder(8192)[-1] == 8192
    assert check_strides([4, 8]) == (4, 8)
    root = data_set(tmp_path, [(0, 0, 9, 9)])
    for bad in ([], [8, 32], [16, 8], [64], [8, 16, 32, 64]):
        with pytest.raises(BadInput, match="--levels .* must be consecutive strides of 4,8,16,32"):
            box_levels(root, strides=bad)
    for px in (0, 31, 8193):
        with pytest.raises(BadInput, match=f"--input {px} must be from 32 to 8192"):
            box_levels(root, px)
    with pytest.raises(BadInput, match="way to resize.*did you mean stretch"):
        box_levels(root, resize="strech")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="no split 'val'"):
        box_levels(root, split="val")


def test_percent_rounds_nothing_to_none_or_all() -> None:
    assert [percent(share) for share in (0, 1e-6, 0.0005, 0.1234, 0.9999, 1)] == [
        "0", "<0.1", "0.1", "12.3", ">99.9", "100",
    ]  # fmt: skip
