"""NCNN files run in NCNN and agree with torch; what NCNN cannot hold is refused by name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tests.zoo.export.lively import MODELS, PX, assert_faithful, assert_same_rows, decoded, lively, picture
from workbench.errors import BadInput
from zoo.export.formats import FORMATS
from zoo.export.options import ExportOptions
from zoo.export.write import export, open_exported

CONVERTED = tuple(model for model in MODELS if model != "rtdetrv2-s")
QUICK = ("yolox-nano", "yolo26n")
OPTIONS = ExportOptions(height=PX, width=PX)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ncnn", None)
    with pytest.raises(BadInput, match=r"needs the package 'ncnn'.*\.\[ncnn\]"):
        export(lively("yolox-nano"), tmp_path / "x.ncnn.param", "ncnn", OPTIONS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "model", [one if one in QUICK else pytest.param(one, marks=pytest.mark.slow) for one in CONVERTED]
)
@pytest.mark.parametrize("half", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_every_family_but_one(model: str, half: bool, tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    path, image = tmp_path / "x.ncnn.param", picture(model)
    written = export(lively(model), path, "ncnn", ExportOptions(height=PX, width=PX, half=half))
    assert_faithful(written, 80)
    assert {"x.ncnn.bin", "x.ncnn.param"} <= {file.name for file in tmp_path.iterdir()}
    weights = sum(value.numel() for value in lively(model).parameters())
    assert ((tmp_path / "x.ncnn.bin").stat().st_size < 3 * weights) == half
    given = open_exported(path, "ncnn", OPTIONS)(image)
    assert set(given) == {"boxes", "scores"}
    if not half:
        ours = torch.cat(decoded(model, image), 2)[0]
        assert_same_rows(ours, torch.cat([given["boxes"], given["scores"]], 2)[0])


def test_what_ncnn_cannot_hold(tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    path = tmp_path / "x.ncnn.param"

    def refused(words: str, model: str, options: ExportOptions, out: Path = path) -> None:
        with pytest.raises(BadInput, match=words):
            export(lively(model), out, "ncnn", options)
        assert not list(tmp_path.iterdir())

    refused("NCNN has no layer for .*torch.gather, torch.topk", "rtdetrv2-s", OPTIONS)
    refused("NCNN has no layer for .*torch.topk", "yolo26n", ExportOptions("end2end", PX, PX))
    refused("--nms: ncnn has no suppression operator", "yolox-nano", ExportOptions("nms", PX, PX))
    refused("batch 2: ncnn networks take one image", "yolox-nano", ExportOptions(height=PX, width=PX, batch=2))
    refused("--dynamic: ncnn files are written for one size", "yolox-nano", ExportOptions(dynamic=True))
    mixed = ExportOptions(height=PX, width=PX, half=True, fp32_layers=("backbone",))
    refused("all layers of ncnn files are in FP16 or none", "yolox-nano", mixed)
    refused(r"ends in \.ncnn\.param: .*x\.ncnn\.param", "yolox-nano", OPTIONS, tmp_path / "x.param")


def test_the_first_layer_that_differs_is_named(tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    detector, path, image = lively("yolox-nano"), tmp_path / "x.ncnn.param", picture("yolox-nano")
    export(detector, path, "ncnn", OPTIONS)
    assert FORMATS["ncnn"].first_divergence(detector, path, image, 1e-3) == ""
    weights = bytearray(path.with_suffix(".bin").read_bytes())
    start = len(weights) // 80 * 4
    weights[start : start + 64] = bytes(64)
    path.with_suffix(".bin").write_bytes(weights)
    found = FORMATS["ncnn"].first_divergence(detector, path, image, 1e-3)
    assert found and found in dict(detector.named_modules())
