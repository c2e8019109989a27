"""LiteRT files run in LiteRT and agree with torch; a missing package is named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tests.zoo.export.lively import PX, assert_faithful, assert_same_rows, decoded, lively, picture
from workbench.errors import BadInput
from zoo.export.options import ExportOptions
from zoo.export.write import export, open_exported

OPTIONS = ExportOptions(height=PX, width=PX)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(BadInput, match=r"needs the package 'ai_edge_litert.*\.\[litert\]"):
        export(lively("yolox-nano"), tmp_path / "x.tflite", "litert", OPTIONS)
    assert not list(tmp_path.iterdir())


def test_int8_and_nms_are_refused(tmp_path: Path) -> None:
    for options, words in (
        (ExportOptions(height=PX, width=PX, half=True), "litert files are written in FP32"),
        (ExportOptions("nms", PX, PX), "--nms: litert has no suppression"),
    ):
        with pytest.raises(BadInput, match=words):
            export(lively("yolox-nano"), tmp_path / "x.tflite", "litert", options)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("model,form", [("yolox-nano", "decoded"), ("yolo11n", "decoded"), ("yolo26n", "end2end")])
def test_files_agree_with_torch(model: str, form: str, tmp_path: Path) -> None:
    pytest.importorskip("litert_torch")
    path, image, options = tmp_path / "x.tflite", picture(model), ExportOptions(form, PX, PX)
    assert_faithful(export(lively(model), path, "litert", options), 80)
    given = open_exported(path, "litert", options)(image)
    if form == "decoded":
        ours = torch.cat(decoded(model, image), 2)[0]
        assert_same_rows(ours, torch.cat([given["boxes"], given["scores"]], 2)[0])
    else:
        assert set(given) == {"detections"} and given["detections"].shape[-1] == 6
