"""Damaged files exceed the tolerance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from torch import Tensor

from tests.zoo.export.lively import CLASSES, PX, lively
from zoo.detector import Recipe
from zoo.export.formats import FORMATS
from zoo.export.measure import measure_gap
from zoo.export.options import TOLERANCE, ExportOptions
from zoo.export.write import ExportedFile, export
from zoo.factory import build_recipe


@pytest.mark.parametrize(
    ("what", "tensor"), [("shifted", "boxes"), ("nan", "scores"), ("blind", "scores")],
)  # fmt: skip
def test_a_damaged_file_drifts(what: str, tensor: str, tmp_path: Path) -> None:
    path, options = tmp_path / "x.onnx", ExportOptions("nms", PX, PX)
    detector = lively("yolox-nano")
    export(detector, path, "onnx", options)
    model = onnx.load(str(path))
    node = next(one for one in model.graph.node if tensor in one.output)
    node.output[list(node.output).index(tensor)] = "whole"
    value = {"shifted": 2.0, "nan": float("nan"), "blind": -0.02}[what]
    model.graph.initializer.append(onnx.numpy_helper.from_array(torch.tensor(value).numpy(), "damage"))
    place = list(model.graph.node).index(node) + 1
    model.graph.node.insert(place, onnx.helper.make_node("Add", ["whole", "damage"], [tensor]))
    onnx.save(model, str(path))
    gaps = measure_gap(detector, FORMATS["onnx"].open(path, options), options)
    assert not ExportedFile(path, gaps, options.allowed).within_tolerance
    if what == "nan":
        assert "NaN" in gaps["scores"].fault
    else:
        assert gaps[tensor].absolute == pytest.approx(abs(value), rel=1e-2)


DAMAGE: dict[str, Callable[[Tensor], Tensor]] = {
    "missing": lambda rows: rows[:, 1:],
    "extra": lambda rows: torch.cat([rows, rows[:, :1]], 1),
    "label": lambda rows: rows + torch.tensor([0, 0, 0, 0, 0, 1.0]),
    "box": lambda rows: rows + torch.tensor([0, 0, 2.0, 0, 0, 0]),
    "score": lambda rows: rows + torch.tensor([0, 0, 0, 0, 0.01, 0]),
    "image": lambda rows: rows[:0],
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_wrong_selection_drifts(how: str, tmp_path: Path) -> None:
    path, options = tmp_path / "x.onnx", ExportOptions("nms", 64, 64)
    export(lively("yolox-nano"), path, "onnx", options)
    run = FORMATS["onnx"].open(path, options)

    def wrong(image: Tensor) -> dict[str, Tensor]:
        given = dict(run(image))
        return {**given, "detections": DAMAGE[how](given["detections"])}

    gaps = measure_gap(lively("yolox-nano"), wrong, options)
    assert gaps["boxes"].relative < TOLERANCE and not ExportedFile(path, gaps, options.allowed).within_tolerance
    # a runtime that shows its detections alone is judged by them
    gaps = measure_gap(lively("yolox-nano"), lambda image: {"detections": run(image)["detections"]}, options)
    assert ExportedFile(path, gaps, options.allowed).within_tolerance and set(gaps) == {"detections"}
    gaps = measure_gap(lively("yolox-nano"), lambda image: {"detections": wrong(image)["detections"]}, options)
    assert not ExportedFile(path, gaps, options.allowed).within_tolerance


def test_nothing_compared_is_not_agreement(tmp_path: Path) -> None:
    assert not ExportedFile(tmp_path, {}, 1.0).within_tolerance
    dull = build_recipe(Recipe("yolox-nano", CLASSES)).eval()
    gaps = measure_gap(dull, lambda image: {"detections": torch.zeros(1, 0, 6)}, ExportOptions("nms", 64, 64))
    assert gaps["detections"].rows == 0 and not ExportedFile(tmp_path, gaps, 1.0).within_tolerance
