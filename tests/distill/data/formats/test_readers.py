"""COCO, YOLO and VOC through one door: layouts, boxes worked by hand, what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL")
pytest.importorskip("torch")

from PIL import Image

from distill.data.dataset import DataSet
from distill.data.formats.findings import FindingLog
from distill.data.formats.image_headers import fill_sizes
from distill.data.formats.raw import Category, RawAnnotations, Source, columns
from distill.data.formats.readers import FORMATS, LogFunction, open_data, open_pair, silent
from tests.distill.data import made
from workbench.errors import BadInput


def boxes(data: DataSet) -> dict[str, list[tuple[str, list[float], bool]]]:
    """Class name, box and crowd of every object, by file name."""
    return {
        p.file.name: [
            (data.classes.names[n], [round(v, 3) for v in box], c)
            for n, box, c in zip(p.labels.tolist(), p.boxes.tolist(), p.crowd.tolist(), strict=True)
        ]
        for p in data.pictures
    }


def check_shapes(data: DataSet) -> None:
    """What ``Picture`` promises."""
    for p in data.pictures:
        n = len(p.labels)
        assert (p.boxes.shape, p.boxes.dtype) == ((n, 4), np.float32)
        assert (p.labels.dtype, p.crowd.dtype, p.areas.dtype) == (np.int64, bool, np.float32)
        assert p.crowd.shape == p.areas.shape == (n,)
        assert (
            (p.boxes >= 0).all()
            and (p.boxes[:, 2:] <= (p.width, p.height)).all()
            and (p.boxes[:, 2:] > p.boxes[:, :2]).all()
        )
        assert p.file.is_file() and p.file.is_absolute() and p.file.is_relative_to(data.root)


def test_ids_7_90_13_an_empty_image_and_a_crowd(tmp_path: Path) -> None:
    train, val = open_pair(made.clean(tmp_path))
    check_shapes(train)
    assert train.classes.names == ("nut", "washer", "bolt") and train.classes.original_ids == (7, 13, 90)
    assert [p.id for p in train.pictures] == [11, 5, 8]
    assert boxes(train) == {
        "a.png": [("bolt", [4, 5, 24, 15], False), ("nut", [30, 5, 40.5, 35], False)],
        "b.png": [("washer", [0, 0, 64, 48], True), ("nut", [10, 10, 22, 22], False)],
        "empty.png": [],
    }
    assert train.pictures[0].areas.tolist() == [150, 315]
    assert dict(train.handled) == {"outside": 0, "degenerate": 0}
    assert len(val) == 1 and val.name == "val"


def test_pycocotools_takes_what_to_coco_gives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    data = open_data(made.clean(tmp_path), "train")
    truth = COCO()
    truth.dataset = data.to_coco()
    truth.createIndex()
    found = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"], "score": 0.9}
        for a in truth.dataset["annotations"]
        if not a["iscrowd"]
    ]
    judge = COCOeval(truth, truth.loadRes(found), "bbox")
    judge.evaluate(), judge.accumulate(), judge.summarize()
    assert judge.stats[0] == pytest.approx(1.0)
    assert sorted(truth.getCatIds()) == [7, 13, 90]


def layout_own(root: Path, data: dict[str, Any]) -> Path:
    made.write_split(root, "train", data)
    return root


def layout_coco(root: Path, data: dict[str, Any]) -> Path:
    made.write_split(root, "train", data)
    (root / "images" / "train").rename(root / "train2017")
    (root / "images").rmdir()
    (root / "annotations" / "train.json").rename(root / "annotations" / "instances_train2017.json")
    (root / "annotations" / "captions_train2017.json").write_text("{}")
    return root


def layout_roboflow(root: Path, data: dict[str, Any]) -> Path:
    made.write_split(root, "train", data)
    (root / "images" / "train").rename(root / "train")
    (root / "annotations" / "train.json").rename(root / "train" / "_annotations.coco.json")
    return root


def layout_file(root: Path, data: dict[str, Any]) -> Path:
    return layout_own(root, data) / "annotations" / "train.json"


def layout_beside(root: Path, data: dict[str, Any]) -> Path:
    made.write_split(root, "train", data)
    (root / "annotations" / "train.json").rename(root / "images" / "train" / "mine.json")
    return root / "images" / "train" / "mine.json"


@pytest.mark.parametrize("layout", [layout_own, layout_coco, layout_roboflow, layout_file, layout_beside])
def test_coco_layouts(layout: Any, tmp_path: Path) -> None:
    data = open_data(
        layout(tmp_path, made.coco([made.image(3, "a.png")], [made.annotation(1, 3, 2, 1, 2, 3, 4)])), "train"
    )
    check_shapes(data)
    assert boxes(data) == {"a.png": [("bolt", [1, 2, 4, 6], False)]}


def test_missing_optional_fields_and_sizes(tmp_path: Path) -> None:
    data = made.coco([{"id": 1, "file_name": "a.png"}], [made.annotation(1, 1, 1, 1, 2, 3, 4)])
    made.write_split(tmp_path, "train", data)
    (picture,) = open_data(tmp_path).pictures
    assert (picture.width, picture.height, picture.areas.tolist()) == (64, 48, [12])


def test_a_file_that_names_no_split_serves_as_any_but_not_as_two(tmp_path: Path) -> None:
    file = layout_beside(tmp_path, made.coco([made.image(3, "a.png")], []))
    assert len(open_data(file, "train")) == len(open_data(file, "val")) == 1
    with pytest.raises(BadInput, match="no split 'train', only one whose name does not say a split"):
        open_pair(file)


def test_a_missing_split_is_told_with_the_way_out(tmp_path: Path) -> None:
    layout_own(tmp_path, made.coco([made.image(3, "a.png")], []))
    with pytest.raises(BadInput, match=r"no split 'val', only 'train'; give a folder with both"):
        open_data(tmp_path, "val")


def test_splits_with_different_classes_name_the_category(tmp_path: Path) -> None:
    made.clean(tmp_path)
    made.write_split(
        tmp_path, "val", made.coco([made.image(1, "c.png")], [], [{"id": 7, "name": "nut"}, {"id": 13, "name": "gear"}])
    )
    with pytest.raises(BadInput, match="'gear' of val is unknown to train"):
        open_pair(tmp_path)


def test_boxes_are_clipped_dropped_and_counted(tmp_path: Path) -> None:
    entries = [
        made.annotation(1, 1, 1, -5, -5, 20, 20),
        made.annotation(2, 1, 1, 60, 40, 100, 100, area=9000),
        made.annotation(3, 1, 1, 70, 10, 5, 5),  # wholly outside
        made.annotation(4, 1, 1, 10, 10, 0, 5),
        made.annotation(5, 1, 1, 10, 10, 5, -5),
        made.annotation(6, 1, 1, 1, 1, 5, 5),
    ]
    layout_own(tmp_path, made.coco([made.image(1, "a.png")], entries))
    data = open_data(tmp_path)
    check_shapes(data)
    assert [box for _, box, _ in boxes(data)["a.png"]] == [[0, 0, 15, 15], [60, 40, 64, 48], [1, 1, 6, 6]]
    assert dict(data.handled) == {"outside": 2, "degenerate": 3}
    assert data.pictures[0].areas.tolist() == [225, 32, 25]


GOOD = ([made.image(1, "a.png"), made.image(2, "b.png")], [made.annotation(1, 1, 1, 1, 2, 30, 20)])


def changed(**lists: Any) -> dict[str, Any]:
    return made.coco(*GOOD) | lists


REFUSED = {
    "unknown image": (changed(annotations=[made.annotation(1, 9, 1, 1, 2, 3, 4)]), "unknown-image"),
    "unknown category": (changed(annotations=[made.annotation(1, 1, 4, 1, 2, 3, 4)]), "unknown-category"),
    "image id twice": (changed(images=[made.image(1, "a.png"), made.image(1, "b.png")]), "duplicate-image-id"),
    "file twice": (changed(images=[made.image(1, "a.png"), made.image(2, "a.png")]), "duplicate-file"),
    "category id twice": (
        changed(categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]),
        "duplicate-category-id",
    ),
    "category name twice": (
        changed(categories=[{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]),
        "duplicate-class-name",
    ),
    "no box": (changed(annotations=[{"id": 1, "image_id": 1, "category_id": 1}]), "malformed-annotation"),
    "text in a box": (changed(annotations=[made.annotation(1, 1, 1, 1, 2, "3", 4)]), "malformed-annotation"),  # type: ignore[arg-type]
    "three numbers": (changed(annotations=[made.annotation(1, 1, 1, 1, 2, 3)]), "malformed-annotation"),
    "annotation is a list": (changed(annotations=[[1, 2]]), "malformed-annotation"),
    "not a number": (changed(annotations=[made.annotation(1, 1, 1, 1, 2, float("nan"), 4)]), "not-finite"),
    "infinite": (changed(annotations=[made.annotation(1, 1, 1, 1, 2, float("inf"), 4)]), "not-finite"),
    "huge": (changed(annotations=[made.annotation(1, 1, 1, 1, 2, 1e300, 4)]), "not-finite"),
    "huge whole number": (changed(annotations=[made.annotation(1, 1, 1, 1, 2, 10**400, 4)]), "malformed-annotation"),
    "text as id": (changed(images=[{"id": "1", "file_name": "a.png"}]), "malformed-image"),
    "id beyond all": (changed(images=[made.image(2**70, "a.png")]), "malformed-image"),
    "no file": (changed(images=[made.image(1, "nowhere/a.png")]), "missing-image"),
    "zero byte": (changed(images=[made.image(1, "x/\0.png")]), "missing-image"),
    "endless name": (changed(images=[made.image(1, "x/" * 5000 + "a.png")]), "missing-image"),
    "up and away": (changed(images=[made.image(1, "../../../../../../../../etc/passwd")]), "path-outside"),
    "absolute": (changed(images=[made.image(1, "/etc/passwd")]), "path-outside"),
    "folder": (changed(images=[made.image(1, "train/")]), "missing-image"),
    "shares": (changed(annotations=[made.annotation(1, 1, 1, 0.1, 0.2, 0.3, 0.4)]), "normalised"),
    "corners": (
        changed(annotations=[made.annotation(n, 1, 1, 30 + n, 20, 60 + n, 40) for n in range(1, 5)]),
        "corners",
    ),
    "no images": (changed(images=[], annotations=[]), "empty-split"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_errors_are_refused_by_name_in_one_line(case: str, tmp_path: Path) -> None:
    data, code = REFUSED[case]
    layout_own(tmp_path, data)
    with pytest.raises(BadInput) as error:
        open_data(tmp_path)
    text = str(error.value)
    assert f": {code}, " in text and "nas data doctor" in text
    assert "\n" not in text and len(text) < 1500


HOSTILE = {
    "deep": ('{"images": ' + "[" * 100_000, "nested too deep"),
    "deep elsewhere": ('{"info": ' + "[" * 100_000, "nested too deep"),
    "cut short": ('{"images": [{"id": 1, ', "not JSON"),
    "trailing comma": ('{"images": [{},]}', "not JSON"),
    "after the end": ('{"images": [], "annotations": [], "categories": []} x', "more after the end"),
    "no UTF-8": (b'{"images": "\xff\xfe"}', "not UTF-8"),
    "list": ("[]", "a list, not a COCO data set"),
    "empty": ("", "not JSON"),
    "lists lacking": ('{"images": [], "categories": []}', "no list 'annotations'"),
    "twice": ('{"images": [], "images": []}', "'images' twice"),
    "no list": ('{"images": 3}', "'images' must be a list"),
    "no category": ('{"images": [], "annotations": [], "categories": []}', "no category is defined"),
    "endless number": ('{"images": [{"id": ' + "9" * 10_000 + "}]}", "digits"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_json_is_one_line(case: str, tmp_path: Path) -> None:
    content, words = HOSTILE[case]
    file = tmp_path / "train.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadInput, match=words) as error:
        open_data(file)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_a_link_out_of_the_folder_is_refused_and_one_inside_is_not(tmp_path: Path) -> None:
    root = layout_own(tmp_path / "data", made.coco([made.image(1, "a.png"), made.image(2, "b.png")], []))
    (root / "images" / "train" / "b.png").unlink()
    (root / "images" / "train" / "b.png").symlink_to(root / "images" / "train" / "a.png")
    with pytest.raises(BadInput, match="duplicate-file"):  # it leads to a.png, and that is seen
        open_data(root)
    made.picture(9).save(tmp_path / "secret.png")
    (root / "images" / "train" / "b.png").unlink()
    (root / "images" / "train" / "b.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(BadInput, match="path-outside"):
        open_data(root)


def test_a_linked_folder_out_of_the_data_is_refused(tmp_path: Path) -> None:
    root = layout_own(tmp_path / "data", made.coco([made.image(1, "a.png")], []))
    (root / "images" / "train").rename(tmp_path / "elsewhere")
    (root / "images" / "train").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="path-outside"):
        open_data(root)


def test_the_data_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    layout_own(tmp_path / "data", made.coco([made.image(1, "a.png")], []))
    (tmp_path / "link").symlink_to(tmp_path / "data")
    check_shapes(open_data(tmp_path / "link"))


def test_a_pipe_is_no_image_and_is_not_opened(tmp_path: Path) -> None:
    root = layout_own(tmp_path, made.coco([made.image(1, "a.png")], []))
    (root / "images" / "train" / "a.png").unlink()
    os.mkfifo(root / "images" / "train" / "a.png")
    with pytest.raises(BadInput, match="missing-image"):
        open_data(root)


def test_polygons_in_any_layout_are_passed_over(tmp_path: Path) -> None:
    """Pretty-printed ones too, and a name that looks like one stays whole."""
    name = '"segmentation": [1, 2] x.png'
    segments = [[[1.5e1, 2, 30, -4]], [], {"counts": [1, 2], "size": [48, 64]}, None]
    entries = [made.annotation(n, 1, 1, n, 2, 3, 4, segmentation=one) for n, one in enumerate(segments, 1)]
    root = layout_own(tmp_path, made.coco([made.image(1, name)], entries, [{"id": 1, "name": name}]))
    file = root / "annotations" / "train.json"
    file.write_text(json.dumps(json.loads(file.read_text()), indent=1))
    data = open_data(root)
    assert data.classes.names == (name,) and data.pictures[0].file.name == name
    assert data.pictures[0].boxes[:, 0].tolist() == [1, 2, 3, 4]


def test_a_fault_behind_polygons_has_its_own_line(tmp_path: Path) -> None:
    file = tmp_path / "train.json"
    file.write_text('{"annotations": [\n{"segmentation": [[1,\n2,\n3]],\n"id" 7}]}')
    with pytest.raises(BadInput, match="line 5, column 6"):
        open_data(file)


def test_a_large_file_is_read_whole(tmp_path: Path) -> None:
    """20 000 images with 140 000 polygons, a sixth of COCO's train2017; ``benchmarks/speed_limits.py`` has the time."""
    rng = np.random.default_rng(0)
    (tmp_path / "images" / "train").mkdir(parents=True)
    (tmp_path / "annotations").mkdir()
    for n in range(20_000):
        (tmp_path / "images" / "train" / f"{n}.jpg").touch()
    starts, polygon = rng.integers(0, 300, (140_000, 2)).tolist(), rng.random(20).round(2).tolist()
    entries = [
        made.annotation(n, n // 7, 1 + n % 3, x, y, 20, 30, area=100, segmentation=[polygon])
        for n, (x, y) in enumerate(starts, 1)
        if n // 7 < 20_000
    ]
    (tmp_path / "annotations" / "train.json").write_text(
        json.dumps(made.coco([made.image(n, f"{n}.jpg", 640, 480) for n in range(20_000)], entries))
    )
    data = open_data(tmp_path)
    assert len(data) == 20_000 and sum(len(p.labels) for p in data.pictures) == len(entries)


# YOLO


def yolo(
    root: Path, text: str = "train: images/train\nval: images/val\nnames: [nut, bolt, washer]\n", **labels: str
) -> Path:
    """``labels`` by image: ``train_a`` is images/train/a.png."""
    for n, (key, lines) in enumerate(labels.items()):
        split, name = key.split("_")
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        made.picture(n, 100, 50).save(root / "images" / split / f"{name}.png")
        if lines != "none":
            (root / "labels" / split / f"{name}.txt").write_text(lines)
    (root / "data.yaml").write_text(text)
    return root


def test_yolo_boxes_polygons_and_background(tmp_path: Path) -> None:
    root = yolo(
        tmp_path,
        train_a="0 0.5 0.5 0.2 0.4\n2 0.1 0.2 0.3 0.2 0.3 0.6\n",
        train_b="",
        train_c="none",
        val_d="1.0 0.5 0.5 1 1",
    )
    train, val = open_pair(root)
    check_shapes(train)
    assert boxes(train) == {
        "a.png": [("nut", [40, 15, 60, 35], False), ("washer", [10, 10, 30, 30], False)],
        "b.png": [],
        "c.png": [],
    }
    assert train.pictures[0].areas.tolist() == pytest.approx([400, 200])
    assert train.classes.original_ids == (0, 1, 2) and [p.id for p in train.pictures] == [0, 1, 2]
    assert boxes(val) == {"d.png": [("bolt", [0, 0, 100, 50], False)]}


@pytest.mark.parametrize(
    "text",
    [
        "path: .\ntrain: images/train\nval: images/val\nnames: {0: nut, 1: bolt, 2: washer}\nnc: 3\n",
        "train: ../train/images/train\nval: ../images/val\nnames: [nut, bolt, washer]\n",
        "train: [images/train]\nval: val.txt\nnames: [nut, bolt, washer]\n",
        "path: images\ntrain: train\nval: ./val\nnames: [nut, bolt, washer]\n",
    ],
)
def test_yolo_yaml_forms(text: str, tmp_path: Path) -> None:
    root = yolo(
        tmp_path,
        text.replace("../train/images/train", "../images/train"),
        train_a="0 0.5 0.5 0.2 0.4",
        val_d="1 0.5 0.5 1 1",
    )
    (root / "val.txt").write_text("./images/val/d.png\n")
    train, val = open_pair(root / "data.yaml")
    assert boxes(train) == {"a.png": [("nut", [40, 15, 60, 35], False)]}
    assert boxes(val) == {"d.png": [("bolt", [0, 0, 100, 50], False)]}


@pytest.mark.parametrize("form", ["absolute path", "relative path", "absolute splits", "moved", "linked"])
def test_yolo_folders_outside_of_the_files_own(form: str, tmp_path: Path) -> None:
    """What the user wrote into the file that was given is followed."""
    root = yolo(tmp_path / "data", "", train_a="0 0.5 0.5 0.2 0.4", val_d="1 0.5 0.5 1 1")
    (root / "data.yaml").unlink()
    names = "names: [nut, bolt, washer]\n"
    splits = "train: images/train\nval: images/val\ntest: ../test/images\n"
    place = tmp_path / "descriptions"
    place.mkdir()
    if form == "absolute path":
        text = f"path: {root}\n{splits}"
    elif form == "relative path":
        text = f"path: ../data\n{splits}"
    elif form == "absolute splits":
        text = f"train: {root}/images/train\nval: [{root}/images/val]\n"
    elif form == "moved":
        place, text = root, f"path: /content/data\n{splits}"
    else:
        (place / "images").symlink_to(root / "images")
        (place / "labels").symlink_to(root / "labels")
        text = splits
    (place / "data.yaml").write_text(text + names)
    train, val = open_pair(place / "data.yaml")
    assert boxes(train) == {"a.png": [("nut", [40, 15, 60, 35], False)]}
    assert boxes(val) == {"d.png": [("bolt", [0, 0, 100, 50], False)]}


def test_yolo_list_of_images_outside_is_not_followed(tmp_path: Path) -> None:
    """What a list inside the data names stays inside."""
    other = yolo(tmp_path / "other", train_a="", val_b="")
    root = yolo(tmp_path / "data", "train: all.txt\nval: images/val\nnames: [nut]\n", train_a="", val_b="")
    (root / "all.txt").write_text(f"{other}/images/train/a.png\n")
    with pytest.raises(BadInput, match="path-outside"):
        open_data(root)


def test_yolo_labels_beside_images(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    made.picture(1, 100, 50).save(tmp_path / "all" / "a.png")
    (tmp_path / "all" / "a.txt").write_text("1 0.5 0.5 0.2 0.4")
    (tmp_path / "data.yaml").write_text("train: all\nnames: [x, y]\n")
    assert boxes(open_data(tmp_path)) == {"a.png": [("y", [40, 15, 60, 35], False)]}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("0 0.5 0.5 0.2", "malformed-label"),
        ("0 0.5 0.5 0.2 0.4 0.99", "malformed-label"),
        ("nut 0.5 0.5 0.2 0.4", "malformed-label"),
        ("0.5 0.5 0.5 0.2 0.4", "malformed-label"),
        ("inf 0.5 0.5 0.2 0.4", "malformed-label"),
        ("3 0.5 0.5 0.2 0.4", "unknown-category"),
        ("-1 0.5 0.5 0.2 0.4", "unknown-category"),
        ("0 nan 0.5 0.2 0.4", "not-finite"),
        ("0 1e300 0.5 0.2 0.4", "not-finite"),
        ("0 50 25 20 10", "pixels"),
    ],
)
def test_yolo_lines_that_are_refused(line: str, code: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=f": {code}, ") as error:
        open_data(yolo(tmp_path, train_a=line, val_b=""))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: ../../../../nowhere\nnames: [a]\n", "neither a folder"),
        ("path: /nowhere\ntrain: .\nnames: [a]\n", "there is none"),
        ("path: /\ntrain: .\nnames: [a]\n", "far more than pictures"),
        ("test: gone\nnames: [a]\n", "its only split, is not there"),
        ("train: [a, [b]]\nnames: [a]\n", "must be a path"),
        ("train: images/train\n", "needs 'names'"),
        ("train: images/train\nnames: {1: a}\n", "must be 0, 1, 2"),
        ("train: images/train\nnames: [a]\nnc: 2\n", "nc is 2 but there are 1 names"),
        ("names: [a]\n", "names no split"),
        ("train: images/nowhere\nnames: [a]\n", "neither a folder"),
        ("a: &a [x, x]\nb: &b [*a, *a]\ntrain: *b\n", r"alias \*a"),
        ("a: [1, 2\n", "not YAML"),
        ("[" * 1_000_000, "nested deeper than 20"),
        ("- a\n", "must be a mapping"),
        ("train: !!python/object/apply:os.system [ls]\n", "not YAML"),
    ],
)
def test_yolo_yaml_that_is_refused(text: str, words: str, tmp_path: Path) -> None:
    yolo(tmp_path, text, train_a="")
    with pytest.raises(BadInput, match=words):
        open_data(tmp_path)


