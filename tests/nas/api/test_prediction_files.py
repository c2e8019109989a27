"""Detections as COCO JSON, YOLO text and CSV; patterns of files; switches of ``nas predict``."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
from PIL import Image

import nas
from nas.api.prediction_files import expanded
from nas.cli import main
from tests.distill.tiny import tiny_detector
from workbench.errors import BadInput
from zoo.weights.checkpoint import save


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint ``tiny.safetensors`` and two images, one in a deeper folder."""
    monkeypatch.chdir(tmp_path)
    save(tiny_detector(), "tiny.safetensors")
    for number, name in enumerate(("photos/a.png", "photos/deep/a.png")):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (50, 80, 3), dtype=np.uint8)
        Image.fromarray(noise).save(file)
    return tmp_path


def test_all_forms_hold_the_same_boxes(home: Path) -> None:
    found = nas.predict(
        "tiny.safetensors", "photos/**/*.png", out="out", score=0.0, max=5, save=["coco,yolo", "csv"], input_px=64,
        quiet=True, pictures=False,
    )  # fmt: skip
    objects = [one for image in found.images for one in image.objects]
    assert len(found) == 2 and [len(image.objects) for image in found.images] == [5, 5]
    coco = json.loads((home / "out" / "coco.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == ["photos/a.png", "photos/deep/a.png"]
    corners = [[x, y, x + w, y + h] for x, y, w, h in (row["bbox"] for row in coco["annotations"])]
    assert np.allclose(corners, [one.box for one in objects], atol=0.03)
    rows = list(csv.DictReader((home / "out" / "predictions.csv").open()))
    assert [float(row["score"]) for row in rows] == pytest.approx([one.score for one in objects], abs=1e-5)
    lines = [(home / "out" / "labels" / f"{name}.txt").read_text().splitlines() for name in ("a", "a-2")]
    values = np.array([[float(value) for value in line.split()] for text in lines for line in text])
    x1 = (values[:, 1] - values[:, 3] / 2) * 80
    assert np.allclose(x1, [one.box[0] for one in objects], atol=0.01)
    assert values[:, 0].tolist() == [one.class_index for one in objects]


def test_classes_are_kept_by_name_and_an_unknown_one_is_refused(home: Path) -> None:
    every = nas.predict("tiny.safetensors", "photos", score=0.0, input_px=64, quiet=True)
    name = every.images[0].objects[0].label
    some = nas.predict("tiny.safetensors", "photos", score=0.0, classes=name, input_px=64, quiet=True)
    assert some.images[0].objects == tuple(one for one in every.images[0].objects if one.label == name)
    with pytest.raises(BadInput, match="unknown class of the model 'nonesuch'"):
        nas.predict("tiny.safetensors", "photos", classes=["nonesuch"], quiet=True)


def test_a_lower_iou_leaves_fewer_boxes(home: Path) -> None:
    strict, loose = (
        nas.predict("tiny.safetensors", "photos", score=0.0, iou=iou, input_px=64, quiet=True) for iou in (0.05, 1.0)
    )
    assert len(strict.images[0].objects) < len(loose.images[0].objects)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--iou", "2"], "must be above 0 and at most 1"), (["--max", "0"], "must be at least 1"),
        (["--save", "xml"], "unknown form of detections 'xml'"), (["conf=0.5"], "here it is --score S"),
    ],
)  # fmt: skip
def test_bad_switches_are_refused(
    home: Path, words: list[str], answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", "tiny.safetensors", "photos", *words]
    try:
        code = main(command)
    except SystemExit as error:
        code = int(str(error.code))
    assert code == 2 and answer in capsys.readouterr().err


def test_patterns(home: Path) -> None:
    assert expanded(["photos/*.png", "photos"]) == ["photos/a.png", "photos"]
    Path("odd[1].png").write_bytes(b"")
    assert expanded(["odd[1].png"]) == ["odd[1].png"], "a file of that very name"
    with pytest.raises(BadInput, match="no file matches"):
        expanded(["photos/*.gif"])
