"""ONNX files run in ONNX Runtime and agree with torch."""

from __future__ import annotations

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
    found_by_torch,
    in_onnxruntime,
    lively,
    picture,
)
from zoo.detector import Recipe
from zoo.export.options import OPSETS, ExportOptions
from zoo.export.write import export
from zoo.factory import build_recipe
from zoo.nms import best_of_all


def kinds(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(str(path)).graph.node}


@pytest.mark.parametrize("model", MODELS)
def test_onnx_gives_the_boxes_and_scores_of_torch(model: str, tmp_path: Path) -> None:
    path, image = tmp_path / "x.onnx", picture(model)
    boxes, scores = decoded(model, image)
    assert scores.std() > 1e-3 and boxes.std(1).min() > 1
    written = export(lively(model), path, "onnx", ExportOptions(height=PX, width=PX))
    assert_faithful(written, 4 * boxes.shape[1] - 60)
    assert set(written.gaps) == {"boxes", "scores"} and all(gap.relative < 1e-4 for gap in written.gaps.values())
    given = in_onnxruntime(path, image)
    assert_same_rows(torch.cat([boxes, scores], 2)[0], torch.cat(given, 2)[0])
    assert not kinds(path) & {"NonMaxSuppression", "BatchNormalization"}


@pytest.mark.parametrize("model", MODELS)
def test_onnx_with_selection_inside_at_any_size(model: str, tmp_path: Path) -> None:
    form = "end2end" if model in FREE else "nms"
    path = tmp_path / "x.onnx"
    assert_faithful(export(lively(model), path, "onnx", ExportOptions(form, PX, PX, dynamic=True)), 80)
    assert ("NonMaxSuppression" in kinds(path)) == (form == "nms")
    (output,) = onnx.load(str(path)).graph.output
    assert output.name == "detections"
    for batch, height, width in ((1, PX, PX), (1 if form == "nms" else 3, PX + 32, PX + 96)):
        image = picture(model, batch, height, width)
        (given,) = in_onnxruntime(path, image)
        ours = found_by_torch(model, image) if form == "nms" else list(best_of_all(*decoded(model, image), 300))
        assert len(ours) == len(given) == batch
        for a, b in zip(ours, given, strict=True):
            assert len(a) >= 20 and (form == "end2end" or len(a[:, 5].unique()) > 1)
            assert_same_rows(a, b)
            assert bool((b[:, 4].diff() <= 0).all())


def test_nothing_found_is_an_empty_list(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dull = build_recipe(Recipe("yolox-nano", CLASSES)).eval()
    written = export(dull, tmp_path / "x.onnx", "onnx", ExportOptions("nms", 64, 64))
    assert written.within_tolerance and written.gaps["boxes"].rows == 4 * 84 and written.gaps["detections"].rows == 0
    (given,) = in_onnxruntime(tmp_path / "x.onnx", torch.zeros(1, 3, 64, 64))
    assert list(given.shape) == [1, 0, 6]


@pytest.mark.parametrize(("model", "form"), [("rtdetrv2-s", "decoded"), ("yolox-nano", "nms")])
@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset(model: str, form: str, opset: int, tmp_path: Path) -> None:
    assert_faithful(export(lively(model), tmp_path / "x.onnx", "onnx", ExportOptions(form, PX, PX, opset=opset)), 80)
    (found,) = (one.version for one in onnx.load(str(tmp_path / "x.onnx")).opset_import if not one.domain)
    assert found == opset


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset_of_every_family(model: str, opset: int, tmp_path: Path) -> None:
    form = "end2end" if model in FREE else "nms"
    assert_faithful(
        export(lively(model), tmp_path / "x.onnx", "onnx", ExportOptions(form, PX, PX, dynamic=True, opset=opset)), 80
    )


def test_fewer_cells_than_queries(tmp_path: Path) -> None:
    written = export(lively("rtdetrv2-s"), tmp_path / "x.onnx", "onnx", ExportOptions("end2end", 64, 96, batch=2))
    assert_faithful(written, 4 * (96 + 24 + 6))
    (given,) = in_onnxruntime(tmp_path / "x.onnx", picture("rtdetrv2-s", 2, 64, 96))
    assert list(given.shape) == [2, 126, 6]
