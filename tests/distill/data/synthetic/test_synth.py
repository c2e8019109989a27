"""The synthetic set: the same bytes for a seed, boxes about what can be seen, and hard in the ways it claims."""

from __future__ import annotations

import io
import json
import zlib
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

cv2 = pytest.importorskip("cv2")
pytest.importorskip("torch")
pytest.importorskip("PIL")

from distill.data.synthetic.canvas import MIN_PX, Canvas
from distill.data.synthetic.shapes import CLUTTER, KINDS, PATTERNS, covered, fill, ramp
from distill.data.synthetic.synth import draw_picture, make
from workbench.errors import BadInput
from zoo.images import read_image

GOLDEN_VERSIONS = ("5.0.0", "2.4.6")
GOLDEN_CRC32 = {(0, 0): 3683385221, (0, 1): 530611156, (7, 12): 2186923386}


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    out = tmp_path_factory.mktemp("synth") / "set"
    return out, make(out, 40, 3)


def test_same_seed_same_bytes(made: tuple[Path, dict[str, int]], tmp_path: Path) -> None:
    make(tmp_path / "again", 40, 3)
    assert files(tmp_path / "again") == files(made[0])
    make(tmp_path / "other", 5, 4)
    assert (tmp_path / "other/images/train/000000.png").read_bytes() != (
        made[0] / "images/train/000000.png"
    ).read_bytes()


def test_a_picture_does_not_depend_on_how_many_there_are(made: tuple[Path, dict[str, int]], tmp_path: Path) -> None:
    make(tmp_path / "few", 10, 3)
    whole = files(made[0])
    pictures = {name: data for name, data in files(tmp_path / "few").items() if name.endswith(".png")}
    assert len(pictures) == 10 and all(whole[name] == data for name, data in pictures.items())


@pytest.mark.skipif(
    (cv2.__version__, np.__version__) != GOLDEN_VERSIONS,
    reason="the pictures are the same for the same versions of OpenCV and NumPy",
)
@pytest.mark.parametrize(("seed", "index"), GOLDEN_CRC32)
def test_the_same_picture_on_every_machine(seed: int, index: int) -> None:
    assert zlib.crc32(draw_picture(seed, index).image.tobytes()) == GOLDEN_CRC32[seed, index]


def test_layout_and_counts(made: tuple[Path, dict[str, int]]) -> None:
    out, counts = made
    parts = {split: json.loads((out / "annotations" / f"{split}.json").read_text()) for split in ("train", "val")}
    assert (counts["train"], counts["val"]) == (32, 8)
    ids: list[int] = []
    for split, part in parts.items():
        assert [c["name"] for c in part["categories"]] == [kind.name for kind in KINDS]
        assert len({a["id"] for a in part["annotations"]}) == len(part["annotations"])
        sizes = {image["id"]: (image["width"], image["height"]) for image in part["images"]}
        ids += sizes
        for image in part["images"]:
            picture = read_image(out / "images" / split / image["file_name"])
            assert (
                picture.shape == (image["height"], image["width"], 3)
                and 320 <= min(picture.shape[:2]) <= max(picture.shape[:2]) <= 512
            )
        for a in part["annotations"]:
            x, y, w, h = a["bbox"]
            width, height = sizes[a["image_id"]]
            assert 0 <= x < x + w <= width and 0 <= y < y + h <= height and MIN_PX <= a["area"] <= w * h
    assert sorted(ids) == list(range(1, 41)), "image ids are unique across the splits"
    assert counts["objects"] == sum(not a["iscrowd"] for part in parts.values() for a in part["annotations"])
    assert counts["crowds"] == sum(a["iscrowd"] for part in parts.values() for a in part["annotations"])
    assert not [path for path in out.parent.iterdir() if path != out], "nothing is left beside it"


def test_pycocotools_reads_it(made: tuple[Path, dict[str, int]]) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    with redirect_stdout(io.StringIO()):
        read = coco.COCO(str(made[0] / "annotations" / "train.json"))
    assert len(read.getImgIds()) == 32 and len(read.getCatIds()) == len(KINDS)


def test_hard_in_the_ways_it_claims() -> None:
    pictures = [draw_picture(11, index) for index in range(150)]
    taught = [
        (label, box, picture)
        for picture in pictures
        for label, box, crowd in zip(picture.labels, picture.boxes, picture.crowd, strict=True)
        if not crowd
    ]
    classes = Counter(label for label, _, _ in taught)
    assert set(classes) == set(range(len(KINDS))), "every class occurs"
    assert max(classes.values()) > 4 * min(classes.values()), "and some much more often than others"
    sides = np.array([max(box[2:]) / max(picture.image.shape) for _, box, picture in taught])
    pixels = np.array([max(box[2:]) for _, box, _ in taught])
    assert pixels.min() <= 7 and sides.max() > 0.6 and (pixels < 16).mean() > 0.1 and (pixels > 96).mean() > 0.03
    empty = sum(not picture.labels for picture in pictures)
    assert 0.02 < empty / len(pictures) < 0.2
    assert any(any(picture.crowd) for picture in pictures)
    brightness = np.array([picture.image.mean() for picture in pictures])
    assert brightness.std() > 20 and len({picture.image.shape for picture in pictures}) > 50
    filled = [
        area / (box[2] * box[3]) for picture in pictures for area, box in zip(picture.areas, picture.boxes, strict=True)
    ]
    assert min(filled) < 0.3 and max(filled) > 0.9


def square(canvas: Canvas, x: float, y: float, side: float, number: int) -> None:
    cover = covered([[(-1, -1), (1, -1), (1, 1), (-1, 1)]], (x, y), side / 2, 0, canvas.size)
    assert cover is not None
    canvas.paint(cover, np.full((*cover.alpha.shape, 3), 200, np.uint8), number)