def test_yolo_label_through_a_link_out_of_the_folder_is_not_read(tmp_path: Path) -> None:
    root = yolo(tmp_path / "data", train_a="none", val_b="")
    (tmp_path / "secret.txt").write_text("0 0.5 0.5 0.2 0.4")
    (root / "labels" / "train" / "a.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(BadInput, match="path-outside"):
        open_data(root)


def test_yolo_label_in_no_utf8(tmp_path: Path) -> None:
    root = yolo(tmp_path, train_a="", val_b="")
    (root / "labels" / "train" / "a.txt").write_bytes(b"0 \xff")
    with pytest.raises(BadInput, match="not UTF-8"):
        open_data(root)


# VOC


def sheet(*objects: str, size: str = "<size><width>64</width><height>48</height><depth>3</depth></size>") -> str:
    return f"<annotation><filename>lies.jpg</filename>{size}{''.join(objects)}</annotation>"


def thing(name: str, *box: float, more: str = "") -> str:
    corners = "".join(f"<{tag}>{v}</{tag}>" for tag, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    return f"<object><name>{name}</name>{more}{part}<bndbox>{corners}</bndbox></object>"


def voc(root: Path, lists: dict[str, str], **sheets: str) -> Path:
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for n, (name, text) in enumerate(sheets.items()):
        (root / "Annotations" / f"{name}.xml").write_text(text)
        made.picture(n).save(root / "JPEGImages" / f"{name}.jpg")
    for name, text in lists.items():
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text(text)
    return root


def test_voc_counts_from_one_and_ignores_the_difficult(tmp_path: Path) -> None:
    root = voc(
        tmp_path,
        {"train": "b\na\n", "val": "c\n", "trainval": "a\nb\nc\n"},
        a=sheet(thing("bolt", 1, 1, 64, 48), thing("nut", 11, 21, 20, 30, more="<difficult>1</difficult>")),
        b=sheet(),
        c=sheet(thing("axle", 5, 6, 10.5, 20)),
    )
    train, val = open_pair(root)
    check_shapes(train)
    assert boxes(train) == {"b.jpg": [], "a.jpg": [("bolt", [0, 0, 64, 48], False), ("nut", [10, 20, 20, 30], True)]}
    assert list(boxes(train)) == ["b.jpg", "a.jpg"], "in the order of the list"
    assert train.classes.names == val.classes.names == ("axle", "bolt", "nut"), "those of the whole data set"
    assert boxes(val) == {"c.jpg": [("axle", [4, 5, 10.5, 20], False)]}


def test_voc_counted_from_zero_is_noticed(tmp_path: Path) -> None:
    root = voc(tmp_path, {"train": "a\nb\n"}, a=sheet(thing("nut", 0, 5, 20, 30)), b=sheet(thing("nut", 7, 8, 20, 30)))
    assert [box for one in boxes(open_data(root)).values() for _, box, _ in one] == [[0, 5, 20, 30], [7, 8, 20, 30]]


def test_voc_trainval_serves_as_train_and_a_zero_size_is_read(tmp_path: Path) -> None:
    root = voc(
        tmp_path,
        {"trainval": "a -1\n"},
        a=sheet(thing("nut", 5, 5, 20, 30), size="<size><width>0</width><height>0</height></size>"),
    )
    (picture,) = open_data(root, "train").pictures
    assert (picture.width, picture.height) == (64, 48)


def test_voc_beside_the_images(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        (tmp_path / split).mkdir()
        made.picture(len(split)).save(tmp_path / split / "a.jpg")
        (tmp_path / split / "a.xml").write_text(sheet(thing(f"in {split}", 5, 5, 20, 30)))
    train, val = open_pair(tmp_path)
    assert train.classes.names == val.classes.names == ("in train", "in valid")


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;&x;">]>'
    "<annotation><filename>&y;</filename></annotation>"
)
OUTER = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM'
    ' "file:///etc/passwd">]><annotation><filename>&x;</filename></annotation>'
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "document type"),
        (OUTER, "document type"),
        ("<a>" * 100_000, "nested deeper"),
        ("<annotation>", "not XML"),
        ("", "not XML"),
        ("<annotation>&unknown;</annotation>", "not XML"),
        (sheet("<object><name>nut</name></object>"), "needs a name and a bndbox"),
        (sheet(thing("", 1, 2, 3, 4)), "needs a name and a bndbox"),
    ],
)
def test_voc_sheets_that_are_refused(text: str, words: str, tmp_path: Path) -> None:
    root = voc(tmp_path, {"train": "a\nb\n"}, a=sheet(thing("nut", 5, 5, 20, 30)), b=text)
    with pytest.raises(BadInput, match=words) as error:
        open_data(root)
    assert "\n" not in str(error.value)


