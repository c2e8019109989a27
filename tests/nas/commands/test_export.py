"""``nas export`` as a user runs it: what it writes and prints, its exit codes, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from nas.cli import main
from search_spaces.published import PUBLISHED
from tests.zoo.export.lively import CLASSES, environment, lively
from zoo.detector import Recipe
from zoo.export.options import TOLERANCE
from zoo.factory import build_recipe
from zoo.weights.checkpoint import save

NAS = [sys.executable, "-m", "nas.cli"]


def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    save(lively("yolox-nano"), tmp_path / "my best.v2.safetensors")
    assert main(["export", "my best.v2.safetensors", "--format", "onnx", "--nms", "--input", "64x96", "--json"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["file"] == "my-best.v2.onnx" and Path(report["file"]).is_file()
    assert (
        report["faithful"]
        and report["trained"]
        and report["tolerance"] == TOLERANCE
        and (report["height"], report["width"]) == (64, 96)
    )
    assert report["gaps"]["detections"]["rows"] >= 20
    assert "writing my-best.v2.onnx" in err and "measuring" in err
    size = Path(report["file"]).stat().st_size
    assert (
        main(
            [
                "export",
                "my best.v2.safetensors",
                "--format",
                "onnx",
                "--input",
                "64",
                "--tolerance",
                "1e-12",
                "--quiet",
                "--out",
                "deep/er/x.onnx",
            ]
        )
        == 1
    )
    out, err = capsys.readouterr()
    assert "DRIFTS from torch" in out and "1e-12" in out and err == ""
    assert Path("deep/er/x.onnx").stat().st_size < size
    assert main(["export", "my best.v2.safetensors", "--format", "onnx", "--input", "64", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert "agrees with torch" in out and "untrained" not in out and err == ""
    assert not list(tmp_path.rglob(".*"))


def test_a_drift_without_a_number_is_valid_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = build_recipe(Recipe("yolox-nano", CLASSES)).eval()
    with torch.no_grad():
        # finite weights, as a checkpoint must have, that overflow in the exponential of the box size
        for name, value in broken.named_parameters():
            if re.fullmatch(r"head\.box_preds\.\d\.bias", name):
                value.fill_(200.0)
    save(broken, tmp_path / "x.safetensors")
    assert (
        main(
            [
                "export",
                str(tmp_path / "x.safetensors"),
                "--format",
                "onnx",
                "--input",
                "64",
                "--out",
                str(tmp_path / "x.onnx"),
                "--json",
            ]
        )
        == 1
    )
    report = json.loads(capsys.readouterr().out, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert report["faithful"] is False
    assert report["gaps"]["boxes"]["relative"] is None and "NaN or infinite" in report["gaps"]["boxes"]["fault"]


def test_names_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "my-run"
    folder.mkdir(parents=True)
    (folder / "best.yaml").write_text(dataclasses.replace(PUBLISHED["damo-yolo-ns"], name="").to_yaml())
    for model, name in (("runs/my-run", "my-run"), ("runs/my-run/best.yaml", "my-run"), ("yolov26n", "yolo26n")):
        assert main(["export", model, "--format", "torchscript", "--input", "64", "--quiet"]) == 0
        assert f"wrote {name}.torchscript" in capsys.readouterr().out
        Path(f"{name}.torchscript").unlink()


BAD: dict[str, tuple[list[str], str]] = {
    "suffix": (["--out", "model.pb"], "ends in .onnx: 'model.onnx'"),
    "no suffix": (["--out", "deep/model"], "'deep/model.onnx'"),
    "openvino suffix": (["--format", "openvino", "--out", "model.bin"], "'model.xml'"),
    "folder": (["--out", "."], "is a folder"),
    "unwritable": (["--out", "/proc/nope/x.onnx"], "cannot write"),
    "openvino unwritable": (["--format", "openvino", "--out", "/proc/nope/x.xml"], "cannot write"),
    "torchscript unwritable": (["--format", "torchscript", "--out", "/proc/nope/x.torchscript"], "cannot write"),
    "end2end": (["--end2end"], "yolox-nano needs NMS: export it with --nms"),
    "torchscript nms": (["--format", "torchscript", "--nms"], "use onnx or openvino"),
    "nms batch": (["--nms", "--batch", "2"], "batch 1"),
    "batch": (["--batch", "0"], "at least 1"),
    "opset low": (["--opset", "15"], "one of 16 to 20"),
    "opset high": (["--opset", "21"], "one of 16 to 20"),
    "input": (["--input", "100"], "multiples of 32"),
    "small input": (["--input", "32"], "from 64 up"),
    "no input": (["--input", "64x"], "HEIGHTxWIDTH"),
    "three inputs": (["--input", "64x64x3"], "HEIGHTxWIDTH"),
    "superscript": (["--input", "6²"], "HEIGHTxWIDTH"),
    "half torchscript": (["--format", "torchscript", "--half"], "use onnx or openvino or tensorrt"),
    "dynamic torchscript": (["--format", "torchscript", "--dynamic"], "use onnx or openvino"),
    "tolerance": (["--tolerance", "-1"], "number from 0 up"),
    "nan tolerance": (["--tolerance", "nan"], "number from 0 up"),
    "branch": (["--branch", "one_to_one"], "one_to_many"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_nothing_is_written(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if "openvino" in case:
        pytest.importorskip("openvino")
    args, words = BAD[case]
    assert main(["export", "yolox-nano", "--format", "onnx", "--input", "64", *args]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("nas: ") and err.count("\n") == 1
    assert words in err
    assert not list(tmp_path.iterdir())


FREE_BAD: dict[str, tuple[list[str], str]] = {
    "nms": (["--nms"], "export it with --end2end, or its other branch with --branch one_to_many --nms"),
    "end2end of the other branch": (["--branch", "one_to_many", "--end2end"], "the other one with --branch one_to_one"),
    "too few cells": (["--end2end", "--dynamic"], "84 detections at every size"),
}


@pytest.mark.parametrize("case", FREE_BAD)
def test_bad_input_of_an_nms_free_model(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    args, words = FREE_BAD[case]
    assert main(["export", "yolo26n", "--format", "onnx", "--input", "64", *args]) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1 and not list(tmp_path.iterdir())


def test_tensorrt_is_named_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        import tensorrt  # noqa: F401
    except ModuleNotFoundError:
        words = "tensorrt is not installed here: export onnx, and build the engine on the device with trtexec"
    else:
        if torch.cuda.is_available():
            pytest.skip("TensorRT and a GPU are here")
        words = "no GPU is visible"
    monkeypatch.chdir(tmp_path)
    assert main(["export", "yolox-nano", "--format", "tensorrt"]) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1 and not list(tmp_path.iterdir())


def hear_ctrl_c() -> None:
    """A shell lets its background jobs ignore Ctrl-C, and their children with them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_interrupt_leaves_the_old_file(tmp_path: Path) -> None:
    old = tmp_path / "yolov7.onnx"
    old.write_text("old")
    process = subprocess.Popen(
        [*NAS, "export", "yolov7", "--format", "onnx"],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,
    )
    assert process.stderr is not None
    assert "writing yolov7.onnx" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in err and "Traceback" not in err
    assert [file.name for file in tmp_path.iterdir()] == ["yolov7.onnx"] and old.read_text() == "old"


def test_tinynas_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", "damo-yolo-t", "--format", "tinynas"]) == 0
    text: Any = capsys.readouterr().out
    assert main(["export", "damo-yolo-t", "--format", "tinynas", "--out", "t.txt"]) == 0
    assert Path("t.txt").read_text() == text and "class" in text
    assert main(["export", "yolox-nano", "--format", "tinynas"]) == 2
    assert "only DAMO-YOLO-style" in capsys.readouterr().err
