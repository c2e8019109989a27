"""The doctor finds what hurts, the repair mends it and never touches the input."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL")
pytest.importorskip("torch")

from PIL import Image

from distill.data.check.doctor import examine
from distill.data.check.repair import repair
from distill.data.check.repair_boxes import turned
from distill.data.check.report import Report
from distill.data.formats.readers import open_data, open_pair
from distill.data.formats.rules import RULES
from tests.distill.data import made
from tests.distill.data.formats.test_readers import sheet, thing, voc, yolo
from workbench.errors import BadInput
from zoo.images import read_image


def codes(report: Report, severity: str = "") -> set[str]:
    """The codes found, of one severity or all."""
    return {one.code for one in report.findings if not severity or one.rule.severity == severity}


def edit(root: Path, change: Callable[[dict[str, Any]], None], split: str = "train") -> None:
    """Change a split's JSON."""
    file = root / "annotations" / f"{split}.json"
    data = json.loads(file.read_text())
    change(data)
    made.write_split(root, split, data, seed=7)


def bytes_below(root: Path) -> dict[str, str]:
    """Hash and time of every file, to see that nothing was touched."""
    return {
        str(p.relative_to(root)): f"{hashlib.md5(p.read_bytes()).hexdigest()} {p.stat().st_mtime_ns} "
        f"{os.readlink(p) if p.is_symlink() else ''}"
        for p in root.rglob("*")
        if p.is_file()
    }


