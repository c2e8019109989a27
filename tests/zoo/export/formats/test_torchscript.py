"""TorchScript files agree with torch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from tests.zoo.export.lively import (
    CLASSES,
    FREE,
    MODELS,
    PX,
    assert_faithful,
    assert_same_rows,
    decoded,
    lively,
    picture,
)
from zoo.export.options import ExportOptions
from zoo.export.write import export
from zoo.nms import best_of_all


@pytest.mark.parametrize(("model", "form"), [("yolox-nano", "decoded"), ("free", "end2end")])
def test_torchscript(model: str, form: str, tmp_path: Path) -> None:
    path, image = tmp_path / "x.torchscript", picture(model)
    assert_faithful(export(lively(model), path, "torchscript", ExportOptions(form, PX, PX)), 80)
    extra = {"class_names": "", "model": ""}
    with torch.no_grad():
        given = torch.jit.load(str(path), _extra_files=extra)(image)
    ours = decoded(model, image)
    if form == "end2end":
        assert_same_rows(best_of_all(*ours, 300)[0], given[0][0])
    else:
        assert_same_rows(torch.cat(ours, 2)[0], torch.cat(given, 2)[0])
    assert json.loads(extra["class_names"]) == [f"class {i}" for i in range(CLASSES)]


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_torchscript_of_every_family(model: str, tmp_path: Path) -> None:
    for form in ("decoded", "end2end")[: 2 if model in FREE else 1]:
        assert_faithful(
            export(lively(model), tmp_path / "x.torchscript", "torchscript", ExportOptions(form, PX, PX)), 80
        )
