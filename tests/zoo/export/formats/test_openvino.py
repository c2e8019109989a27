"""OpenVINO files run in OpenVINO and agree with torch; nothing is reported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from torch import Tensor

from tests.zoo.export.lively import (
    CLASSES,
    FREE,
    MODELS,
    PX,
    assert_faithful,
    assert_same_rows,
    decoded,
    environment,
    found_by_torch,
    lively,
    picture,
)
from zoo.export.options import HALF_TOLERANCE, TOLERANCE, ExportOptions
from zoo.export.write import export
from zoo.nms import best_of_all


def in_openvino(path: Path, image: Tensor) -> dict[str, Tensor]:
    openvino = pytest.importorskip("openvino")
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return {port.get_any_name(): torch.from_numpy(value.copy()) for port, value in compiled(image.numpy()).items()}


@pytest.mark.parametrize(
    ("model", "form", "half"),
    [("yolox-nano", "nms", False), ("yolo26n", "end2end", False), ("rtdetrv2-s", "decoded", True)],
)
def test_openvino(model: str, form: str, half: bool, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    path = tmp_path / "x.xml"
    path.write_text("old")
    (tmp_path / "x.bin").write_text("old")
    written = export(lively(model), path, "openvino", ExportOptions(form, PX, PX, dynamic=not half, half=half))
    assert_faithful(written, 80)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.bin", "x.xml", "x.xml.json"]
    weights = sum(value.numel() for value in lively(model).parameters())
    assert ((tmp_path / "x.bin").stat().st_size < 3 * weights) == half
    assert (written.tolerance, max(gap.relative for gap in written.gaps.values()) > 1e-5) == (
        (HALF_TOLERANCE, True) if half else (TOLERANCE, False)
    )
    image = picture(model) if half else picture(model, 1 if form == "nms" else 2, PX + 32, PX + 96)
    given = in_openvino(path, image)
    if form == "decoded":
        assert set(given) == {"boxes", "scores"}
        return
    ours = found_by_torch(model, image) if form == "nms" else list(best_of_all(*decoded(model, image), 300))
    assert list(given) == ["detections"]
    for a, b in zip(ours, given["detections"], strict=True):
        assert len(a) >= 20
        assert_same_rows(a, b)
    openvino = pytest.importorskip("openvino")
    kept = openvino.Core().read_model(path).get_rt_info(["nas", "class_names"]).astype(str)
    assert json.loads(kept) == [f"class {i}" for i in range(CLASSES)]


@pytest.mark.slow
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_openvino_of_every_family(model: str, half: bool, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    for form, dynamic in (("decoded", False), ("end2end" if model in FREE else "nms", True)):
        assert_faithful(
            export(
                lively(model), tmp_path / "x.xml", "openvino", ExportOptions(form, PX, PX, dynamic=dynamic, half=half)
            ),
            80,
        )


def test_openvino_reports_to_nobody(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("openvino_telemetry")
    code = (
        "import sys; calls = []; sys.addaudithook(lambda event, args: calls.append(event) if"
        " event.startswith('socket.') else None)\nfrom nas.cli import main; code = main(['export', 'yolox-nano',"
        " '--format', 'openvino', '--input', '64', '--quiet'])\nassert code == 0 and not calls, calls; assert"
        " 'openvino_telemetry' not in sys.modules; import openvino_telemetry"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
