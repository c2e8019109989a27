"""Exported files used like the checkpoint that they were made from, by the contract beside them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from PIL import Image

from nas.api.predict import predict
from nas.cli import main
from tests.zoo.export.lively import PX, lively
from workbench.errors import BadInput
from workbench.files import file_sha256
from zoo.export.contract import contract_path, read_contract
from zoo.export.exported import is_exported, open_exported_detector
from zoo.export.formats import FORMATS
from zoo.export.options import ExportOptions
from zoo.export.scenes import sample_images
from zoo.export.write import export
from zoo.weights.checkpoint import save

CASES: dict[str, tuple[str, str, ExportOptions]] = {
    "onnx": ("onnx", "yolox-nano", ExportOptions(height=PX, width=PX)),
    "onnx, batch 2": ("onnx", "yolox-nano", ExportOptions(height=PX, width=PX, batch=2)),
    "other layout": ("onnx", "yolox-nano", ExportOptions(height=PX, width=PX, layout="ultralytics")),
    "end to end": ("onnx", "yolo26n", ExportOptions("end2end", PX, PX)),
    "torchscript": ("torchscript", "yolo26n", ExportOptions(height=PX, width=PX)),
    "openvino": ("openvino", "yolox-nano", ExportOptions(height=PX, width=PX)),
    "ncnn": ("ncnn", "yolox-nano", ExportOptions(height=PX, width=PX)),
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images of odd sizes."""
    folder = tmp_path_factory.mktemp("photos")
    for number, (height, width) in enumerate(((97, 203), (150, 61), (128, 128))):
        Image.fromarray(sample_images(1, height, width, seed=number)[0]).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("case", CASES)
def test_a_file_predicts_what_its_checkpoint_predicts(case: str, photos: Path, tmp_path: Path) -> None:
    kind, model, options = CASES[case]
    if kind in ("openvino", "ncnn"):
        pytest.importorskip(kind)
    save(lively(model), tmp_path / "x.safetensors")
    path = tmp_path / ("x" + FORMATS[kind].suffix)
    export(lively(model), path, kind, options)
    score = 0.02
    ours = predict(tmp_path / "x.safetensors", photos, score=score, input_px=PX, quiet=True)
    theirs = predict(path, photos, score=score, quiet=True)
    assert theirs.input_px == PX and len(ours) == len(theirs) == 3
    assert sum(len(image.objects) for image in ours) >= 10
    for a, b in zip(ours, theirs, strict=True):
        assert len(a.objects) == len(b.objects)
        # Scores that rounding makes equal may change places, so every box is looked up by its nearest.
        for found in a.objects:
            nearest = min(np.abs(np.subtract(found.box, other.box)).max() for other in b.objects)
            assert nearest < 1


def test_the_contract(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    export(lively("yolox-nano"), path, "onnx", ExportOptions(height=PX, width=PX))
    contract = read_contract(path)
    assert contract["input"] == {
        "name": "image", "layout": "b 3 h w", "batch": 1, "height": PX, "width": PX, "dynamic": False,
    }  # fmt: skip
    assert set(contract["outputs"]) == {"boxes", "scores"} and contract["format"] == "onnx"
    assert contract["preprocess"]["resize"] == "letterbox-corner" and contract["selection"]["iou_threshold"] == 0.65
    assert contract["licence"] and contract["gaps"]["boxes"]["relative"] < 1e-3
    assert contract["files"] == [{"name": "x.onnx", "bytes": path.stat().st_size, "sha256": file_sha256(path)}]


def test_what_is_refused(tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.onnx"
    export(lively("yolox-nano"), path, "onnx", ExportOptions("nms", PX, PX))

    def refused(words: str, *args: str) -> None:
        assert main(["predict", str(path), str(photos), "--out", str(tmp_path / "out"), "--quiet", *args]) == 2
        err = capsys.readouterr().err
        assert words in err and err.count("\n") == 1

    refused("was exported for 128 x 128 pixels", "--input", "64")
    refused("--branch is chosen when a file is exported", "--branch", "one_to_many")
    refused("this file selects detections itself, from score", "--score", "0")
    text = contract_path(path).read_text()
    contract_path(path).write_text("{}")
    refused("is no contract")
    contract_path(path).write_text(json.dumps({**json.loads(text), "contract": 99}))
    refused("another file or version")
    values = json.loads(text)
    outside = {**values, "files": [*values["files"], {"name": "../x.bin", "sha256": "0" * 64}]}
    contract_path(path).write_text(json.dumps(outside))
    refused("names a file outside its folder: '../x.bin'")
    contract_path(path).write_text(json.dumps({name: value for name, value in values.items() if name != "input"}))
    refused("lacks 'input'")
    contract_path(path).write_text(text)
    path.write_bytes(path.read_bytes() + b"0")
    refused("is not the file that 'x.onnx.json' was written for")
    contract_path(path).unlink()
    refused("x.onnx.json' is missing")
    with pytest.raises(BadInput, match="is missing"):
        open_exported_detector(tmp_path / "y.onnx")
    assert is_exported("a/B.ONNX") and is_exported("b.ncnn.param") and not is_exported("best.safetensors")