def png_bomb(side: int) -> bytes:
    """A small PNG whose header claims ``side`` x ``side`` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 10**6, 9))
        + chunk(b"IEND", b"")
    )


def train_file(root: Path, name: str = "a.png") -> Path:
    return root / "images" / "train" / name


def spoil_size(root: Path) -> None:
    made.picture(50, 70, 48).save(train_file(root))


def spoil_exif(root: Path) -> None:
    """The camera was held upright; the annotation has the size as stored."""
    exif = Image.Exif()
    exif[0x0112] = 6
    train_file(root).unlink()
    made.picture(51).save(train_file(root, "a.jpg"), exif=exif)
    edit(root, lambda data: data["images"][0].update(file_name="a.jpg"))


def spoil_truncated(root: Path) -> None:
    big = made.picture(52, 640, 480)
    big.save(train_file(root, "a.jpg"))
    data = train_file(root, "a.jpg").read_bytes()
    train_file(root, "a.jpg").write_bytes(data[: len(data) // 2])
    edit(root, lambda data: data["images"][0].update(file_name="a.jpg", width=640, height=480))


def spoil_suffix(root: Path) -> None:
    made.picture(53).save(train_file(root), format="JPEG")


def spoil_leak(root: Path) -> None:
    train_file(root).write_bytes((root / "images" / "val" / "c.png").read_bytes())


def spoil_near(root: Path) -> None:
    with Image.open(root / "images" / "val" / "c.png") as image:
        image.point([min(v + 2, 255) for v in range(256)] * 3).save(train_file(root), compress_level=1)


def entry(key: str, value: Any) -> Callable[[Path], None]:
    return lambda root: edit(root, lambda data: data[key].append(value))


def with_list(key: str, value: Any) -> Callable[[Path], None]:
    return lambda root: edit(root, lambda data: data.__setitem__(key, value))


def map_boxes(change: Callable[[list[float]], list[float]]) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        def every(data: dict[str, Any]) -> None:
            for one in data["annotations"]:
                one["bbox"] = change(one["bbox"])

        edit(root, every)

    return spoil


def spoil_link(root: Path) -> None:
    outside = root.parent / "outside.png"
    made.picture(54).save(outside)
    train_file(root).unlink()
    train_file(root).symlink_to(outside)


def many_boxes(root: Path) -> None:
    edit(
        root,
        lambda data: data["annotations"].extend(
            made.annotation(n, 11, 7, n % 40, n % 30, 5 + n % 7, 9) for n in range(100, 220)
        ),
    )


def other_ids(data: dict[str, Any]) -> None:
    for one in data["categories"]:
        one["id"] += 1
    for one in data["annotations"]:
        one["category_id"] += 1


@dataclass(frozen=True)
class Fault:
    """How to spoil a clean data set, and whether ``--fix`` gets rid of what is found."""

    spoil: Callable[[Path], None]
    mended: bool = True


FAULTS: dict[str, Fault] = {
    "path-outside": Fault(spoil_link),
    "missing-image": Fault(lambda root: train_file(root).unlink()),
    "unlisted-image": Fault(lambda root: made.picture(60).save(train_file(root, "extra.png"))),
    "unreadable": Fault(spoil_truncated),
    "bomb": Fault(lambda root: train_file(root).write_bytes(png_bomb(50_000)) and None),
    "wrong-size": Fault(spoil_size),
    "turned": Fault(spoil_exif),
    "wrong-suffix": Fault(spoil_suffix),
    "no-size": Fault(lambda root: edit(root, lambda data: data["images"][0].pop("width") and None)),
    "malformed-image": Fault(entry("images", {"id": 99})),
    "malformed-annotation": Fault(entry("annotations", {"id": 99, "image_id": 11})),
    "malformed-category": Fault(entry("categories", {"id": 99})),
    "duplicate-image-id": Fault(entry("images", made.image(11, "d.png"))),
    "duplicate-file": Fault(entry("images", made.image(12, "a.png"))),
    "duplicate-annotation-id": Fault(entry("annotations", made.annotation(1, 5, 7, 30, 30, 9, 9))),
    "annotation-id-zero": Fault(entry("annotations", made.annotation(0, 5, 7, 30, 30, 9, 9))),
    "unknown-image": Fault(entry("annotations", made.annotation(9, 77, 7, 30, 30, 9, 9))),
    "unknown-category": Fault(entry("annotations", made.annotation(9, 11, 8, 30, 30, 9, 9))),
    "duplicate-category-id": Fault(entry("categories", {"id": 7, "name": "again"})),
    "duplicate-class-name": Fault(entry("categories", {"id": 8, "name": "nut"})),
    "category-order": Fault(lambda root: None),
    "ids-with-gaps": Fault(lambda root: None, mended=False),
    "parent-category": Fault(
        lambda root: (
            [
                edit(
                    root,
                    lambda d: d.update(
                        categories=[
                            {"id": 0, "name": "parts", "supercategory": "none"},
                            *({**c, "supercategory": "parts"} for c in d["categories"]),
                        ]
                    ),
                    s,
                )
                for s in ("train", "val")
            ]
            and None
        )
    ),
    "ids-from-zero": Fault(
        lambda root: edit(root, lambda d: d["categories"].append({"id": 0, "name": "zero"})), mended=False
    ),
    "classes-differ": Fault(entry("categories", {"id": 99, "name": "gear"})),
    "class-ids-differ": Fault(lambda root: edit(root, other_ids, "val")),
    "unused-class": Fault(lambda root: edit(root, lambda d: d["annotations"].pop() and None, "val"), mended=False),
    "rare-class": Fault(lambda root: None, mended=False),
    "imbalance": Fault(many_boxes, mended=False),
    "mirrored": Fault(
        lambda root: edit(root, lambda d: d["categories"][0].update(name="turn left")), mended=False
    ),
    "not-finite": Fault(entry("annotations", made.annotation(9, 11, 7, float("nan"), 30, 9, 9))),
    "normalised": Fault(map_boxes(lambda box: [box[0] / 64, box[1] / 48, box[2] / 64, box[3] / 48])),
    "corners": Fault(map_boxes(lambda box: [box[0], box[1], box[0] + box[2], box[1] + box[3]])),
    "outside": Fault(entry("annotations", made.annotation(9, 11, 7, 60, 40, 90, 90))),
    "degenerate": Fault(entry("annotations", made.annotation(9, 11, 7, 30, 30, 0, 9))),
    "duplicate-box": Fault(entry("annotations", made.annotation(9, 11, 90, 4, 5, 20, 10))),
    "two-classes": Fault(entry("annotations", made.annotation(9, 11, 7, 4, 5, 20, 10)), mended=False),
    "tiny": Fault(entry("annotations", made.annotation(9, 11, 7, 30, 30, 0.5, 0.5)), mended=False),
    "crowd": Fault(lambda root: None, mended=False),
    "empty-image": Fault(lambda root: None, mended=False),
    "one-split": Fault(lambda root: (root / "annotations" / "val.json").unlink(), mended=False),
    "empty-split": Fault(lambda root: edit(root, lambda d: d.update(images=[], annotations=[]), "val")),
    "no-objects": Fault(with_list("annotations", []), mended=False),
    "leak": Fault(spoil_leak),
    "near-leak": Fault(spoil_near, mended=False),
    "same-image": Fault(
        lambda root: train_file(root, "b.png").write_bytes(train_file(root).read_bytes()) and None, mended=False
    ),
}

ELSEWHERE = {"malformed-label", "stray-label", "pixels", "from-zero", "exif"}
"""Codes that have tests of their own below."""


def test_every_rule_is_tested() -> None:
    assert set(FAULTS) | ELSEWHERE == set(RULES)


def test_a_clean_set_has_no_error_and_only_true_notes(tmp_path: Path) -> None:
    report = examine(made.clean(tmp_path))
    assert codes(report, "error") == set()
    assert codes(report, "note") == {"category-order", "ids-with-gaps", "crowd", "empty-image"}
    assert codes(report, "warning") == {"rare-class", "unused-class"}, "washer is only a crowd in train"


@pytest.mark.parametrize("code", FAULTS)
def test_found_told_and_mended(code: str, tmp_path: Path) -> None:
    root = made.clean(tmp_path / "data")
    FAULTS[code].spoil(root)
    before = bytes_below(root)
    report = examine(root)
    found = [one for one in report.findings if one.code == code]
    assert found, f"found only {codes(report)}"
    assert found[0].count >= 1 and found[0].examples and all("\n" not in e for e in found[0].examples)
    json.dumps(report.to_dict(), allow_nan=False)
    if RULES[code].severity == "error" and code not in ("unreadable", "bomb", "wrong-size", "turned", "leak"):
        with pytest.raises(BadInput):
            open_pair(root)
    repair(report, tmp_path / "out")
    after = examine(tmp_path / "out")
    assert codes(after, "error") == set()
    assert (code in codes(after)) != FAULTS[code].mended
    open_data(tmp_path / "out")
    assert bytes_below(root) == before, "the input was touched"
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")], "a temporary folder was left"
    changes = json.loads((tmp_path / "out" / "changes.json").read_text())
    assert (code in changes["counts"]) == (
        FAULTS[code].mended
        and code
        not in ("unlisted-image", "no-size", "category-order", "path-outside", "annotation-id-zero", "empty-split")
    )


def test_same_findings_every_time(tmp_path: Path) -> None:
    root = made.clean(tmp_path)
    edit(root, lambda d: d["images"].extend(made.image(100 + n, f"x{n}.png") for n in range(80)))
    for n in range(0, 80, 7):
        train_file(root, f"x{n}.png").write_bytes(b"no image")
    assert examine(root).to_dict() == examine(root).to_dict()
    (found,) = [one for one in examine(root).findings if one.code == "unreadable"]
    assert found.count == 12 and found.examples[0].startswith("'x0.png'")


def test_quick_reads_headers_only(tmp_path: Path) -> None:
    root = made.clean(tmp_path)
    spoil_truncated(root)
    assert "unreadable" not in codes(examine(root, quick=True))
    spoil_size(root)
    edit(root, lambda d: d["images"][0].update(file_name="a.png", width=1))
    assert "wrong-size" in codes(examine(root, quick=True))


def test_exif_with_the_right_size_is_a_note(tmp_path: Path) -> None:
    root = made.clean(tmp_path)
    spoil_exif(root)
    edit(root, lambda d: d["images"][0].update(width=48, height=64))
    report = examine(root)
    assert "exif" in codes(report, "note") and "turned" not in codes(report)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_turned_boxes_follow_their_pixels(orientation: int, tmp_path: Path) -> None:
    """A white block in the stored image is under its box after the picture is read turned."""
    stored = np.zeros((48, 64, 3), dtype=np.uint8)
    stored[10:18, 20:50] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "a.jpg", quality=100, subsampling=0, exif=exif)
    picture = read_image(tmp_path / "a.jpg")
    assert picture.shape == (64, 48, 3)
    rows, columns = np.nonzero(picture[:, :, 0] > 127)
    (box,) = turned(np.array([[20.0, 10, 50, 18]]), 64, 48, orientation)
    assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_repair_scales_boxes_of_an_image_of_another_scale(tmp_path: Path) -> None:
    root = made.clean(tmp_path / "data")
    made.picture(50, 128, 96).save(train_file(root))
    repair(examine(root), tmp_path / "out")
    first = open_data(tmp_path / "out").pictures[0]
    assert (first.width, first.height, first.boxes[0].tolist(), first.areas[0]) == (128, 96, [8, 10, 48, 30], 600)


@pytest.mark.parametrize("code", ["normalised", "corners"])
def test_repair_gives_back_the_true_boxes(code: str, tmp_path: Path) -> None:
    root = made.clean(tmp_path / "data")
    truth = [p.boxes for p in open_data(root).pictures]
    FAULTS[code].spoil(root)
    repair(examine(root), tmp_path / "out")
    for picture, boxes in zip(open_data(tmp_path / "out").pictures, truth, strict=True):
        assert picture.boxes == pytest.approx(boxes, abs=1e-4)


def test_repair_keeps_ids_and_merges_by_name(tmp_path: Path) -> None:
    root = made.clean(tmp_path / "data")
    val = [{"id": 13, "name": "nut"}, {"id": 2, "name": "gear"}]
    made.write_split(
        root,
        "val",
        made.coco(
            [made.image(21, "c.png")],
            [made.annotation(1, 21, 13, 1, 2, 30, 40), made.annotation(2, 21, 2, 40, 2, 9, 9)],
            val,
        ),
        seed=2,
    )
    repair(examine(root), tmp_path / "out")
    train, val_data = open_pair(tmp_path / "out")
    assert dict(zip(train.classes.names, train.classes.original_ids, strict=True)) == {
        "gear": 2,
        "nut": 7,
        "bolt": 90,
        "washer": 13,
    }
    assert [val_data.classes.names[n] for n in val_data.pictures[0].labels] == ["nut", "gear"]


def test_repair_writes_what_it_changed(tmp_path: Path) -> None:
    root = made.clean(tmp_path / "data")
    FAULTS["outside"].spoil(root)
    counts = repair(examine(root), tmp_path / "out")
    assert counts == {"outside": 1}
    text = (tmp_path / "out" / "changes.diff").read_text()
    assert text == "# outside\n- train 'a.png' annotation 9: 60 40 150 130\n+ train 'a.png' annotation 9: 60 40 64 48\n"
    (change,) = json.loads((tmp_path / "out" / "changes.json").read_text())["changes"]
    assert change == {
        "split": "train",
        "code": "outside",
        "where": "'a.png' annotation 9",
        "before": [60, 40, 150, 130],
        "after": [60, 40, 64, 48],
    }


def test_repair_links_and_falls_back_to_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = made.clean(tmp_path / "data")
    report = examine(root)
    repair(report, tmp_path / "linked")
    assert (tmp_path / "linked" / "images" / "train" / "a.png").samefile(train_file(root))

    def no_links(*_: object, **__: object) -> None:
        raise OSError("this file system has no links")

    monkeypatch.setattr(os, "link", no_links)
    repair(report, tmp_path / "copied")
    copy = tmp_path / "copied" / "images" / "train" / "a.png"
    assert not copy.samefile(train_file(root)) and copy.read_bytes() == train_file(root).read_bytes()


def test_repair_refuses_places_that_would_hurt(tmp_path: Path) -> None:
    root = made.clean(tmp_path / "data")
    report = examine(root)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "file").touch()
    for out, words in (
        (root, "never touched"),
        (root / "fixed", "never touched"),
        (tmp_path, "holds the data"),
        (tmp_path / "full", "not empty"),
        (tmp_path / "file", "not empty"),
    ):
        with pytest.raises(BadInput, match=words):
            repair(report, out)
    with pytest.raises(BadInput, match="cannot be written"):
        repair(report, "/proc/nope/out")
    (tmp_path / "empty").mkdir()
    repair(report, tmp_path / "empty")
    assert len(open_data(tmp_path / "empty")) == 3


def test_repair_that_fails_leaves_nothing(tmp_path: Path) -> None:
    root = made.clean(tmp_path / "data")
    report = examine(root)
    train_file(root).unlink()
    with pytest.raises(BadInput, match="nothing is left behind"):
        repair(report, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]


def test_flat_pictures_are_not_all_the_same(tmp_path: Path) -> None:
    """Pictures without any shape have equal hashes, and tell nothing."""
    root = made.clean(tmp_path)
    Image.new("RGB", (64, 48), (90, 90, 90)).save(train_file(root))
    Image.new("RGB", (64, 48), (92, 90, 90)).save(root / "images" / "val" / "c.png")
    assert not {"leak", "near-leak"} & codes(examine(root))


def test_pictures_that_share_a_background_alone_are_no_copies(tmp_path: Path) -> None:
    """The same photograph behind another object: most of the picture is equal, and one place is not at all."""
    root = made.clean(tmp_path)
    background = np.asarray(Image.open(root / "images" / "val" / "c.png").convert("RGB"))
    for file, gray in ((train_file(root), 250), (root / "images" / "val" / "c.png", 5)):
        pixels = background.copy()
        pixels[20:30, 28:40] = gray
        Image.fromarray(pixels).save(file)
    assert not {"leak", "near-leak"} & codes(examine(root))


def test_near_copies_after_jpeg(tmp_path: Path) -> None:
    root = made.clean(tmp_path)
    with Image.open(root / "images" / "val" / "c.png") as image:
        train_file(root).unlink()
        image.save(train_file(root), format="JPEG", quality=60)
    assert {"near-leak", "wrong-suffix"} <= codes(examine(root))


def test_yolo_is_examined_and_mended(tmp_path: Path) -> None:
    root = yolo(
        tmp_path / "data",
        train_a="0 0.5 0.5 0.2 0.4\n0 0.5 0.5\n",
        train_b="1 50 25 20 20",
        train_c="2 0.5 0.5 0.2 0.4\n2 0.5 0.5 0.2 0.4\n",
        val_d="0 0.3 0.3 0.1 0.1",
    )
    (root / "labels" / "train" / "gone.txt").write_text("0 0.5 0.5 0.2 0.4")
    report = examine(root)
    assert codes(report, "error") == {"malformed-label", "pixels"}
    assert {"stray-label", "duplicate-box"} <= codes(report, "warning")
    repair(report, tmp_path / "out")
    assert codes(examine(tmp_path / "out"), "error") == set()
    train = open_data(tmp_path / "out")
    assert [p.boxes.tolist() for p in train.pictures] == [[[40, 15, 60, 35]], [], [[40, 15, 60, 35]]], (
        "one of four in pixels is left out"
    )


def test_yolo_all_in_pixels_is_mended(tmp_path: Path) -> None:
    root = yolo(tmp_path / "data", train_a="0 50 25 20 20", train_b="1 50 25 20 20", val_d="0 0.3 0.3 0.1 0.1")
    repair(examine(root), tmp_path / "out")
    assert [p.boxes.tolist() for p in open_data(tmp_path / "out").pictures] == [[[40, 15, 60, 35]], [[40, 15, 60, 35]]]


def test_voc_is_examined_and_mended(tmp_path: Path) -> None:
    root = voc(
        tmp_path / "data",
        {"train": "a\nb\n", "val": "c\n"},
        a=sheet(thing("nut", 0, 5, 20, 30)),
        b="<annotation>",
        c=sheet(thing("nut", 5, 5, 20, 30)),
    )
    report = examine(root)
    assert codes(report, "error") == {"malformed-label"} and "from-zero" in codes(report, "note")
    repair(report, tmp_path / "out")
    train, _ = open_pair(tmp_path / "out")
    assert [p.boxes.tolist() for p in train.pictures] == [[[0, 5, 20, 30]], []]


def rules_table() -> str:
    """The table of ``docs/data.md``."""
    rows = ["| code | | what | what to do | `--fix` |", "|---|---|---|---|---|"]
    rows += [
        f"| `{code}` | {rule.severity} | {rule.what} | {rule.mend} | {rule.fix or '-'} |"
        for code, rule in RULES.items()
    ]
    return "\n".join(rows)


def test_the_page_lists_every_rule(repo_root: Path) -> None:
    """Print ``rules_table()`` into the page when this fails."""
    assert rules_table() in (repo_root / "docs" / "data.md").read_text(encoding="utf-8")