def finished(hider_px: float, x: float = 100) -> list[tuple[tuple[int, int, int, int], int, bool]]:
    """A square of 40 pixels at ``x``, 100, hidden from the left by ``hider_px`` of clutter."""
    canvas = Canvas(np.zeros((200, 200, 3), np.uint8), np.random.default_rng(0))
    canvas.objects.append((3, 1600.0, False))
    square(canvas, x, 100, 40, 1)
    if hider_px:
        square(canvas, 80 + hider_px - 40, 100, 80, 0)
    out = canvas.finished()
    return list(zip(out.boxes, out.areas, out.crowd, strict=True))


def test_what_is_annotated_is_what_can_be_seen() -> None:
    assert finished(0) == [((80, 80, 40, 40), 1600, False)]
    assert finished(20) == [((100, 80, 20, 40), 800, False)], "the box ends where something else begins"
    assert finished(30) == [((110, 80, 10, 40), 400, False)]
    assert finished(31) == [((111, 80, 9, 40), 360, True)], "of less than a quarter a crowd is made"
    assert finished(40) == [], "what is hidden is not annotated"
    assert finished(0, x=-12) == [((0, 80, 8, 40), 320, True)], "outside the picture is hidden too"
    assert finished(0, x=5) == [((0, 80, 25, 40), 1000, False)]


@settings(max_examples=40)
@given(st.integers(0, 10**6))
def test_covers_have_the_area_of_their_outline(seed: int) -> None:
    draw = np.random.default_rng(seed)
    outline = KINDS[seed % len(KINDS)].outline(draw)
    cover = covered(outline, (100.3, 99.6), 60, draw.uniform(-180, 180), (200, 200))
    assert cover is not None and cover.alpha.max() == 255
    assert cover.alpha.astype(float).sum() / 255 == pytest.approx(cover.whole_px, rel=0.03)
    assert (cover.alpha >= 128).sum() == pytest.approx(cover.whole_px, rel=0.03)
    rows, columns = np.nonzero(cover.alpha)
    far = np.hypot(rows + cover.top + 0.5 - 99.6, columns + cover.left + 0.5 - 100.3).max()
    assert far <= 60 * 1.19 + 1.5


def test_a_cover_outside_the_picture_is_none() -> None:
    assert covered([[(-1, -1), (1, -1), (0, 1)]], (-50, 20), 10, 0, (100, 100)) is None
    assert all(covered(shape(np.random.default_rng(1)), (50, 50), 20, 30, (100, 100)) is not None for shape in CLUTTER)


def test_look_alikes_differ() -> None:
    """Up is down mirrored, and either pattern has its own fill: what tells the classes of a pair apart is there."""
    kinds = {kind.name: kind for kind in KINDS}
    up, down = (kinds[name].outline(np.random.default_rng(5)) for name in ("arrow-up", "arrow-down"))
    assert [(x, -y) for x, y in up[0]] == down[0]
    colours = np.array([[0, 0, 0], [255, 255, 255]])
    fills = {pattern: fill(pattern, (60, 60), colours, 10, 20, np.random.default_rng(0)) for pattern in PATTERNS}
    assert all(patch.shape == (60, 60, 3) and patch.dtype == np.uint8 for patch in fills.values())
    assert set(np.unique(fills["hatched"])) == set(np.unique(fills["dotted"])) == {0, 255}
    assert 0.4 < (fills["hatched"] > 0).mean() < 0.6 and 0.15 < (fills["dotted"] > 0).mean() < 0.45


def test_ramp_ends_and_middle() -> None:
    table = ramp(np.array([[0, 10, 20], [100, 110, 120], [200, 10, 20]]))
    assert (
        table[0].tolist() == [0, 10, 20] and table[255].tolist() == [200, 10, 20] and abs(int(table[128][1]) - 110) <= 1
    )


def test_no_class_becomes_another_in_a_mirror() -> None:
    """The presets flip left and right: an outline's mirror image is a tilt of its own."""
    for kind in KINDS:
        (cover, mirrored) = (
            covered(
                [[(side * x, y) for x, y in polygon] for polygon in kind.outline(np.random.default_rng(1))],
                (50, 50),
                40,
                0,
                (100, 100),
            )
            for side in (1, -1)
        )
        assert cover is not None and mirrored is not None
        assert (cover.alpha >= 128).sum() == pytest.approx(
            ((cover.alpha >= 128) & (mirrored.alpha >= 128)).sum(), rel=0.05
        ), kind.name


@pytest.mark.parametrize(
    ("images", "seed", "says"), [(4, 0, "4 images"), (0, 0, "0 images"), (10, -1, "seed -1"), (10**6, 0, "999,999")]
)
def test_bad_numbers(tmp_path: Path, images: int, seed: int, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        make(tmp_path / "out", images, seed)
    assert list(tmp_path.iterdir()) == []


def test_never_over_something_else(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep me")
    with pytest.raises(BadInput, match="not empty"):
        make(tmp_path / "full", 5, 0)
    (tmp_path / "file").write_text("keep me")
    with pytest.raises(BadInput, match="is a file"):
        make(tmp_path / "file", 5, 0)
    assert files(tmp_path) == {"file": b"keep me", "full/mine.txt": b"keep me"}
    (tmp_path / "empty").mkdir()
    assert make(tmp_path / "empty", 5, 0)["val"] == 1


def test_a_break_leaves_nothing(tmp_path: Path) -> None:
    def break_off(text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "out", 5, 0, break_off)
    assert list(tmp_path.iterdir()) == []


def test_says_how_far_it_is(tmp_path: Path) -> None:
    said: list[str] = []
    make(tmp_path / "out", 25, 0, said.append)
    assert said == ["20 of 25 images", "25 of 25 images"]