def test_voc_list_that_leaves_the_folder(tmp_path: Path) -> None:
    root = voc(tmp_path, {"train": "a\n../../../../../../../../etc/passwd\n"}, a=sheet(thing("nut", 5, 5, 20, 30)))
    with pytest.raises(BadInput, match="path-outside"):
        open_data(root)


# no data at all


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", "no such file"),
        ("empty", "no data set that can be read"),
        ("a.txt", "no data set"),
        ("x\0y", "null byte|no such file"),
    ],
)
def test_no_data(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(BadInput, match=words):
        open_data(tmp_path / name)


def test_yolo_folders_without_yaml_say_what_to_write(tmp_path: Path) -> None:
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    with pytest.raises(BadInput, match=r"no data.yaml; write one"):
        open_data(tmp_path)


class CsvFormat:
    """A toy format: one ``boxes.csv`` with lines ``image,class,x1,y1,x2,y2``."""

    def find(self, path: Path) -> list[Source]:
        file = path / "boxes.csv"
        return [Source("csv", "train", path.resolve(), file)] if file.is_file() else []

    def read(self, source: Source, log: LogFunction = silent) -> RawAnnotations:
        rows = [line.split(",") for line in source.file.read_text().splitlines()]
        names, classes = sorted({row[0] for row in rows}), sorted({row[1] for row in rows})
        notes = FindingLog(source.name)
        files: list[Path | None] = [source.root / name for name in names]
        sizes = fill_sizes(np.zeros((len(files), 2), np.int64), files, notes, log)
        images, categories = [names.index(row[0]) for row in rows], [classes.index(row[1]) + 1 for row in rows]
        count = len(rows)
        return RawAnnotations(
            source,
            tuple(Category(number, name) for number, name in enumerate(classes, 1)),
            np.arange(len(files)),
            tuple(files),
            tuple(names),
            sizes,
            **columns([row[2:] for row in rows], images, categories, [False] * count, [np.nan] * count, [-1] * count),
            findings=notes.findings(),
        )


def test_a_new_format_is_one_module_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    (tmp_path / "boxes.csv").write_text("a.png,nut,1,2,30,40\na.png,bolt,5,5,20,20\n")
    with pytest.raises(BadInput, match="no data set that can be read"):
        open_data(tmp_path)
    monkeypatch.setitem(FORMATS, "csv", CsvFormat())
    data = open_data(tmp_path)
    assert data.classes.names == ("bolt", "nut") and data.pictures[0].boxes.tolist() == [[1, 2, 30, 40], [5, 5, 20, 20]]
