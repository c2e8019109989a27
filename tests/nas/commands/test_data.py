"""``nas data`` as a person meets it: exit codes, one-line errors, JSON, pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("PIL")
pytest.importorskip("torch")

from PIL import Image

from nas.cli import main
from tests.distill.data import made


def test_doctor_says_0_on_clean_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "doctor", str(made.clean(tmp_path)), "--quiet"]) == 0
    out = capsys.readouterr()
    assert "0 errors, 2 warnings, " in out.out and out.err == ""


def test_doctor_says_1_and_fix_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = made.clean(tmp_path / "data")
    (root / "images" / "train" / "a.png").write_bytes(b"no image")
    assert main(["data", "doctor", str(root)]) == 1
    out = capsys.readouterr().out
    assert (
        "error: unreadable, 1 time in train" in out
        and "'a.png': not an image" in out
        and "what to do: replace the file" in out
    )
    assert main(["data", "doctor", str(root), "--fix", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert f"wrote {tmp_path / 'out'}: 1 unreadable" in out and "0 errors" in out
    assert main(["data", "doctor", str(tmp_path / "out")]) == 0


def test_doctor_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = made.clean(tmp_path / "data")
    assert main(["data", "doctor", str(root), "--json", "--input", "32", "--fix", str(tmp_path / "out")]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["format"] == "nas-doctor-1" and data["form"] == "coco" and data["input_px"] == 32
    assert data["splits"]["train"] == {"images": 3, "annotations": 4, "usable": 4}
    assert {one["code"]: one["count"] for one in data["findings"]}["empty-image"] == 1
    assert all(
        {"code", "severity", "split", "count", "what", "examples", "mend", "fix"} == set(one)
        for one in data["findings"]
    )
    assert data["fix"]["after"]["errors"] == 0 and data["fix"]["changes"] == {}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["doctor", "nowhere"], "no such file"),
        (["doctor", "."], "no data set that can be read"),
        (["doctor", "data", "--input", "7"], "--input 7 must be"),
        (["doctor", "data", "--fix", "data/fixed"], "never touched"),
        (["doctor", "data", "--fix", "new", "--quick"], "leave --quick out"),
        (["doctor", "data/annotations/broken.json"], "not JSON"),
        (["show", "data", "--split", "vall"], "did you mean val"),
        (["show", "data", "--png", "x.jpg"], "must end in .png"),
        (["show", "nowhere"], "no such file"),
        (["synth", "new", "--images", "0"], "--images 0"),
        (["levels", "nowhere"], "no such file"),
        (["levels", "data", "--levels", "8,32"], "--levels 8,32 must be consecutive strides"),
        (["levels", "data", "--levels", "8;16"], "--levels '8;16' must be strides such as 8,16,32"),
        (["levels", "data", "--input", "7"], "--input 7 must be"),
        (["levels", "data", "--resize", "stretched"], "did you mean stretch"),
        (["levels", "data", "--split", "test"], "no split 'test'"),
        (["levels", "data", "--png", "x.jpg"], "must end in .png"),
        (["levels", "data/empty", "--png", "x.png"], "has no box to draw"),
    ],
)
def test_bad_input_is_one_line_and_exit_2_and_writes_nothing(
    args: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    made.clean(tmp_path / "data")
    (tmp_path / "data" / "annotations" / "broken.json").write_text("{")
    made.write_split(tmp_path / "data" / "empty", "train", made.coco([made.image(1, "a.png")], []))
    before = sorted(tmp_path.rglob("*"))
    assert main(["data", *args, "--quiet"]) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_show_tells_classes_counts_and_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, png = made.clean(tmp_path / "data"), tmp_path / "sheet.png"
    assert main(["data", "show", str(root), "--png", str(png), "--quiet"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["train", "3", "1", "3", "1", "48", "64", "0", "0"] in rows
    assert ["washer", "1", "13", "0", "1"] in rows, "a crowd is no object"
    with Image.open(png) as image:
        assert image.size == (3 * 320, 320)
        assert len(image.getcolors(10**6) or ()) > 10
    assert main(["data", "show", str(root), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["splits"]["val"]["classes"][2] == {"name": "bolt", "number": 2, "id": 90, "objects": 1}


def test_names_from_data_cannot_write_to_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cats = [{"id": 1, "name": "a\x1b[2Jb"}]
    made.write_split(
        tmp_path, "train", made.coco([made.image(1, "a.png")], [made.annotation(1, 1, 1, 1, 1, 9, 9)], cats)
    )
    assert main(["data", "show", str(tmp_path)]) == 0
    assert main(["data", "doctor", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "a\\x1b[2Jb" in out


def test_synthetic_data_are_clean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "synth", str(tmp_path / "s"), "--images", "12", "--seed", "3", "--quiet"]) == 0
    assert main(["data", "doctor", str(tmp_path / "s"), "--quiet"]) == 0
    assert "0 errors" in capsys.readouterr().out


def test_levels_prints_one_table_and_draws_one_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    made.clean(tmp_path / "data")
    args = ["data", "levels", "data", "--input", "64", "--quiet", "--levels", "8,16"]
    assert main([*args, "--png", "levels.png"]) == 0
    out = capsys.readouterr()
    assert out.out.startswith("data, split train: 3 boxes in 3 images (1 empty), 1.0 an image, at most 2;")
    assert " 64 *" in out.out and "note: 3 boxes are few" in out.out and out.out.endswith("wrote levels.png\n")
    assert out.err == "" and Image.open("levels.png").width > 1000
    assert main([*args, "--json", "--split", "val"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["format"], data["split"], data["boxes"], data["png"]) == ("nas-box-levels-1", "val", 3, None)
    assert main(["data", "levels", "data/annotations/train.json"]) == 0
    assert "boxes counted at 640 px" not in capsys.readouterr().out
