"""The layout that other clients read, by a small reader that knows nothing of this project."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from tests.zoo.export.lively import CLASSES, PX, assert_faithful, assert_same_rows, lively
from workbench.errors import BadInput
from zoo.export.options import ExportOptions
from zoo.export.write import export
from zoo.images import prepare
from zoo.nms import Selection, select


def photograph(height: int = 96, width: int = 128) -> np.ndarray:
    """uint8 RGB ``[h, w, 3]`` with colors that differ by channel."""
    random = np.random.default_rng(3)
    coarse = random.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((16, 16, 1), np.uint8))


def as_a_client_reads(path: Path, image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """The raw output for an image padded in its middle, RGB from 0 to 1, and the metadata."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    facts = dict(session.get_modelmeta().custom_metadata_map)
    height, width = ast.literal_eval(facts["imgsz"])
    padded = np.full((height, width, 3), 114, np.uint8)
    top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
    padded[top : top + image.shape[0], left : left + image.shape[1]] = image
    feed = padded.transpose(2, 0, 1)[None].astype(np.float32) / 255
    (output,) = session.run(None, {session.get_inputs()[0].name: feed})
    return output, facts


def rows_of(output: np.ndarray, selection: Selection) -> torch.Tensor:
    """Detections ``[k, 6]`` of one image, from ``[1, 4 + classes, n]``."""
    rows = torch.from_numpy(output).transpose(1, 2)
    center, half = rows[..., :2], rows[..., 2:4] / 2
    found = select(torch.cat([center - half, center + half], -1), rows[..., 4:], selection)[0]
    return torch.cat([found.boxes, found.scores[:, None], found.labels[:, None].float()], 1)


@pytest.mark.parametrize("model", ["yolo11n", "yolox-nano", "damo-yolo-ns"])
def test_a_client_finds_what_the_detector_finds(model: str, tmp_path: Path) -> None:
    """Color order and normalization are inside the file."""
    path = tmp_path / "x.onnx"
    assert_faithful(export(lively(model), path, "onnx", ExportOptions(height=PX, width=PX, layout="ultralytics")), 80)
    detector, image = lively(model), photograph(PX, PX)
    output, facts = as_a_client_reads(path, image)
    assert output.shape[1] == 4 + CLASSES
    assert ast.literal_eval(facts["names"]) == dict(enumerate(detector.info.class_names))
    assert (facts["task"], facts["stride"], facts["batch"], facts["end2end"]) == ("detect", "32", "1", "False")
    assert json.loads(facts["preprocess"])["order"] == "rgb"
    inputs, _ = prepare([image], PX, detector.preprocess)
    selection = Selection(0.05, 0.65, False, None, 300)
    with torch.no_grad():
        found = detector.predict(inputs, selection)[0]
    expected = torch.cat([found.boxes, found.scores[:, None], found.labels[:, None].float()], 1)
    assert len(expected) > 10
    assert_same_rows(rows_of(output, selection), expected, 1e-3)


def test_detections_of_an_nms_free_detector(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    options = ExportOptions("end2end", PX, PX, layout="ultralytics")
    assert_faithful(export(lively("yolo26n"), path, "onnx", options), 80)
    output, facts = as_a_client_reads(path, photograph(PX, PX))
    assert output.shape == (1, 300, 6) and facts["end2end"] == "True"
    assert (np.diff(output[0, :, 4]) <= 0).all() and set(output[0, :, 5]) <= set(map(float, range(CLASSES)))


def test_open_sizes_and_half_precision(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    options = ExportOptions(height=PX, width=PX, dynamic=True, half=True, layout="ultralytics")
    assert_faithful(export(lively("yolox-nano"), path, "onnx", options), 80)
    model = onnx.load(str(path))
    assert [entry.name for entry in (*model.graph.input, *model.graph.output)] == ["images", "output0"]


def test_other_formats_and_layouts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--format onnx, not openvino"):
        export(lively("yolo11n"), tmp_path / "x.xml", "openvino", ExportOptions(layout="ultralytics"))
    with pytest.raises(BadInput, match="layout"):
        export(lively("yolo11n"), tmp_path / "x.onnx", "onnx", ExportOptions(layout="keras"))
